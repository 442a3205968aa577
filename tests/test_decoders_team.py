"""Several processes train what one trains: losses, weights, scores; stopped, and gone on with by another
number."""

from dataclasses import replace

import pytest
import torch

from decoders.heads import Entry, train_heads
from decoders.loop import rows_each
from tests.small_runs import CONFIG, DECODER, write_learnable_bank
from tests.small_team import train_as_team
from training.checkpoint import list_checkpoints, load_checkpoint
from training.metrics import read_metrics
from training.run import RunDirectory
from training.team import ALONE, Team

HEADS = {
    "split": replace(CONFIG, batch_size=8, batch_split=2, log_every=1),
    "shallow": replace(
        CONFIG, batch_size=8, batch_split=2, decoder=replace(DECODER, layers=1), seed=4, order_seed=0
    ),
}
HALF = replace(CONFIG, batch_size=8, precision="fp16", log_every=1)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return write_learnable_bank(tmp_path_factory.mktemp("team") / "bank", test=7)


@pytest.fixture(scope="module")
def alone(bank, tmp_path_factory):
    """Folder with what one process makes of the heads."""
    folder = tmp_path_factory.mktemp("alone")
    train_heads(HEADS, bank=bank, folder=folder)
    train_heads({"half": HALF}, bank=bank, folder=folder)
    return folder


def entries_of(folder, heads):
    return [Entry(config=config, run=folder / name, watch=None) for name, config in heads.items()]


def assert_alike(folder, expected, names):
    """The same identity, lines and scores, losses within 1e-5, and weights."""
    for name in names:
        found, wanted = folder / name, expected / name
        assert (found / "config.json").read_text() == (wanted / "config.json").read_text()
        lines = [read_metrics(run / "metrics.jsonl") for run in (found, wanted)]
        assert len(lines[0]) == len(lines[1])
        for left, right in zip(*lines, strict=True):
            assert left == pytest.approx(right, abs=1e-5)
        path = f"checkpoint-{CONFIG.steps}.pth"
        left, right = (load_checkpoint(run / path)["model"] for run in (found, wanted))
        assert left.keys() == right.keys()
        torch.testing.assert_close(left, right, atol=2e-4, rtol=0)


def test_two_processes_train_the_heads_that_one_trains(bank, alone, tmp_path):
    said = train_as_team(entries_of(tmp_path, HEADS), bank=bank, size=2)
    assert [[(result.steps, result.resumed_at) for result in results] for results in said] == [
        [(8, 0)] * 2
    ] * 2
    assert_alike(tmp_path, alone, HEADS)
    assert RunDirectory.read(tmp_path / "split").sessions()[0]["workers"] == 2


def test_stopped_on_two_and_gone_on_with_on_four_and_on_one(bank, alone, tmp_path):
    entries = entries_of(tmp_path, {"split": HEADS["split"]})
    run = tmp_path / "split"
    said = train_as_team(entries, bank=bank, size=2, stop_at=2)
    told = f"stopped after step 3 of 8; go on with: framebank train resume --run {run} --workers 2"
    assert said == [told] * 2
    train_as_team(entries, bank=bank, size=4, stop_at=4)
    assert list_checkpoints(run) == [4, 5]
    train_heads({"split": HEADS["split"]}, bank=bank, folder=tmp_path)
    assert_alike(tmp_path, alone, ["split"])


def test_half_precision_on_two_and_gone_on_with_to_the_bit(bank, alone, tmp_path):
    entries = entries_of(tmp_path, {"half": HALF})
    train_as_team(entries, bank=bank, size=2, stop_at=2)
    train_as_team(entries, bank=bank, size=2)
    assert_alike(tmp_path, alone, ["half"])
    again = entries_of(tmp_path / "again", {"half": HALF})
    train_as_team(again, bank=bank, size=2)
    for file in ("metrics.jsonl", "config.json"):
        left, right = (entry.run / file for entry in (entries[0], again[0]))
        assert left.read_text() == right.read_text()


def test_all_agree_that_a_head_diverged(bank, tmp_path):
    wild = replace(HALF, precision="fp32", optim=replace(CONFIG.optim, lr=1e30))
    entries = entries_of(tmp_path, {"wild": wild})
    said = train_as_team(entries, bank=bank, size=2)
    [left], [right] = said
    assert (left.steps, left.diverged) == (right.steps, right.diverged)
    assert "the loss is nan at step" in left.diverged
    assert RunDirectory.read(tmp_path / "wild").divergence


def test_parts_are_all_of_it_in_order():
    for count in (0, 1, 7, 8):
        parts = [Team(rank=rank, size=3).part(count) for rank in range(3)]
        assert [number for part in parts for number in range(count)[part]] == list(range(count))
    assert ALONE.part(5) == slice(0, 5)


def test_a_batch_that_workers_cannot_share():
    assert rows_each(replace(CONFIG, batch_size=8, batch_split=2), 4) == 2
    with pytest.raises(ValueError, match=r"that 4 workers can share, a multiple of 4, found 6"):
        rows_each(CONFIG, 4)
    with pytest.raises(ValueError, match=r"share in 2 pieces each \(batch_split\), a multiple of 4, found 6"):
        rows_each(replace(CONFIG, batch_split=2), 2)
    mixed = replace(CONFIG, augment=replace(CONFIG.augment, mixup=0.2))
    with pytest.raises(ValueError, match=r"share, an even number of clips each \(mixup\), a multiple of 4"):
        rows_each(mixed, 2)
