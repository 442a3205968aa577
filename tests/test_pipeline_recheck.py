"""Encoding again: the same where all is right, and far off where anything is not."""

import numpy as np
import pytest

from backbones.config import BackboneConfig
from pipeline.recheck import Recheck, backbone_of, plan_of, relative_difference
from pipeline.recipes import recipes
from storage import Bank, BankSpec, SpecMismatch, open_place
from storage.checks.survey import take_survey
from storage.checks.verify import check_shards
from tests.damaged_banks import commit_instead
from tests.encoded_banks import draw_videos, encode_bank
from tests.small_banks import small_spec, write_bank

CLIPS = 5


@pytest.fixture(scope="module", params=["float16 maps", "int8 maps", "float16 derived"])
def made(request, tmp_path_factory):
    """A folder with videos, one of them broken, and a bank of two parts made of them."""
    dtype, attention = request.param.split()
    folder = tmp_path_factory.mktemp("recheck")
    draw_videos(folder / "videos", CLIPS)
    (folder / "videos/broken.mp4").write_bytes(b"")
    encode_bank(folder, dtype=dtype, attention=attention)
    encode_bank(folder, last_blocks=3, dtype=dtype, attention="none")
    return folder


def rechecked(path, rows=None):
    bank = Bank(path)
    recheck = Recheck(bank, backbone_of(bank))
    return recheck, list(recheck.rows(recheck.draw(99, 0) if rows is None else rows))


def test_every_row_is_the_same_again(made):
    recheck, checks = rechecked(made / "bank")
    assert [check.row for check in checks] == Bank(made / "bank").rows().tolist()
    assert len(checks) == 2 * CLIPS
    arrays = {name for name in recheck.bank.layouts if not name.endswith("_scale")}
    for check in checks:
        assert (check.wrong, check.unchecked) == ("", "")
        assert check.differences.keys() == arrays
        assert all(found < recheck.allowed(name) / 4 for name, found in check.differences.items())


def test_a_row_of_another_clip_is_found_though_every_digest_fits(tmp_path):
    draw_videos(tmp_path / "videos", CLIPS)
    config = encode_bank(tmp_path)
    file = tmp_path / "bank/features/block03/out/c/0/0/0/0"
    data, row = file.read_bytes(), Bank(config.bank).layouts["features/block03/out"].row_bytes + 4
    swapped = data[2 * row : 3 * row] + data[row : 2 * row] + data[:row] + data[3 * row :]
    commit_instead(tmp_path / "bank", file, swapped)
    survey = take_survey(open_place(config.bank))
    assert not [*survey.findings, *check_shards(survey)]
    recheck, checks = rechecked(config.bank, [0, 1, 2])
    assert [bool(check.wrong) for check in checks] == [True, False, True]
    assert "features/block03/out differs by" in checks[0].wrong
    assert checks[0].differences["features/block03/out"] > 20 * recheck.allowed("features/block03/out")


def test_a_source_that_is_gone_or_another_one(tmp_path):
    draw_videos(tmp_path / "videos", 3)
    config = encode_bank(tmp_path)
    (tmp_path / "videos/clip 0.mp4").unlink()
    (tmp_path / "videos/clip 1.mp4").write_bytes((tmp_path / "videos/clip 2.mp4").read_bytes())
    _, (gone, other, same) = rechecked(config.bank, [0, 2, 4])
    assert gone.unchecked
    assert (gone.wrong, gone.key) == ("", "clip 0.mp4")
    assert "its source now has the digest" in other.wrong
    assert (same.wrong, same.unchecked) == ("", "")


def test_damaged_rows_cannot_be_compared(tmp_path):
    draw_videos(tmp_path / "videos", 1)
    config = encode_bank(tmp_path)
    (tmp_path / "bank/features/pooled/c/0/0/0").unlink()
    _, (check,) = rechecked(config.bank, [0])
    assert "the file is gone" in check.unchecked


def test_other_weights_are_refused(made):
    bank = Bank(made / "bank")
    with pytest.raises(SpecMismatch, match="the bank was made with"):
        Recheck(bank, backbone_of(bank, str(made / "small.json"), "random:1"))


def test_which_backbone(made, tmp_path):
    bank = Bank(made / "bank")
    assert backbone_of(bank) == BackboneConfig(
        name=str(made / "small.json"), weights="random:0", precision="fp32", quick_gelu=False, window=0
    )
    assert backbone_of(bank, "ViT-B-16").weights == ""
    assert backbone_of(bank, "ViT-B-16", "openai").weights == "openai"
    write_bank(tmp_path / "bank", 1)
    with pytest.raises(ValueError, match="does not say which backbone made it; name it with --backbone"):
        backbone_of(Bank(tmp_path / "bank"))


def test_the_sample_is_spread_over_the_shards(made):
    bank = Bank(made / "bank")
    recheck = Recheck(bank, backbone_of(bank))
    shards = len({row // 4 for row in bank.rows().tolist()})
    assert shards == 3
    for seed in range(5):
        drawn = recheck.draw(shards, seed)
        assert len({row // 4 for row in drawn}) == shards
        assert drawn == sorted(drawn) == recheck.draw(shards, seed)
    assert len({tuple(recheck.draw(3, seed)) for seed in range(10)}) > 3
    assert recheck.draw(99, 0) == bank.rows().tolist()
    assert recheck.draw(0, 0) == []


def test_other_decoders_are_named(made):
    bank = Bank(made / "bank")
    recheck = Recheck(bank, backbone_of(bank))
    assert recheck.other_decoders() == []
    recheck.spec.video["decoders"]["decord"] = "0.1"
    (said,) = recheck.other_decoders()
    assert said.startswith("decord is ")
    assert said.endswith(", was 0.1")


@pytest.mark.parametrize("name", recipes().keys())
def test_the_plan_of_every_recipe_comes_back_from_its_spec(name):
    plan = recipes()[name][1].views
    spec = small_spec(frames=plan.frames, views=plan.count, video={"plan": plan.to_json()})
    found = plan_of(BankSpec.from_json(spec.to_json()))
    assert found.to_json() == plan.to_json()
    assert (found.count, found.frames, found.hw) == (plan.count, plan.frames, plan.hw)


def test_a_bank_that_was_not_made_of_videos():
    with pytest.raises(ValueError, match="has no plan of views"):
        plan_of(small_spec())


def test_relative_difference():
    ones = np.ones((2, 3), np.float16)
    assert relative_difference(ones, ones) == 0
    assert relative_difference(ones * 2, ones) == pytest.approx(1)
    assert relative_difference(ones * 0, ones * 0) == 0
    assert relative_difference(ones, ones * 0) == 1
    assert not relative_difference(ones * np.nan, ones) <= 1
