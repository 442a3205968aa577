"""Rounds: who shares a read, what a second call does, what is tested again."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from ablations import rounds
from ablations.rounds import Contest, score_runs, train_in_rounds
from storage import Bank
from tests.small_runs import CONFIG, write_learnable_bank
from training.checkpoint import list_checkpoints

BASE = replace(CONFIG, eval_split="", steps=4, save_every=2, order_seed=0)
HEADS = {f"seed-{seed}": replace(BASE, seed=seed) for seed in range(3)}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return Bank.open(write_learnable_bank(tmp_path_factory.mktemp("rounds") / "bank"))


@pytest.fixture
def contest(bank, tmp_path):
    return Contest(
        bank=bank, eval_bank=bank, runs=tmp_path, device="cpu", console=Console(file=StringIO(), width=120)
    )


@pytest.fixture
def calls(monkeypatch):
    """Names of the heads of each round, and of the runs that were evaluated."""
    seen, train, evaluate = [], rounds.train_heads, rounds.evaluate

    def training(configs, **settings):
        seen.append(list(configs))
        return train(configs, **settings)

    def evaluating(run, **settings):
        seen.append(run.name)
        return evaluate(run, **settings)

    monkeypatch.setattr(rounds, "train_heads", training)
    monkeypatch.setattr(rounds, "evaluate", evaluating)
    return seen


def test_rounds_are_as_large_as_allowed_and_each_head_is_trained(contest, calls):
    assert train_in_rounds(contest, HEADS, 2) == {}
    assert calls == [["seed-0", "seed-1"], ["seed-2"]]
    shown = contest.console.file.getvalue()
    assert "2 of 3 decoders are trained" in shown
    assert "3 of 3 decoders are trained" in shown
    assert all(list_checkpoints(contest.runs / name)[-1] == 4 for name in HEADS)


def test_what_diverged_is_told_and_the_others_go_on(contest):
    wild = replace(BASE, optim=replace(BASE.optim, lr=1e30))
    diverged = train_in_rounds(contest, {"wild": wild, "sound": BASE}, 1)
    assert list(diverged) == ["wild"]
    assert "the loss is" in diverged["wild"]
    assert list_checkpoints(contest.runs / "sound")[-1] == 4


def test_what_was_tested_is_tested_again_only_after_a_change(contest, calls):
    train_in_rounds(contest, {"seed-0": HEADS["seed-0"]}, 8)
    asked = [("seed-0", "test"), ("seed-0", "train")]
    first = score_runs(contest, asked)
    assert list(first) == asked
    assert score_runs(contest, asked) == first
    assert calls == [["seed-0"], "seed-0", "seed-0"]
    (contest.runs / "seed-0" / "checkpoint-4.pth").unlink()
    assert score_runs(contest, asked[:1])["seed-0", "test"]["checkpoint"] == "checkpoint-2.pth"
