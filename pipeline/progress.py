"""What a person sees while clips become rows, and the account at the end.

On a terminal a live bar; elsewhere (a log file, `ray submit`) a line every ten seconds.
"""

import time
from collections import Counter
from types import TracebackType

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

from pipeline.encode import ShardReport
from storage import OUTCOMES, Bank

LOG_SECONDS = 10.0
REASONS_SHOWN = 5


class ExtractionProgress:
    """Counts shard reports and shows them; a context manager."""

    def __init__(self, console: Console, clips: int) -> None:
        self.console = console
        self.clips, self.done, self.bytes = clips, 0, 0
        self.outcomes: Counter[str] = Counter()
        self.started = self.logged = time.perf_counter()
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress("extracting", *columns, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task("extract", total=clips, rates="starting workers")

    def __enter__(self) -> "ExtractionProgress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def add(self, report: ShardReport) -> None:
        """Count one committed shard."""
        self.done += report.clips
        self.bytes += report.bytes
        self.outcomes.update(report.outcomes)
        self.bar.update(self.task, completed=self.done, rates=self.rates())
        if self.bar.disable and time.perf_counter() - self.logged > LOG_SECONDS:
            self.logged = time.perf_counter()
            self.console.print(f"{self.done} of {self.clips} clips, {self.rates()}")

    def rates(self) -> str:
        """Clips and megabytes a second since the start, and what did not work so far."""
        seconds = time.perf_counter() - self.started
        bad = "".join(f", {self.outcomes[name]} rows {name}" for name in OUTCOMES[1:] if self.outcomes[name])
        return f"{self.done / seconds:.1f} clips/s, {self.bytes / seconds / 1e6:.1f} MB/s{bad}"


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
    bad = [line for line in bank.table.select(["key", "view", "reason"]).to_pylist() if line["reason"]]
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for line in bad:
        if line["view"] == 0:
            counts[line["reason"]] += 1
            first.setdefault(line["reason"], line["key"])
    return Counter({f"{reason}  (e.g. {first[reason]})": count for reason, count in counts.items()})
