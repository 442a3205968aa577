"""What is told while a sweep runs."""

from io import StringIO

from rich.console import Console

from decoders.sweeps import display
from decoders.sweeps.display import SweepDisplay
from decoders.sweeps.jobs import Job
from decoders.sweeps.standing import Standing
from decoders.sweeps.trials import settings
from tests.small_sweeps import BASE, sweep_config


def test_rounds_heads_and_newest_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(display, "LOG_SECONDS", 0.0)
    text = StringIO()
    shown = SweepDisplay(Console(file=text, width=200))
    job = Job(heads={"000-s0": BASE, "001-s0": BASE}, until={"000-s0": 3, "001-s0": 3})
    with shown:
        shown.begin_round("round 1/2", [job], tmp_path)
        shown.watch("000-s0", 2, {"loss": 1.0})
        shown.watch("001-s0", 3, {"eval_top1": 0.5, "eval_top5": 1.0})
        standings = {0: Standing(top1=(None,), top5=(None,)), 1: Standing(top1=(0.5,), top5=(1.0,))}
        shown.end_round(standings, settings(sweep_config()), going=1)
    assert text.getvalue().splitlines() == [
        "round 1/2: 2 trainings on 1 reads of the bank",
        "round 1/2: 2 of 6 steps; 000-s0 at 2",
        "round 1/2: 5 of 6 steps; 001-s0 at 3, 000-s0 at 2; validation top-1: 001-s0 0.500",
        "  0.500  001 optim.lr=0.003",
        "  diverged  000 optim.lr=0.0003",
        "  1 of 2 settings go on",
    ]


def test_a_terminal_gets_a_bar(tmp_path):
    text = StringIO()
    shown = SweepDisplay(Console(file=text, width=200, force_terminal=True))
    with shown:
        shown.begin_round("round 1/1", [Job(heads={"a": BASE}, until={"a": 9})], tmp_path)
        shown.watch("a", 4, {"eval_top1": 0.25})
    assert "a at 4; validation top-1: a 0.250" in text.getvalue()
