"""A lab's shelf: the banks below one folder or URL, what each holds, and which one serves a spec.

What is shown of a bank comes from its small files (manifest, records); no features are read. When a bank
was last read is the access time of its first listing, which whoever trains from it reads and a look at the
shelf does not, as far as the file system keeps it: readers never need the right to write.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage.clip_table import WRITTEN
from storage.commit import first_part_outcomes
from storage.errors import BankError, NotABank, SpecMismatch
from storage.growth import grown
from storage.lease import live_run
from storage.listing import listing_name
from storage.manifest import Manifest, read_manifest
from storage.places.local_place import LocalPlace
from storage.places.place import Place, open_place
from storage.reader import Bank
from storage.spec import BankSpec
from storage.writer import is_bank

DEPTH = 3
"""How many folders down a shelf is searched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One bank of a shelf."""

    location: str
    """Folder or URL."""
    name: str
    """Path below the shelf."""
    manifest: Manifest
    """Spec and origin."""
    rows: int
    """Rows that are written."""
    bytes: int
    """Size of all that is committed."""
    outcomes: dict[str, int]
    """Row slots of the first part by outcome."""
    writer: str
    """Id of the run that is writing it, or nothing."""
    written: datetime | None
    """When the last shard was committed."""
    read: datetime | None
    """When a reader last opened it; None where the store does not say."""


def bank_places(root: str | Path) -> Iterator[Place]:
    """The banks at or below a folder or URL, in the order of their names."""
    yield from _search(open_place(root), DEPTH)


def _search(place: Place, depth: int) -> Iterator[Place]:
    try:
        found = is_bank(place)
        folders = [] if found or not depth else place.folders()
    except PermissionError:
        found, folders = True, []  # may be one; whoever looks into it will say why not
    if found:
        yield place
    for name in folders:
        if not name.startswith("."):
            yield from _search(open_place(f"{place}/{name}"), depth - 1)


def standings(root: str | Path) -> Iterator[Standing | BankError]:
    """Every bank of a shelf, or what is wrong with it."""
    shelf = open_place(root)
    for place in bank_places(root):
        try:
            yield standing(place, str(place).removeprefix(str(shelf)).strip("/") or Path(str(place)).name)
        except BankError as error:
            yield error
        except PermissionError as error:
            yield BankError(f"{place} may not be read: {error.strerror}")


def standing(place: Place, name: str) -> Standing:
    """What one bank holds. Raises BankError where it is damaged."""
    bank = Bank(str(place))
    outcomes = first_part_outcomes(bank.records)
    times = [entry.modified for entry in place.entries("shards") if entry.name.endswith(".json")]
    return Standing(
        location=str(place),
        name=name,
        manifest=bank.manifest,
        rows=outcomes.get(WRITTEN, 0),
        bytes=sum(record.bytes for record in bank.records.values()),
        outcomes=outcomes,
        writer=live_run(place) or "",
        written=datetime.fromtimestamp(max(times), UTC) if times else None,
        read=last_read(place),
    )


def last_read(place: Place) -> datetime | None:
    """When somebody last read the clips of the bank, None where nobody has or the store does not say."""
    if not isinstance(place, LocalPlace):
        return None
    try:
        found = os.stat(place.path(listing_name(0)))
    except FileNotFoundError:
        return None
    return datetime.fromtimestamp(found.st_atime, UTC) if found.st_atime > found.st_mtime else None


def find_bank(root: str | Path, spec: BankSpec) -> str | None:
    """The bank of a shelf that holds, or could grow to hold, what a spec asks for; None if there is none."""
    for place in bank_places(root):
        try:
            have = read_manifest(place).spec
        except (NotABank, PermissionError):
            continue  # `framebank banks` shows it
        if have.fingerprint != spec.fingerprint:
            continue
        try:
            grown(place, have, spec, grow=True)
        except SpecMismatch:
            continue  # it keeps the same rows in another type
        return str(place)
    return None


def suggested_name(spec: BankSpec) -> str:
    """A name for a new bank: the same spec gives the same name, so two runs cannot make two banks of it."""
    model = re.sub(r"[^A-Za-z0-9]+", "-", spec.backbone.name).strip("-").lower()
    kind = "" if spec.kept[0].dtype == "float16" else f"-{spec.kept[0].dtype}"
    return f"{model}-{spec.frames}f{kind}-{spec.fingerprint[:8]}"


def spec_line(spec: BankSpec) -> str:
    """A spec in a line, for tables."""
    kept = "; ".join(
        f"{numbers(part.blocks)} {part.attention}{'' if part.dtype == 'float16' else ' ' + part.dtype}"
        for part in spec.kept
    )
    views = f" × {spec.views} views" if spec.views > 1 else ""
    seen = spec.backbone.temporal
    temporal = f" window {seen.window} {seen.boundary}" if seen else ""
    tower = f"{spec.backbone.name}{temporal} {spec.backbone.precision}"
    return f"{tower}, {spec.frames} frames{views}, blocks {kept}"


def numbers(blocks: tuple[int, ...]) -> str:
    """Block numbers, a run of them as first-last."""
    first, last = min(blocks), max(blocks)
    run = len(blocks) > 1 and last - first + 1 == len(blocks)
    return f"{first}-{last}" if run else " ".join(map(str, blocks))
