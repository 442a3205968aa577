"""Zero-shot evaluation: from videos and from a bank alike, by every protocol, interrupted and continued."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.config import BackboneConfig
from backbones.text import ACTION_TEMPLATES, class_matrix, zero_shot_scores
from backbones.weights import load_clip
from finetune.decoding import Decoders
from finetune.evaluation.config import ZeroShotConfig
from finetune.evaluation.video_vectors import Journal, bank_vectors
from finetune.evaluation.zeroshot import main, zeroshot
from storage import Bank
from tests.encoded_banks import encode_bank
from tests.small_clips import small_model, write_config, write_folder
from tests.small_extractions import draw_classes
from video import InputError, Sampling, ViewPlan, decode_views, list_clips

VIEWS = ViewPlan(sampling=Sampling(frames=3, stride=3), size=64, temporal_views=2)
WINDOW = {"window": 1, "boundary": "zeros"}
CLIPS = 6


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Videos of two classes, a CLIP, and a bank that it made of them with the temporal view."""
    folder = tmp_path_factory.mktemp("zeroshot")
    (folder / "videos").mkdir()
    draw_classes(folder / "videos", CLIPS)
    model = write_folder(folder / "model", small_model(3))
    encode_bank(folder, backbone=BackboneConfig(name=str(model), **WINDOW), last_blocks=1)
    return folder


def config_of(lab, out, **changes):
    values = {"sources": (str(lab / "videos"),), "name": str(lab / "model"), "views": VIEWS, "out": out}
    return ZeroShotConfig(**(values | WINDOW | changes))


@pytest.fixture(scope="module")
def expected(lab):
    """Each video's scores, view by view, and their sum."""
    clip = load_clip(BackboneConfig(name=str(lab / "model"), **WINDOW))
    classes = class_matrix(clip, ["class 0", "class 1"], ACTION_TEMPLATES)
    found = {}
    for listed in list_clips(str(lab / "videos")):
        frames = torch.from_numpy(decode_views(listed, VIEWS).frames)
        tower, total = clip.tower(), torch.zeros(2)
        for view in frames:
            embeddings = tower(tower.normalise(view), frames=3).pooled[None]
            total = total + zero_shot_scores(embeddings, classes, logit_scale=clip.logit_scale)[0]
        found[listed.key] = (int(total.argmax()) == listed.label, total)
    return found


def test_videos_and_bank_give_the_textbooks_answer(lab, expected, tmp_path):
    right = sum(hit for hit, _ in expected.values()) / CLIPS
    videos = zeroshot(config_of(lab, tmp_path / "videos"))
    bank = zeroshot(config_of(lab, tmp_path / "bank", bank=str(lab / "bank")))
    alone = zeroshot(ZeroShotConfig(bank=str(lab / "bank"), out=tmp_path / "alone"))
    for report in (videos, bank, alone):
        assert report["top1"] == {"mean": pytest.approx(right), "deviation": 0.0}
        [one] = report["sets"]
        assert (one["clips"], one["missing"], one["classes"]) == (CLIPS, 0, 2)
        assert report["model"]["temporal_view"] == "window 1, boundary zeros"
    assert json.loads((tmp_path / "videos/zeroshot.json").read_text()) == videos


def test_vectors_are_the_same_from_both(lab, expected, tmp_path):
    zeroshot(config_of(lab, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "vectors.jsonl").read_text().splitlines()]
    journal = Journal(tmp_path / "vectors.jsonl", lines[0]["of"])
    journal.close()
    banked = dict(bank_vectors(Bank(lab / "bank")))
    assert banked.keys() == journal.vectors.keys()
    assert len(banked) == CLIPS
    for key, vector in banked.items():
        np.testing.assert_allclose(vector, journal.vectors[key], atol=2e-3)
    clip = load_clip(BackboneConfig(name=str(lab / "model")))
    classes = class_matrix(clip, ["class 0", "class 1"], ACTION_TEMPLATES)
    for key, (_, total) in expected.items():
        scores = clip.logit_scale * torch.from_numpy(journal.vectors[key].copy()) @ classes.T
        torch.testing.assert_close(scores, total, atol=1e-4, rtol=1e-5)


def test_interrupted_it_goes_on(lab, tmp_path, monkeypatch):
    whole = zeroshot(config_of(lab, tmp_path / "whole"))
    zeroshot(config_of(lab, tmp_path / "cut"))
    file = tmp_path / "cut/vectors.jsonl"
    file.write_bytes(file.read_bytes()[: -len(file.read_bytes().splitlines()[-1]) * 2 - 40])
    left = len(file.read_bytes().splitlines()) - 1
    tried = []
    submit = Decoders.submit
    monkeypatch.setattr(
        Decoders, "submit", lambda self, clip, plan: (tried.append(clip.key), submit(self, clip, plan))[1]
    )
    assert zeroshot(config_of(lab, tmp_path / "cut")) == whole
    assert 0 < len(tried) == CLIPS - left + 1 < CLIPS
    with pytest.raises(ValueError, match=r"vectors of another model, or of other views"):
        zeroshot(config_of(lab, tmp_path / "cut", views=replace(VIEWS, temporal_views=1)))
    with pytest.raises(ValueError, match=r"vectors of another model"):
        zeroshot(config_of(lab, tmp_path / "cut", window=1, boundary="masked"))


def test_protocols(lab, tmp_path):
    lists = []
    for number, keys in enumerate((range(0, 4), range(2, 6))):
        lists.append(tmp_path / f"test{number}.csv")
        lists[-1].write_text("".join(f"class {k % 2}/clip {k}.mp4,{k % 2}\n" for k in keys))
    (tmp_path / "names.json").write_text(json.dumps({"0": "class 0", "1": "class 1"}))
    options = {
        "bank": str(lab / "bank"),
        "sources": tuple(map(str, lists)),
        "classes": (str(tmp_path / "names.json"),),
    }
    each = zeroshot(config_of(lab, tmp_path / "each", **options))
    tops = [one["top1"] for one in each["sets"]]
    assert each["top1"]["mean"] == pytest.approx(np.mean(tops))
    assert each["top1"]["deviation"] == pytest.approx(np.std(tops))
    both = zeroshot(config_of(lab, tmp_path / "both", **options, protocol="base-novel"))
    assert (both["base"], both["novel"]) == tuple(tops)
    assert both["harmonic_mean"] == pytest.approx(2 * tops[0] * tops[1] / sum(tops) if all(tops) else 0.0)


def test_a_video_that_cannot_be_decoded_is_counted(lab, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    lines = [f"{lab}/videos/class {k % 2}/clip {k}.mp4,{k % 2}\n" for k in range(2)]
    (tmp_path / "test.csv").write_text("".join(lines) + f"{tmp_path}/broken.mp4,0\n")
    (tmp_path / "names.txt").write_text("class 0\nclass 1\n")
    names = (str(tmp_path / "names.txt"),)
    report = zeroshot(config_of(lab, tmp_path, sources=(str(tmp_path / "test.csv"),), classes=names))
    assert (report["sets"][0]["clips"], report["sets"][0]["missing"]) == (2, 1)
    assert "not a media file" in report["failed"][f"{tmp_path}/broken.mp4"]


def test_two_videos_called_alike_are_refused(lab, tmp_path):
    shutil.copytree(lab / "videos", tmp_path / "videos")
    sources = (str(lab / "videos"), str(tmp_path / "videos"))
    with pytest.raises(
        InputError, match=r"one video called 'class 0/clip 0.mp4', found .*; evaluate these sets"
    ):
        zeroshot(config_of(lab, tmp_path / "out", sources=sources))
    twice = zeroshot(config_of(lab, tmp_path / "out", sources=sources[:1] * 2, limit=2))
    assert [one["clips"] for one in twice["sets"]] == [2, 2]


def test_a_few_clips_to_try_it(lab, tmp_path):
    report = zeroshot(config_of(lab, tmp_path, limit=3))
    assert (report["sets"][0]["clips"], report["sets"][0]["classes"]) == (3, 2)
    assert len((tmp_path / "vectors.jsonl").read_text().splitlines()) == 4


def test_a_bank_of_another_model_is_refused(lab, tmp_path):
    bank = {"bank": str(lab / "bank")}
    with pytest.raises(ValueError, match=r"window 1, boundary zeros\), asked for is model .*plain CLIP"):
        zeroshot(config_of(lab, tmp_path, **bank, window=0, boundary=None))
    other = str(write_config(tmp_path / "small.json"))
    with pytest.raises(ValueError, match=r"evaluate a bank with the backbone that made it"):
        zeroshot(config_of(lab, tmp_path, **bank, name=other, weights="random:1"))
    (tmp_path / "test.csv").write_text("x.mp4,0\ny.mp4,1\n")
    (tmp_path / "index2cls.json").write_text('{"0": "a", "1": "b"}')
    with pytest.raises(ValueError, match=r"none of 2 \(such as x.mp4\); a bank's clips are matched by"):
        zeroshot(config_of(lab, tmp_path, **bank, sources=(str(tmp_path / "test.csv"),)))


def test_settings_that_do_not_go_together(lab, tmp_path):
    with pytest.raises(ValueError, match=r"expected --sources, --bank or both"):
        ZeroShotConfig(out=tmp_path)
    with pytest.raises(ValueError, match=r"base-novel takes 2 sources, found 1"):
        config_of(lab, tmp_path, protocol="base-novel")
    with pytest.raises(ValueError, match=r"one for each of 1 sources, found 2"):
        config_of(lab, tmp_path, classes=("a", "b"))
    with pytest.raises(ValueError, match=r"name it with --name"):
        zeroshot(config_of(lab, tmp_path, name=""))
    with pytest.raises(ValueError, match=r"sees frames of \(64, 64\) pixels"):
        zeroshot(config_of(lab, tmp_path, views=replace(VIEWS, size=32)))


def test_the_command(lab, tmp_path, capsys):
    assert main(["--bank", str(lab / "bank"), "--out", str(tmp_path), "--templates", "photo"]) == 0
    said = capsys.readouterr().out
    assert "window 1, boundary zeros" in " ".join(said.split())
    assert "top-1" in said
