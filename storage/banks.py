"""`framebank banks ROOT [--json]`: the banks of a lab's shelf, three lines each.

What is where, how large, made by whom, and whether anybody still reads it, from small files alone. ROOT is
searched three folders deep. A bank that is damaged or may not be read is a line with the reason, and the
others are shown all the same. Exit codes: 0 done; 1 some bank could not be shown; 2 there is no bank.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from storage.clip_table import WRITTEN
from storage.errors import BankError, NotABank
from storage.shelf import Standing, spec_line, standings

UNITS = (("y", 31_536_000), ("d", 86_400), ("h", 3_600), ("min", 60))
"""What an age is told in, and how many seconds that is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BanksCommand:
    """List the banks below a folder or URL."""

    root: Annotated[str, tyro.conf.Positional]
    """Folder or URL of the shelf."""
    json: bool = False
    """Print JSON instead of a table."""


def main(argv: Sequence[str]) -> int:
    """`framebank banks ROOT [--json]`."""
    command, console = tyro.cli(BanksCommand, prog="framebank banks", args=argv), Console()
    found = list(standings(command.root))
    if not found:
        raise NotABank(f"expected banks at or below {command.root}, found none")
    errors = [one for one in found if isinstance(one, BankError)]
    if command.json:
        console.print_json(json.dumps([plain(one) for one in found]))
    else:
        console.print(shelf_table([one for one in found if isinstance(one, Standing)], datetime.now(UTC)))
        for error in errors:
            console.print(Text(f"\n{error}", "red"), soft_wrap=True)
    return 1 if errors else 0


def plain(standing: Standing | BankError) -> dict[str, Any]:
    """A bank as plain JSON values; of one that cannot be shown, the reason."""
    if isinstance(standing, BankError):
        return {"error": str(standing)}
    return {
        "name": standing.name,
        "location": standing.location,
        "line": spec_line(standing.manifest.spec),
        "fingerprint": standing.manifest.spec.fingerprint,
        "rows": standing.rows,
        "bytes": standing.bytes,
        "outcomes": standing.outcomes,
        "made": standing.manifest.made,
        "written": standing.written and standing.written.isoformat(timespec="seconds"),
        "read": standing.read and standing.read.isoformat(timespec="seconds"),
        "writing": standing.writer or None,
    }


def shelf_table(found: Sequence[Standing], now: datetime) -> Table:
    """A row for each bank, of a few lines, so that it fits a narrow terminal."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), leading=1)
    table.add_column("bank", overflow="fold", ratio=1)
    for name in ("rows", "not written"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("made by", overflow="ellipsis", no_wrap=True, max_width=24)
    table.add_column("used", no_wrap=True)
    for one in found:
        table.add_row(*cells(one, now))
    return table


def cells(standing: Standing, now: datetime) -> tuple[Text | str, ...]:
    """A bank's cells, of up to three lines."""
    made = standing.manifest.made
    bad = [f"{count:,} {name}" for name, count in standing.outcomes.items() if name != WRITTEN and count]
    used = [f"written {ago(standing.written, now)}", f"read {ago(standing.read, now)}"]
    if standing.writer:
        used.append(f"writing: {standing.writer}")
    name = Text.assemble((standing.name, "bold"), "\n", (spec_line(standing.manifest.spec), "dim"))
    size = f"{standing.rows:,}\n{decimal(standing.bytes)}"
    origin = f"{made.get('user', '?')}\n{made.get('host', '?')}\n{made.get('time', '')[:10]}"
    return name, size, "\n".join(bad) or "-", origin, "\n".join(used)


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that fits; `never` where there is no time."""
    if then is None:
        return "never"
    seconds = max(0.0, (now - then).total_seconds())
    unit, size = next(((unit, size) for unit, size in UNITS if seconds >= size), ("s", 1))
    return f"{seconds / size:.0f} {unit} ago"
