"""`framebank gc BANK_OR_SHELF [--dry-run]`: give back what dead runs left in a bank, or in each of a shelf.

What a leftover is, see `storage.checks.leftovers`. It is removed under the writer lease, so never while a
run is writing; that bank is refused (`BankBusy`). With `--dry-run` nothing is removed and no lease is
taken; while a run is writing, any file without a record may be that run's, and nothing is listed. Files
that are not named as a bank names its own are shown as unknown and never touched.

Exit codes: 0 done, or nothing to do; 1 a bank is busy or damaged (the others are done); 2 no bank there.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

import tyro
from rich.console import Console
from rich.filesize import decimal

from storage.checks.leftovers import Leftovers, find_leftovers
from storage.errors import BankBusy, BankError, NotABank
from storage.lease import LEASE, WriterLease, busy_message, holder, is_alive, read_lease
from storage.places.place import Place
from storage.shelf import bank_places

SHOWN = 20
"""Files that are named; of more the number is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GcCommand:
    """Remove what dead runs left in a bank, or in all banks below a folder or URL."""

    location: Annotated[str, tyro.conf.Positional]
    """Folder or URL of the bank, or of the shelf."""
    dry_run: bool = False
    """Show what would be removed, and remove nothing."""


def collect(place: Place, *, dry_run: bool) -> Leftovers:
    """Remove a bank's leftovers, or with `dry_run` only find them; which they are.

    Raises:
        BankBusy: a run is writing.
        CorruptShard: the bank is damaged, so its leftovers cannot be told from what was lost.
    """
    lease = read_lease(place)
    if lease is not None and is_alive(place, lease):
        raise BankBusy(busy_message(place, holder(lease)))
    dead = [entry for entry in place.entries() if entry.name == LEASE]
    with nullcontext() if dry_run else WriterLease(place, f"gc-{uuid.uuid4().hex[:12]}"):
        found = find_leftovers(place)
        if not dry_run:
            place.remove(entry.name for entries in found.orphans.values() for entry in entries)
    if dead:
        found.orphans["lease of a dead run"] = dead  # taken over and given up, which removes it
    return found


def report(place: Place, found: Leftovers, *, dry_run: bool) -> Iterator[str]:
    """What was found in a bank, in lines."""
    done = "would be removed" if dry_run else "removed"
    yield f"{place}: {found.count} files, {decimal(found.bytes)} {done if found.count else 'to remove'}"
    for kind, entries in found.orphans.items():
        size = decimal(sum(entry.bytes for entry in entries))
        yield f"  {len(entries)} × {kind}, {size}"
    every = sorted(chain(*found.orphans.values()), key=lambda entry: (-entry.bytes, entry.name))
    for entry in every[:SHOWN]:
        yield f"    {decimal(entry.bytes):>9}  {entry.name}"
    if len(every) > SHOWN:
        yield f"    and {len(every) - SHOWN} smaller ones"
    if found.unknown:
        yield f"  unknown files, left alone: {len(found.unknown)}, such as {found.unknown[0].name}"


def main(argv: Sequence[str]) -> int:
    """`framebank gc BANK_OR_SHELF [--dry-run]`."""
    command = tyro.cli(GcCommand, prog="framebank gc", args=argv)
    console, failed, banks = Console(), False, 0
    for place in bank_places(command.location):
        banks += 1
        try:
            lines = list(report(place, collect(place, dry_run=command.dry_run), dry_run=command.dry_run))
        except BankError as error:
            lines, failed = [str(error)], True
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not banks:
        raise NotABank(f"expected a bank or a shelf of banks at {command.location}, found none")
    return 1 if failed else 0
