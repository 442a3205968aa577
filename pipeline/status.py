"""`framebank status BANK`: how far an extraction is, from any other terminal or machine, during it and after.

What is committed is counted from the bank's own records; rates and the time left are what the run itself
leaves in the bank every few seconds (`pipeline.progress`).
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import tyro
from rich.console import Console

from pipeline.outcomes import outcome_counts
from pipeline.progress import show_account
from storage import PROGRESS, Bank, live_run


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusConfig:
    """How far an extraction is."""

    bank: Annotated[str, tyro.conf.Positional]
    """Folder or URL of the bank."""
    attempts: int = 3
    """A failed clip counts as quarantined after so many attempts; as given to `extract`."""
    json: bool = False
    """Print the figures as one JSON object."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 whether a run is under way or not."""
    config = tyro.cli(StatusConfig, prog="framebank status", args=arguments, description=__doc__)
    bank = Bank(config.bank)
    found = status_of(bank, attempts=config.attempts)
    if config.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return 0
    console = Console(width=None if sys.stdout.isatty() else 160)
    show_account(console, bank, found["clips"], found["expected"])
    console.print(run_line(found["running"], found["last_run"]), highlight=False, markup=False)
    return 0


def status_of(bank: Bank, *, attempts: int) -> dict[str, Any]:
    """Clips by outcome, how many are expected, which run is writing (None: none), and what the last one said
    of its progress (None: nothing).
    """
    return {
        "bank": bank.path,
        "expected": bank.listing.num_rows,
        "clips": outcome_counts(bank, attempts=attempts),
        "running": live_run(bank.place),
        "last_run": last_run(bank),
    }


def last_run(bank: Bank) -> dict[str, Any] | None:
    """What the last run said of its progress; None where there is nothing, or nothing readable."""
    try:
        said = json.loads(bank.place.read(PROGRESS))
    except (FileNotFoundError, ValueError):
        return None
    return said if isinstance(said, dict) and {"run", "state", "time"} <= said.keys() else None


def run_line(running: str | None, said: dict[str, Any] | None) -> str:
    """The run in a sentence."""
    if running is None:
        if said is None:
            return "no run is writing"
        ended = "was killed" if said["state"] == "running" else said["state"]
        again = "" if ended == "finished" else "; run the same command to go on"
        who = f"{said['run']} on {said['host']}"
        return f"no run is writing; the last one ({who}) {ended}, {age(said['time'])}{again}"
    if said is None or said["run"] != running:
        return f"run {running} is writing; it has not said how far it is"
    left = "" if said["seconds_left"] is None else f", {timedelta(seconds=said['seconds_left'])} left"
    busy = "" if said["busy"] is None else f", {said['encoders']} encoders {said['busy']:.0%} busy"
    part = f" of part {said['part']}" if said["part"] else ""
    return (
        f"run {running} on {said['host']}: {said['done']} of {said['clips']} clips{part}, "
        f"{said['clips_per_second']:.2f} clips/s, {said['frames_per_second']:.1f} frames/s, "
        f"{said['mb_per_second']:.2f} MB/s{busy}{left} ({age(said['time'])})"
    )


def age(time: str) -> str:
    """How long ago a time was, in words."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()
    return f"{timedelta(seconds=max(0, round(seconds)))} ago"
