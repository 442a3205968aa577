"""A sweep from its description to a tested winner; interrupted anywhere, the same."""

import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from decoders.evaluate import evaluate
from decoders.sweeps.choices import Choices
from decoders.sweeps.config import SearchPlan
from decoders.sweeps.jobs import run_here
from decoders.sweeps.sweep import SweepFailed, sweep
from decoders.train import TrainCommand, parse, train
from tests.small_runs import write_learnable_bank
from tests.small_sweeps import BASE, RATES, curves, places, quiet, sweep_config
from training.interrupt import TrainingStopped
from training.lock import RunBusy, RunLock
from training.metrics import read_metrics
from training.run import RunError


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return write_learnable_bank(tmp_path_factory.mktemp("sweeps") / "bank", train=20, test=8)


@pytest.fixture(autouse=True)
def _undrawn(whole, monkeypatch):
    """The sweep of `whole` has its picture; the others, in this process, save the time."""
    monkeypatch.setattr("decoders.sweeps.report.plot_sweep", lambda path, report, trials: path.touch())


@pytest.fixture(scope="module")
def whole(bank, tmp_path_factory):
    """An uninterrupted sweep: its folder and its report."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    return folder, sweep(sweep_config(), places(bank, folder), display=quiet())


def test_the_winner_is_the_best_of_the_last_rung_and_tested(bank, whole):
    folder, report = whole
    assert json.loads((folder / "sweep.json").read_text()) == report
    rungs = {setting["number"]: [rung["step"] for rung in setting["rungs"]] for setting in report["settings"]}
    assert sorted(map(tuple, rungs.values())) == [(3,), (3,), (3, 9)]
    first = {setting["number"]: setting["rungs"][0] for setting in report["settings"]}
    best = min(first, key=lambda number: (-first[number]["score"], number))
    [winner] = report["winners"]
    assert winner["number"] == best == report["settings"][0]["number"]
    assert rungs[best] == [3, 9]
    runs = [folder / "trials" / f"{best:03}-s{seed}" for seed in (0, 1)]
    for run, top1, tested in zip(
        runs, report["settings"][0]["rungs"][1]["top1"], winner["test"]["top1"], strict=True
    ):
        assert read_metrics(run / "metrics.jsonl")[-1]["eval_top1"] == top1
        assert evaluate(run, bank=bank, split="test")["top1"] == tested
    assert winner["score"] == pytest.approx(sum(report["settings"][0]["rungs"][1]["top1"]) / 2)
    assert winner["config"]["optim"]["lr"] == winner["values"]["optim.lr"]


def test_the_command_trains_the_winner_again(bank, whole, tmp_path):
    folder, report = whole
    [winner] = report["winners"]
    for command, run in zip(winner["commands"], winner["runs"], strict=True):
        parsed = parse(shlex.split(command)[2:])
        assert isinstance(parsed, TrainCommand)
        again = train(parsed.config, bank=parsed.bank, run=tmp_path / run[-2:], device="cpu").run
        ours, theirs = (read_metrics(folder / "metrics.jsonl") for folder in (again, folder.parent / run))
        assert [line for line in ours if line not in theirs] == []
        assert ours[-1] == theirs[-1]


def test_what_people_read_is_there(whole):
    folder, report = whole
    lines = (folder / "table.csv").read_text().splitlines()
    assert lines[0] == "setting,optim.lr,steps,validation top-1,spread,state"
    assert len(lines) == 4
    assert lines[1].endswith(",winner")
    text = (folder / "report.md").read_text()
    assert report["winners"][0]["commands"][1] in text
    assert "sweep.png" in text
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_sweep_is_a_cheap_success_and_another_is_refused(bank, whole):
    folder, report = whole

    def never(*_):
        raise AssertionError

    assert sweep(sweep_config(), places(bank, folder, heads=1), display=quiet(), run_jobs=never) == report
    other = sweep_config(steps=18, plan=SearchPlan(halving=3, rungs=2, seeds=1))
    with pytest.raises(RunError, match=r"sweep\.base\.steps: the run has 9, asked for 18") as caught:
        sweep(other, places(bank, folder), display=quiet())
    assert r"sweep.plan.seeds: the run has 2, asked for 1" in str(caught.value)
    with pytest.raises(RunError, match="expected the config of a training"):
        evaluate(folder, bank=bank)


def test_fewer_heads_a_read_change_nothing(bank, whole, tmp_path):
    folder, report = whole
    again = sweep(sweep_config(), places(bank, tmp_path / "s", heads=1), display=quiet())
    assert curves(tmp_path / "s") == curves(folder)
    assert again["settings"] == report["settings"]


@pytest.mark.parametrize(
    "lines", [pytest.param(1, marks=pytest.mark.slow), 7, pytest.param(20, marks=pytest.mark.slow)]
)
def test_interrupted_and_gone_on_with(bank, whole, tmp_path, lines):
    folder, report = whole
    left = [lines]

    def interrupted(jobs, where, watch):
        def watched(name, done, values):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGINT)
            watch(name, done, values)

        run_here(jobs, where, watched)

    where = places(bank, tmp_path / "s", heads=4)
    with pytest.raises(TrainingStopped, match="the same command goes on"):
        sweep(sweep_config(), where, display=quiet(), run_jobs=interrupted)
    again = sweep(sweep_config(), where, display=quiet())
    assert curves(tmp_path / "s") == curves(folder)
    assert again["settings"] == report["settings"]


def killed(bank, folder, lines: int) -> int:
    """How a process ends that runs the sweep and kills itself after so many lines of the log."""
    command = [sys.executable, "-m", "tests.killed_sweep", str(bank), str(folder), str(lines)]
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_killed_and_gone_on_with(bank, whole, tmp_path):
    folder, report = whole
    assert killed(bank, tmp_path / "s", 31) == -signal.SIGKILL  # in the second round
    assert not json.loads((tmp_path / "s" / "sweep.json").read_text())["finished"]
    again = sweep(sweep_config(), places(bank, tmp_path / "s"), display=quiet())
    assert curves(tmp_path / "s") == curves(folder)
    assert again["settings"] == report["settings"]


@pytest.mark.slow
def test_killed_at_any_moments_and_gone_on_with(bank, whole, tmp_path):
    folder, report = whole
    draw = random.Random(7)
    for number in range(6):
        place = tmp_path / str(number)
        ends = [killed(bank, place, draw.randint(1, 40)) for _ in range(3)]
        assert -signal.SIGKILL in ends
        again = sweep(sweep_config(), places(bank, place), display=quiet())
        assert curves(place) == curves(folder)
        assert again["settings"] == report["settings"]


def test_one_that_diverges_is_ranked_last_and_not_trained_again(bank, tmp_path):
    config = sweep_config({"optim.lr": Choices((1e30, 3e-3))}, SearchPlan())
    report = sweep(config, places(bank, tmp_path / "s"), display=quiet())
    assert [setting["number"] for setting in report["settings"]] == [1, 0]
    assert report["winners"][0]["number"] == 1
    assert "the loss is" in report["settings"][1]["diverged"]["000-s0"]
    (tmp_path / "s" / "sweep.json").unlink()

    def never(*_):
        raise AssertionError

    assert sweep(config, places(bank, tmp_path / "s"), display=quiet(), run_jobs=never) == report
    wild = sweep_config({"optim.lr": Choices((1e30, 1e29))}, SearchPlan(halving=3, rungs=2))
    with pytest.raises(SweepFailed, match="every setting diverged"):
        sweep(wild, places(bank, tmp_path / "wild"), display=quiet())
    assert "diverged: 000-s0" in (tmp_path / "wild" / "table.csv").read_text()


def test_a_winner_for_each_label_set(bank, tmp_path):
    vary = {"label": Choices(("label", "parity")), **RATES}
    report = sweep(
        sweep_config(vary, SearchPlan(halving=3, rungs=2)), places(bank, tmp_path), display=quiet()
    )
    assert sorted(winner["label"] for winner in report["winners"]) == ["label", "parity"]
    assert len([setting for setting in report["settings"] if len(setting["rungs"]) == 2]) == 2


def test_what_a_bank_cannot_serve_is_known_before_anything_is_trained(bank, tmp_path):
    deep = {"decoder.layers": Choices((1, 3))}
    with pytest.raises(ValueError, match="holds 2"):
        sweep(sweep_config(deep, SearchPlan()), places(bank, tmp_path / "a"), display=quiet())
    plan = SearchPlan(test_split="none")
    with pytest.raises(ValueError, match="in split 'none'"):
        sweep(sweep_config(RATES, plan), places(bank, tmp_path / "a"), display=quiet())
    assert not (tmp_path / "a").exists()


def test_two_at_once_are_refused(bank, whole):
    folder, _ = whole
    with RunLock(folder), pytest.raises(RunBusy, match="in use by process"):
        sweep(sweep_config(), places(bank, folder), display=quiet())


def test_a_trial_that_was_trained_past_its_rung_elsewhere_is_named(bank, whole, tmp_path):
    folder, _ = whole
    lone = replace(BASE, optim=replace(BASE.optim, lr=3e-4), order_seed=0)
    where = places(bank, tmp_path / "s")

    def elsewhere(jobs, places, watch):
        train(lone, bank=bank, run=tmp_path / "s" / "trials" / "000-s0", device="cpu")
        run_here(jobs, places, watch)

    with pytest.raises(RunError, match=r"after step 3 in .*000-s0.*trained on by another command"):
        sweep(sweep_config(), where, display=quiet(), run_jobs=elsewhere)
    shutil.rmtree(tmp_path / "s" / "trials" / "000-s0")
    sweep(sweep_config(), where, display=quiet())
    assert curves(tmp_path / "s") == curves(folder)
