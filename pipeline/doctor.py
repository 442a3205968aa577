"""`framebank doctor [--bank BANK]`: can this machine do the work, and what should be mended first?

Each check is a line: PASS, WARN (it works, worse than it could) or FAIL (something will not work), the fact
that was measured, and for the last two what to do. A check that itself fails is a FAIL, so the doctor always
comes to its end. Nothing is left where it looked, and no Ray is started that was not running.

Exit codes: 0 no FAIL; 1 at least one FAIL; 2 the request was wrong.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import tyro
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline import machine_checks
from pipeline.checkup import Check, Finding, run_check

COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorCommand:
    """Check this machine and the bank's place; exit 0 if nothing fails, 1 if something does."""

    bank: str = "."
    """Folder or URL where a bank lies or will lie; its disk or bucket is tried out."""
    quick: bool = False
    """Try the disk with 16 MiB in place of 256 MiB: a second in place of many, and a rougher rate."""
    json: bool = False
    """Print the findings as JSON."""


def checks(command: DoctorCommand) -> Iterator[tuple[str, Check]]:
    """Every check by name, in the order in which they are shown."""
    yield "python", machine_checks.python
    yield "torch", machine_checks.torch_and_gpus
    yield "codecs", machine_checks.codecs
    yield "memory", machine_checks.memory
    yield "shared memory", machine_checks.shared_memory
    yield "open files", machine_checks.open_files
    yield "ray", machine_checks.ray_here
    yield "the bank's place", lambda: bank_place(command)


def bank_place(command: DoctorCommand) -> list[Finding]:
    """Every check of the bank's place; imported here, so that a broken package of storage's is a finding."""
    from pipeline.place_checks import place_findings

    return place_findings(command.bank, quick=command.quick)


def examine(command: DoctorCommand, console: Console) -> Iterator[Finding]:
    """Run every check; its findings as they come, the name of the running one on a terminal meanwhile."""
    with console.status("") as status:
        for name, check in checks(command):
            status.update(f"checking {name}")
            yield from run_check(name, check)


def line(finding: Finding) -> Table:
    """A finding, and below its fact what to do."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=4)
    table.add_column(width=13)
    table.add_column(overflow="fold")
    said = Text(finding.fact)
    if finding.mend:
        said.append(f"\n→ {finding.mend}", "cyan")
    table.add_row(Text(finding.status, COLOURS[finding.status]), Text(finding.check), said)
    return table


def conclusion(counts: Counter[str]) -> str:
    """How many of each, in words."""
    passed, warned, failed = (counts[status] for status in COLOURS)
    verdict = "mend what FAILs first" if failed else "framebank will work here"
    return f"{passed} passed, {warned} warned, {failed} failed: {verdict}"


def refuse_unknown(location: str) -> None:
    """Refuse a URL of a kind that is not known: a wrong request, not a finding. Raises ValueError."""
    try:
        from storage import BankError, open_place
    except ImportError:
        return  # a finding, when the place is checked; likewise missing credentials
    with suppress(BankError):
        open_place(location)


def main(argv: Sequence[str] | None = None) -> int:
    """`framebank doctor [--bank BANK] [--quick] [--json]`."""
    command = tyro.cli(DoctorCommand, prog="framebank doctor", args=argv)
    refuse_unknown(command.bank)
    console = Console()
    findings = []
    for finding in examine(command, Console(stderr=True) if command.json else console):
        findings.append(finding)
        if not command.json:
            console.print(line(finding))
    counts = Counter(finding.status for finding in findings)
    if command.json:
        console.print_json(
            json.dumps({"findings": [asdict(finding) for finding in findings], "counts": counts})
        )
    else:
        console.print(Padding(Text(conclusion(counts)), (1, 0, 0, 0)))
    return 1 if counts["FAIL"] else 0
