"""Many heads on one read: each as if it were alone."""

import os
import signal
import threading
import weakref
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch

from decoders import loop
from decoders.evaluate import evaluate
from decoders.heads import train_heads
from decoders.train import resume, train
from storage import Bank, array_name
from tests.small_banks import small_spec, write_bank
from tests.small_runs import CONFIG, DECODER, write_learnable_bank
from training.checkpoint import list_checkpoints, load_checkpoint
from training.interrupt import TrainingStopped
from training.lock import RunBusy, RunLock
from training.losses import Diverged
from training.metrics import read_metrics
from training.run import RunError

POOLED = replace(DECODER, tokens="pooled", cross_frame=False)
HEADS = {
    "rate": replace(CONFIG, optim=replace(CONFIG.optim, lr=1e-2, weight_decay=0.2), save_every=3),
    "wide": replace(CONFIG, decoder=replace(DECODER, qkv_width=16, mlp_ratio=4.0), label_smoothing=0.1),
    "shallow": replace(CONFIG, decoder=replace(DECODER, layers=1)),
    "last": replace(CONFIG, decoder=replace(DECODER, layers=3, multi_layer=False)),
    "pooled": replace(CONFIG, decoder=POOLED),
    "blind": replace(CONFIG, decoder=DECODER.without_temporal(), eval_every=3),
    "seed": replace(CONFIG, seed=7, order_seed=0),
    "thirds": replace(CONFIG, label="third"),
    "short": replace(CONFIG, steps=5, log_every=2),
}
FEW = {name: HEADS[name] for name in ("rate", "shallow", "seed")}
WILD = replace(CONFIG, optim=replace(CONFIG.optim, lr=1e30))


def attributes(number):
    return {"third": str(number % 3)} | ({} if number == 4 else {"some": str(number % 2)})


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return write_learnable_bank(tmp_path_factory.mktemp("heads") / "bank", attributes=attributes)


@pytest.fixture(scope="module")
def alone(bank, tmp_path_factory):
    """Folder with a solo run of every head."""
    folder = tmp_path_factory.mktemp("alone")
    for name, config in HEADS.items():
        train(config, bank=bank, run=folder / name)
    return folder


def assert_same(folder, expected, names=tuple(HEADS)):
    """The same identity, log lines, checkpoints and states, to the bit."""
    for name in names:
        found, wanted = folder / name, expected / name
        for file in ("config.json", "metrics.jsonl"):
            assert (found / file).read_text() == (wanted / file).read_text(), name
        assert {path.name for path in found.iterdir()} == {path.name for path in wanted.iterdir()}
        for step in list_checkpoints(wanted):
            left, right = (load_checkpoint(run / f"checkpoint-{step}.pth") for run in (found, wanted))
            assert left["next_step"] == right["next_step"]
            assert left["model"].keys() == right["model"].keys()
            assert all(torch.equal(left["model"][key], right["model"][key]) for key in left["model"]), name
            torch.testing.assert_close(left["optimizer"], right["optimizer"], rtol=0, atol=0)


@pytest.fixture
def rows_read(monkeypatch):
    """How many rows of each array were read."""
    counts, lock, read = Counter(), threading.Lock(), Bank.read

    def counting(self, name, rows, out=None):
        with lock:
            counts[name] += len(rows)
        return read(self, name, rows, out)

    monkeypatch.setattr(Bank, "read", counting)
    return counts


def die(name, at, head, done, values):
    if (head, done) == (name, at):
        raise MemoryError("killed")


def interrupt(name, at, head, done, values):
    if (head, done) == (name, at) and "loss" in values:
        os.kill(os.getpid(), signal.SIGINT)


def test_each_head_is_what_it_is_alone(bank, alone, tmp_path):
    results = train_heads(HEADS, bank=bank, folder=tmp_path)
    assert_same(tmp_path, alone)
    assert {name: result.steps for name, result in results.items()} == {
        name: config.steps for name, config in HEADS.items()
    }
    assert all("eval_top1" in result.scores and not result.diverged for result in results.values())
    lines = {name: (tmp_path / name / "metrics.jsonl").read_text() for name in HEADS}
    assert len(set(lines.values())) == len(HEADS)
    assert evaluate(tmp_path / "thirds", bank=bank)["label"] == "third"


@pytest.mark.parametrize(
    ("attention", "dtype"), [("maps", "int8"), ("qk", "float16"), ("derived", "float16"), ("derived", "int8")]
)
def test_in_pieces_from_every_kind_of_bank(tmp_path, attention, dtype):
    spec = small_spec(attention=attention, dtype=dtype, views=2)
    write_bank(tmp_path / "bank", 10, spec)
    base = replace(CONFIG, batch_split=3, eval_split="", precision="bf16", steps=4)
    blind = replace(base, decoder=DECODER.without_temporal())
    shallow = replace(base, decoder=replace(DECODER, layers=1))
    pooled = replace(base, decoder=POOLED)
    heads = {"whole": base, "blind": blind, "shallow": shallow, "pooled": pooled}
    for name, config in heads.items():
        train(config, bank=tmp_path / "bank", run=tmp_path / "alone" / name)
    train_heads(heads, bank=tmp_path / "bank", folder=tmp_path / "heads")
    assert_same(tmp_path / "heads", tmp_path / "alone", heads)
    two = {name: heads[name] for name in ("pooled", "shallow")}  # maps and tokens of one block, CLS of both
    train_heads(two, bank=tmp_path / "bank", folder=tmp_path / "two")
    assert_same(tmp_path / "two", tmp_path / "alone", two)


def test_every_row_is_read_once(bank, tmp_path, rows_read):
    train_heads(HEADS | {"blind": replace(HEADS["blind"], eval_every=4)}, bank=bank, folder=tmp_path)
    trained = CONFIG.steps * CONFIG.batch_size
    evaluated = 8 * 3  # after 4 and 8 steps all that are due, and `short` after its 5
    assert set(rows_read) == {array_name(b, tap) for b in (2, 3) for tap in ("out", "map_prev", "map_next")}
    assert set(rows_read.values()) == {trained + evaluated}


def test_a_batch_is_let_go_before_the_next_is_learned_from(bank, tmp_path, monkeypatch):
    learn, seen = loop._learn, []

    def watched(heads, piece, shared, batch):
        assert not [ref for ref in seen if ref() is not None]
        learn(heads, piece, shared, batch)
        seen.append(weakref.ref(batch.features[0].out))

    monkeypatch.setattr(loop, "_learn", watched)
    heads = {"a": replace(CONFIG, batch_split=3), "b": replace(CONFIG, batch_split=3, label="third")}
    train_heads(heads, bank=bank, folder=tmp_path)
    assert len(seen) == CONFIG.steps * 3


def test_what_a_head_needed_is_read_no_more_when_it_is_done(bank, tmp_path, rows_read):
    big = replace(CONFIG, steps=3, eval_split="")
    small = replace(HEADS["shallow"], decoder=replace(DECODER, layers=1).without_temporal(), eval_split="")
    train_heads({"big": big, "small": small}, bank=bank, folder=tmp_path)
    assert rows_read[array_name(3, "out")] == 8 * CONFIG.batch_size
    for name in (array_name(2, "out"), array_name(2, "map_prev"), array_name(3, "map_next")):
        assert rows_read[name] == 3 * CONFIG.batch_size


def test_killed_and_gone_on_from_the_head_that_is_furthest_behind(bank, alone, tmp_path, rows_read):
    with pytest.raises(MemoryError):
        train_heads(HEADS, bank=bank, folder=tmp_path, watch=partial(die, "seed", 6))
    assert list_checkpoints(tmp_path / "rate") == [3]
    assert list_checkpoints(tmp_path / "wide") == [4]
    rows_read.clear()
    results = train_heads(HEADS, bank=bank, folder=tmp_path)
    assert {name: result.resumed_at for name, result in results.items()} == dict.fromkeys(HEADS, 4) | {
        "rate": 3,
        "short": 5,
    }
    assert_same(tmp_path, alone)
    trained = rows_read[array_name(2, "map_prev")]
    assert trained == (8 - 3) * CONFIG.batch_size + 8 * 2  # `rate` and the others after 4 and 8
    assert [line["step"] for line in read_metrics(tmp_path / "rate" / "metrics.jsonl") if "loss" in line] == [
        *range(1, 9)
    ]


def test_a_head_may_go_on_by_itself(bank, alone, tmp_path):
    with pytest.raises(MemoryError):
        train_heads(FEW, bank=bank, folder=tmp_path, watch=partial(die, "seed", 6))
    assert resume(tmp_path / "shallow").resumed_at == 4
    assert train_heads(FEW, bank=bank, folder=tmp_path)["shallow"].resumed_at == 8
    assert_same(tmp_path, alone, FEW)


def test_stopped_all_save_and_go_on(bank, alone, tmp_path):
    with pytest.raises(TrainingStopped, match="stopped 3 heads after step 4") as stopped:
        train_heads(FEW, bank=bank, folder=tmp_path, watch=partial(interrupt, "rate", 3))
    for name in FEW:
        assert 4 in list_checkpoints(tmp_path / name)
        assert f"framebank train resume --run {tmp_path / name}" in str(stopped.value)
    assert set(train_heads(FEW, bank=bank, folder=tmp_path)) == set(FEW)
    assert_same(tmp_path, alone, FEW)


def test_a_head_that_diverges_drops_out(bank, alone, tmp_path, rows_read):
    with pytest.raises(Diverged, match="step") as reason:
        train(WILD, bank=bank, run=tmp_path / "alone" / "wild")
    rows_read.clear()
    heads = {"wild": WILD, "shallow": HEADS["shallow"]}
    results = train_heads(heads, bank=bank, folder=tmp_path)
    assert results["wild"].diverged
    assert str(reason.value).startswith(results["wild"].diverged)
    assert results["wild"].steps < CONFIG.steps
    assert not results["shallow"].diverged
    assert_same(tmp_path, alone, ["shallow"])
    assert_same(tmp_path, tmp_path / "alone", ["wild"])
    assert rows_read[array_name(2, "out")] < rows_read[array_name(3, "out")]


def test_one_that_diverged_is_not_trained_again_until_its_mark_is_removed(bank, tmp_path, rows_read):
    heads = {"wild": WILD, "shallow": replace(HEADS["shallow"], steps=3, log_every=1)}
    first = train_heads(heads, bank=bank, folder=tmp_path)["wild"]
    log = (tmp_path / "wild" / "metrics.jsonl").read_text()
    rows_read.clear()
    again = train_heads(heads, bank=bank, folder=tmp_path)["wild"]
    assert (again.diverged, again.steps) == (first.diverged, first.steps)
    assert not rows_read
    assert (tmp_path / "wild" / "metrics.jsonl").read_text() == log
    with pytest.raises(Diverged, match=r"wild/diverged\.json keeps that"):
        train(WILD, bank=bank, run=tmp_path / "wild")
    (tmp_path / "wild" / "diverged.json").unlink()
    assert train_heads(heads, bank=bank, folder=tmp_path)["wild"].diverged == first.diverged
    assert rows_read


def test_until_a_step_and_on_is_as_without_a_pause(bank, alone, tmp_path):
    heads = {name: HEADS[name] for name in ("wide", "thirds", "short")}
    for until in (3, 6, 2):
        results = train_heads(heads, bank=bank, folder=tmp_path, until=dict.fromkeys(heads, until))
    assert {name: result.steps for name, result in results.items()} == {"wide": 6, "thirds": 6, "short": 5}
    assert all(list_checkpoints(tmp_path / name)[-1] == results[name].steps for name in heads)
    train_heads(heads, bank=bank, folder=tmp_path)
    for name in heads:
        found, wanted = (read_metrics(folder / name / "metrics.jsonl") for folder in (tmp_path, alone))
        assert {line["step"] for line in found if "eval_top1" in line} >= {3, min(6, heads[name].steps)}
        assert [line for line in wanted if line not in found] == []
        states = [
            load_checkpoint(folder / name / f"checkpoint-{heads[name].steps}.pth")
            for folder in (tmp_path, alone)
        ]
        torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


def test_a_run_that_is_open_elsewhere(bank, tmp_path):
    train_heads({"a": CONFIG}, bank=bank, folder=tmp_path, until={"a": 1})
    with RunLock(tmp_path / "a"), pytest.raises(RunBusy, match="is in use by process"):
        train_heads({"a": CONFIG}, bank=bank, folder=tmp_path)
    assert train_heads({"a": CONFIG}, bank=bank, folder=tmp_path)["a"].steps == CONFIG.steps


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, r"others in order_seed \(or else seed\) \(0 in a, 1 in b\)"),
        ({"batch_size": 4}, r"others in batch_size \(6 in a, 4 in b\)"),
        (
            {"split": "test", "batch_split": 2},
            r"split \('train' in a, 'test' in b\), batch_split \(1 in a",
        ),
        ({"precision": "bf16"}, r"precision \('fp32' in a, 'bf16' in b\)"),
        ({"label": "some"}, r"20 with a 'label' for a and 19 with a 'some' for b"),
    ],
)
def test_heads_that_cannot_read_together(bank, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train_heads({"a": CONFIG, "b": replace(CONFIG, **changes)}, bank=bank, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_are_directories_and_hold_one_run_each(bank, alone, tmp_path):
    for names in (["a/b"], [".."], [""], []):
        with pytest.raises(ValueError, match="names of directories"):
            train_heads(dict.fromkeys(names, CONFIG), bank=bank, folder=tmp_path)
    with pytest.raises(RunError, match=r"config\.optim\.lr"):
        train_heads({"rate": CONFIG}, bank=bank, folder=alone)
