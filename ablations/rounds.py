"""Many decoders trained in rounds on one bank, and tested: each round is one read of it.

Every decoder has a run directory, so what was trained is recognised, and so is what was tested: a call that
was killed, and is made again, does only what is left.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from decoders.config import TrainConfig
from decoders.evaluate import evaluate, report_file
from decoders.heads import train_heads
from storage import Bank
from training.run import RunDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class Contest:
    """Where decoders are trained and tested."""

    bank: Bank
    """To train on."""
    eval_bank: Bank
    """To test on."""
    runs: Path
    """Folder of the run directories."""
    device: str
    """auto, cpu or cuda."""
    console: Console
    """Where progress is shown."""

    def progress(self) -> Progress:
        """A bar with the time that is left."""
        columns = (
            TextColumn("  {task.fields[unit]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        return Progress(*columns, TextColumn("{task.description}"), console=self.console)


def train_in_rounds(contest: Contest, configs: Mapping[str, TrainConfig], size: int) -> dict[str, str]:
    """Train each config in the run directory of its name, at most `size` of them on one read.

    All must be of one order, batch size and split (see `decoders.heads`). The bar counts steps of decoders.

    Returns:
        Why it ended early, for each that diverged.
    """
    names = list(configs)
    done = dict.fromkeys(names, 0)
    diverged = {}
    with contest.progress() as progress:
        bar = progress.add_task("", total=sum(config.steps for config in configs.values()), unit="steps")

        def watch(name: str, steps: int, values: Mapping[str, float]) -> None:
            done[name] = steps
            text = "  ".join(f"{key} {value:.3f}" for key, value in values.items() if key == "loss")
            progress.update(bar, completed=sum(done.values()), description=f"{name}  {text}")

        for first in range(0, len(names), size):
            some = {name: configs[name] for name in names[first : first + size]}
            results = train_heads(
                some, bank=contest.bank.path, folder=contest.runs, device=contest.device, watch=watch
            )
            done |= {name: configs[name].steps for name in results}
            diverged |= {name: result.diverged for name, result in results.items() if result.diverged}
            progress.update(bar, completed=sum(done.values()), description="")
            progress.console.print(f"  {min(first + size, len(names))} of {len(names)} decoders are trained")
    return diverged


def score_runs(contest: Contest, tests: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Test runs on splits, each pair by (name, split); the reports of `decoders.evaluate`."""
    tests = list(tests)
    reports = {}
    with contest.progress() as progress:
        bar = progress.add_task("", total=len(tests), unit="tests")
        for name, split in tests:
            progress.update(bar, description=f"{name} on {split}")
            reports[name, split] = report_of(contest, contest.runs / name, split)
            progress.advance(bar)
        progress.update(bar, description="")
    return reports


def report_of(contest: Contest, run: Path, split: str) -> dict[str, Any]:
    """The report of a run on a split, as it was written before if nothing has changed since."""
    newest, bank = RunDirectory.read(run).checkpoint, contest.eval_bank
    file = report_file(run, split)
    if file.exists() and newest is not None:
        report = json.loads(file.read_text(encoding="utf-8"))
        known = (report["checkpoint"], report["bank"], report["fingerprint"])
        if known == (newest.name, bank.path, bank.fingerprint):
            return report
    return evaluate(run, bank=bank.path, split=split, device=contest.device)
