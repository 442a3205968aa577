"""What a person sees while clips become rows, and the account at the end.

On a terminal a live bar; elsewhere (a log file, `ray submit`) a line every ten seconds. The same figures are
kept in the bank every few seconds, for `framebank status` in any other terminal or on any other machine.
"""

import json
import socket
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from pipeline.task import ShardReport
from storage import OUTCOMES, PROGRESS, Bank, BankError, BankWriter, unwritten

LOG_SECONDS = 10.0
KEEP_SECONDS = 5.0
REASONS_SHOWN = 5


class ExtractionProgress:
    """Counts shard reports, shows them and keeps them in the bank; a context manager.

    Args:
        writer: the run.
        clips: how many clips are to do.
        part: part of the bank that they are done for.
    """

    def __init__(self, console: Console, writer: BankWriter, clips: int, part: int = 0) -> None:
        self.console, self.writer, self.clips, self.part = console, writer, clips, part
        self.done = self.frames = self.bytes = self.encoders = 0
        self.encode_seconds = self.encoder_seconds = 0.0
        self.outcomes: Counter[str] = Counter()
        self.started = self.logged = self.kept = self.heard = time.perf_counter()
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        hidden = not console.is_terminal or not clips
        self.bar = Progress("extracting", *columns, console=console, disable=hidden)
        self.task = self.bar.add_task("extract", total=clips, rates="starting workers")

    def __enter__(self) -> "ExtractionProgress":
        self.bar.start()
        self.keep("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        self.keep("finished" if kind is None else f"stopped: {kind.__name__}")

    def say(self, line: str) -> None:
        """Tell a person something beside the bar."""
        self.console.print(line, highlight=False, markup=False)

    def add(self, report: ShardReport, encoders: int) -> None:
        """Count one committed shard; `encoders` are running by now."""
        now = time.perf_counter()
        if self.encoders:
            self.encoder_seconds += (now - self.heard) * self.encoders
            self.encode_seconds += report.encode_seconds
        self.heard, self.encoders = now, encoders
        self.done += report.clips
        self.frames += report.frames
        self.bytes += report.bytes
        self.outcomes.update(report.outcomes)
        self.bar.update(self.task, completed=self.done, rates=self.rates())
        if self.bar.disable and now - self.logged > LOG_SECONDS:
            self.logged = now
            self.console.print(f"{self.done} of {self.clips} clips, {self.rates()}")
        if now - self.kept > KEEP_SECONDS:
            self.kept = now
            self.keep("running")

    def figures(self) -> dict[str, Any]:
        """Counts and rates since the start, as plain values."""
        seconds = max(time.perf_counter() - self.started, 1e-9)
        rate = self.done / seconds
        return {
            "part": self.part,
            "clips": self.clips,
            "done": self.done,
            "outcomes": dict(self.outcomes),
            "clips_per_second": round(rate, 3),
            "frames_per_second": round(self.frames / seconds, 2),
            "mb_per_second": round(self.bytes / seconds / 1e6, 3),
            "seconds": round(seconds, 1),
            "seconds_left": round((self.clips - self.done) / rate) if rate else None,
            "encoders": self.encoders,
            "busy": self.busy(),
        }

    def busy(self) -> float | None:
        """Share of the encoders' time that was spent in the tower; None while nobody knows."""
        if not self.encoder_seconds:
            return None
        return round(min(1.0, self.encode_seconds / self.encoder_seconds), 3)

    def keep(self, state: str) -> None:
        """Leave the figures in the bank; a store that is away for a moment does not stop the run."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        who = {"run": self.writer.run, "host": socket.gethostname(), "state": state, "time": now}
        with suppress(BankError, OSError):
            self.writer.place.write(PROGRESS, json.dumps(who | self.figures(), indent=2).encode())

    def rates(self) -> str:
        """Rates since the start, how busy the encoders are, and what did not work so far."""
        found = self.figures()
        busy = "" if found["busy"] is None else f", encoders {found['busy']:.0%} busy"
        bad = "".join(f", {self.outcomes[name]} rows {name}" for name in OUTCOMES[1:] if self.outcomes[name])
        return (
            f"{found['clips_per_second']:.1f} clips/s, {found['frames_per_second']:.0f} frames/s, "
            f"{found['mb_per_second']:.1f} MB/s{busy}{bad}"
        )


def show_account(console: Console, bank: Bank, counts: dict[str, int], expected: int) -> None:
    """The final table: expected = written + filtered + failed + quarantined, and the commonest reasons."""
    table = Table(title=f"{bank.path}", title_justify="left")
    for column in ("clips expected", *OUTCOMES, "unaccounted"):
        table.add_column(column, justify="right")
    missing = expected - sum(counts.values())
    table.add_row(str(expected), *(str(counts.get(name, 0)) for name in OUTCOMES), str(missing))
    console.print(table)
    for reason, count in bad_reasons(bank).most_common(REASONS_SHOWN):
        console.print(f"  {count} × {reason}", highlight=False, markup=False)


def bad_reasons(bank: Bank) -> Counter[str]:
    """How many clips each reason kept out, the first of them named."""
    bad = unwritten(bank.table).select(["key", "view", "reason"]).to_pylist()
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for line in bad:
        if line["view"] == 0:
            counts[line["reason"]] += 1
            first.setdefault(line["reason"], line["key"])
    return Counter({f"{reason}  (e.g. {first[reason]})": count for reason, count in counts.items()})
