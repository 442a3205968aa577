"""Files as pre-trained models see them: of one trained end to end, and of one that learned from a bank."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.config import BackboneConfig
from decoders.omnivl.finding.coarse import Layout
from decoders.omnivl.finding.index import Index, IndexRefused
from decoders.omnivl.finding.search import Now, open_search
from decoders.omnivl.model import Source, open_model
from decoders.omnivl.opening import BANKS
from decoders.omnivl.schedule import Kind
from decoders.omnivl.shown import Shown
from finetune.omnivl.command import pretrain
from finetune.omnivl.commands import BANKS_AND_FILES
from finetune.omnivl.live_source import FileSource
from finetune.omnivl.origin import Origin
from finetune.place import Place
from framebank import dispatch
from tests.encoded_banks import encode_bank
from tests.small_mixed_bank import small_config
from tests.test_finetune_omnivl_tier import FRAMES, IMAGES, VIDEOS, live, world  # noqa: F401
from training.run import RunError
from video import Sampling, ViewPlan

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def mixed(world):  # noqa: F811
    """One list of all: the world's images and videos."""
    lines = ["path,caption,split"]
    lines += [f"{number}.png,image {number},train" for number in range(IMAGES)]
    lines += [f"{number}.mp4,video {number},train" for number in range(VIDEOS)]
    (world / "mixed.csv").write_text("\n".join(lines) + "\n")
    return str(world / "mixed.csv")


@pytest.fixture(scope="module")
def tuned(world, mixed):  # noqa: F811
    """A run that was trained end to end."""
    origin = Origin(sources=(mixed,), live=live(world))
    pretrain(small_config(label=""), origin, run=world / "tuned", place=Place(device="cpu"))
    return world / "tuned"


@pytest.fixture(scope="module")
def banked(world, mixed):  # noqa: F811
    """A run that learned from a bank of the same files."""
    encode_bank(
        world,
        source=mixed,
        backbone=BackboneConfig(name=str(world / "small.json"), weights="random:0"),
        views=ViewPlan(sampling=Sampling(kind="tsn", frames=FRAMES), size=64),
    )
    origin = Origin(bank=str(world / "bank"))
    pretrain(small_config(label=""), origin, run=world / "banked", place=Place(device="cpu"))
    return world / "banked"


def tower_of(run: Path) -> list[str]:
    return ["--name", str(run.parent / "small.json"), "--weights", "random:0"]


def test_a_model_trained_end_to_end_sees_files(tuned, mixed):
    model = BANKS_AND_FILES.model(tuned, "cpu")
    source = FileSource(model, Shown(sources=(mixed,)))
    assert isinstance(source, Source)
    assert source.layout("video") == Layout(frames=FRAMES, grid=(4, 4))
    counts: dict[Kind, int] = {"image": IMAGES, "video": VIDEOS}
    for kind, count in counts.items():
        items = source.items(kind)
        assert [item.captions for item in items] == [(f"{kind} {number}",) for number in range(count)]
        seen = list(source.seen(items, 4))
        assert [item for some, _ in seen for item in some] == items
        tokens = torch.cat([visual.tokens for _, visual in seen])
        assert tokens.shape[:2] == (count, source.layout(kind).tokens)
        again = torch.cat([visual.tokens for _, visual in source.seen(items, 3)])
        torch.testing.assert_close(again, tokens, atol=1e-5, rtol=0)  # views are fixed


def test_it_is_indexed_searched_and_captioned_from_files(tuned, mixed, tmp_path, capsys):
    out = tmp_path / "index"
    assert dispatch(["index", str(tuned), "--sources", mixed, "--out", str(out), "--device", "cpu"]) == 0
    index = Index(out)
    assert (index.facts.images, index.facts.videos, index.facts.bank) == (IMAGES, VIDEOS, "")
    capsys.readouterr()
    assert dispatch(["search", str(out), "video 2", "--json", "--device", "cpu"]) == 0
    assert len(json.loads(capsys.readouterr().out)["hits"]) == IMAGES + VIDEOS
    assert dispatch(["retrieve", str(out), "--device", "cpu"]) == 0
    said = tmp_path / "said.jsonl"
    words = ["--sources", mixed, "--longest", "3", "--device", "cpu", "--decode-processes", "1"]
    assert dispatch(["caption", str(tuned), *words, "--split", "train", "--out", str(said)]) == 0
    assert len(said.read_text().splitlines()) == IMAGES + VIDEOS
    assert dispatch(["answer", str(tuned), *words, "--key", "1.mp4", "--ask", "what is it?"]) == 0


def test_what_cannot_be_decoded_is_left_out_named_and_counted(tuned, world, tmp_path, capsys):  # noqa: F811
    for name in ("1.png", "0.mp4", "1.mp4"):
        (tmp_path / name).write_bytes((world / name).read_bytes())
    for name in ("0.png", "2.mp4"):
        (tmp_path / name).write_bytes(b"neither image nor video")
    names = ["0.png", "1.png", "0.mp4", "2.mp4", "1.mp4"]
    (tmp_path / "some.csv").write_text("\n".join(["path,caption", *(f"{name},{name}" for name in names)]))
    out = tmp_path / "index"
    shown = ["--sources", str(tmp_path / "some.csv"), "--device", "cpu", "--decode-processes", "1"]
    assert dispatch(["index", str(tuned), *shown, "--out", str(out)]) == 0
    told = capsys.readouterr().err
    assert "2 files could not be decoded" in told
    assert "0.png: " in told
    assert "2.mp4: " in told
    index = Index(out)
    assert [item.keys for item in index.items(index.places())] == [("1.png",), ("0.mp4",), ("1.mp4",)]
    np.testing.assert_allclose(np.linalg.norm(index.embeddings, axis=1), 1, atol=1e-5)
    assert dispatch(["caption", str(tuned), *shown, "--split", "", "--longest", "3"]) == 0
    (tmp_path / "asked.jsonl").write_text(
        "".join(json.dumps({"key": name, "question": "what?", "answer": "it"}) + "\n" for name in names)
    )
    words = ["--questions", str(tmp_path / "asked.jsonl"), "--out", str(tmp_path / "said.jsonl")]
    assert dispatch(["answer", str(tuned), *shown, *words, "--longest", "3"]) == 0
    assert len((tmp_path / "said.jsonl").read_text().splitlines()) == 3
    assert json.loads((tmp_path / "said.scores.json").read_text())["absent"] == ["0.png", "2.mp4"]
    (tmp_path / "some.csv").write_text("path,caption\n0.png,a\n")
    assert dispatch(["index", str(tuned), *shown, "--out", str(out)]) == 2
    assert "that can be decoded, found none" in capsys.readouterr().err


def test_an_index_of_files_that_changed_is_stale(tuned, world, tmp_path):  # noqa: F811
    (tmp_path / "0.png").write_bytes((world / "0.png").read_bytes())
    listed = tmp_path / "one.csv"
    listed.write_text("path,caption\n0.png,a\n")
    assert dispatch(["index", str(tuned), "--sources", str(listed), "--out", str(tmp_path / "index")]) == 0
    open_search(tmp_path / "index", Now(device="cpu"), BANKS_AND_FILES)
    (tmp_path / "0.png").write_bytes((world / "1.png").read_bytes())
    with pytest.raises(IndexRefused, match=r"is stale: expected rows of .*one\.csv.* --sources"):
        open_search(tmp_path / "index", Now(device="cpu"), BANKS_AND_FILES)
    open_search(tmp_path / "index", Now(bank="", device="cpu"), BANKS_AND_FILES)


def test_files_through_the_banks_tower_are_indexed_as_the_bank_is(banked, mixed, tmp_path):
    ways = {"bank": ["--bank", str(banked.parent / "bank")], "files": ["--sources", mixed, *tower_of(banked)]}
    for name, shown in ways.items():
        assert dispatch(["index", str(banked), *shown, "--out", str(tmp_path / name), "--device", "cpu"]) == 0
    bank, files = (Index(tmp_path / name) for name in ways)
    keys = [[item.keys for item in index.items(index.places())] for index in (bank, files)]
    assert keys[0] == keys[1]
    assert len(files) == IMAGES + VIDEOS
    np.testing.assert_allclose(files.embeddings, bank.embeddings, atol=1e-2)
    np.testing.assert_allclose(files.tokens, bank.tokens, atol=5e-2)
    np.testing.assert_array_equal(files.lengths, bank.lengths)


def test_what_does_not_fit_is_refused(tuned, banked, mixed, tmp_path, capsys):
    index = ["--out", str(tmp_path / "index"), "--device", "cpu"]
    other = ["--name", str(banked.parent / "small.json"), "--weights", "random:1"]
    assert dispatch(["index", str(banked), "--sources", mixed, *other, *index]) == 2
    assert "expected the tower of the model's bank" in capsys.readouterr().err
    assert not (tmp_path / "index").exists()
    assert dispatch(["index", str(tuned), "--bank", str(banked.parent / "bank"), *index]) == 2
    assert "name some with --sources" in capsys.readouterr().err
    with pytest.raises(ValueError, match="name one"):
        Shown()
    with pytest.raises(ValueError, match="found files"):
        BANKS.source(open_model(banked, CPU), Shown(sources=(mixed,)), "")
    with pytest.raises(RunError, match="'live' tier"):
        open_model(tuned, CPU)
