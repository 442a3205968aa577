"""A probe of a pre-trained model's embeddings and of CLIP's, by splits of a bank."""

import json

import pytest
import torch
from rich.console import Console
from torch.nn import functional as F

from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.model import open_model
from decoders.omnivl.probing import ProbeCommand, main, named, pooled, probe, splits_of
from storage import Bank
from tests.small_omnivl import FRAMES, write_mixed_bank, write_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probing")
    write_run(folder / "run", write_mixed_bank(folder / "bank", images=24, clips=24))
    return folder


def command(place, **changes):
    return ProbeCommand(run=place / "run", bank=str(place / "bank"), **changes)


def test_splits_do_not_overlap(place):
    items = BankSource(open_model(place / "run", torch.device("cpu")), Bank(place / "bank")).items("video")
    parts = splits_of(items, command(place))
    rows = {name: {item.row for item in part} for name, part in parts.items()}
    assert [len(rows[name]) for name in ("train", "validation", "test")] == [13, 3, 8]
    assert not rows["train"] & rows["validation"]
    assert {item.split for item in parts["test"]} == {"test"}
    apart = splits_of(items, command(place, validation_split="test"))
    assert apart["validation"] == apart["test"]
    assert len(apart["train"]) == 16


def test_embeddings_of_clip_are_means_of_unit_frames(place):
    bank = Bank(place / "bank")
    items = BankSource(open_model(place / "run", torch.device("cpu")), bank).items("video")[:2]
    frames = torch.from_numpy(bank.read(bank.pooled_name(FRAMES), [item.row for item in items])).float()
    each = frames / frames.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(pooled(bank, FRAMES, items), F.normalize(each.mean(dim=1), dim=-1))


def test_labels_are_classes_or_attributes(place):
    item = BankSource(open_model(place / "run", torch.device("cpu")), Bank(place / "bank")).items("image")[1]
    assert (named(item, "label"), named(item, "parity"), named(item, "nothing")) == ("class 1", "odd", "")


def test_what_is_learned_by_heart_is_known(place):
    """Tested on what was fitted, so few random vectors come apart."""
    model, bank = open_model(place / "run", torch.device("cpu")), Bank(place / "bank")
    wanted = command(place, eval_split="train", validation_split="train", label="parity")
    report = probe(model, bank, wanted, Console(quiet=True))
    assert report["kinds"].keys() == {"image", "video"}
    for found in report["kinds"].values():
        assert found["items"] == {"train": 16, "validation": 16, "test": 16}
        assert min(found["top1"].values()) > 0.8 > found["chance"] == 0.5


def test_nothing_to_learn_is_refused(place):
    model, bank = open_model(place / "run", torch.device("cpu")), Bank(place / "bank")
    with pytest.raises(ValueError, match="two classes under 'nothing'"):
        probe(model, bank, command(place, label="nothing"), Console(quiet=True))


def test_the_command(place, tmp_path, capsys):
    words = [str(place / "run"), "--bank", str(place / "bank"), "--device", "cpu"]
    assert main([*words, "--label", "parity", "--out", str(tmp_path / "report.json")]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["kinds"]["image"]["classes"] == 2
    assert "OmniVL" in capsys.readouterr().out
