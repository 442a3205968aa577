"""The small files of a bank, checked against one another: what it is, what it lists, what is committed.

Manifest, metadata, listing, frozen weights and commit records are read and held to their checks; each thing
that is wrong is a finding, and the rest is looked at all the same. No features are read, so a survey takes
seconds. It may run while a run is writing: records are read first, so manifest and listing are not older.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.checks.finding import Finding, cause
from storage.checks.metadata_check import metadata_findings, root_findings, weight_findings
from storage.clip_table import LISTING, WRITTEN
from storage.commit import OPENERS, ShardRecord, facts_name, read_record, record_name, shard_of
from storage.errors import CorruptShard, NotABank, OtherFormat
from storage.layout import part_layouts
from storage.listing import count_listings, listing_name, read_listing_record, read_part, record_of
from storage.manifest import Manifest, read_manifest
from storage.places.place import Place
from storage.skeleton import ROOT
from storage.spec import BankSpec

Key = tuple[int, int]
"""(part, shard)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What the small files of a bank say, as far as they are sound."""

    place: Place
    """The bank."""
    manifest: Manifest | None = None
    """None where it is damaged; then nothing else is known."""
    listing: pa.Table | None = None
    """Every listed clip; None where a listing is damaged."""
    listed: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    """Shard to the row slots that clips own in it, ascending."""
    frames: dict[int, int] = field(default_factory=dict)
    """Shard to T of its rows."""
    records: dict[Key, ShardRecord] = field(default_factory=dict)
    """Commit records without a finding."""
    missing: dict[int, int] = field(default_factory=dict)
    """Part to the number of listed shards that have no record."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the small files, and what is worth knowing."""


def take_survey(place: Place) -> Survey:
    """Look at all small files of a bank.

    Raises:
        NotABank: nothing of a bank is there, or it is of another format.
    """
    records, findings = readable_records(place)
    try:
        manifest = read_manifest(place)
    except OtherFormat:
        raise
    except NotABank as error:
        if not records and not findings and not place.entries("clips"):
            raise
        what = f"{error}; nothing else can be checked without it"
        return Survey(place=place, findings=(*findings, Finding(where=ROOT, what=what, remedy="copy")))
    listing, wrong = readable_listing(place, manifest)
    findings += [*root_findings(place, manifest), *weight_findings(place, manifest), *wrong]
    if listing is None:
        return Survey(place=place, manifest=manifest, records=records, findings=tuple(findings))
    listed, frames = rows_by_shard(listing, manifest), frames_by_shard(listing, manifest)
    rows = int(listed[max(listed)][-1]) + 1 if listed else 0
    findings += metadata_findings(place, manifest, rows, frames.values())
    unfit = {key: record_finding(record, manifest, listed, frames) for key, record in records.items()}
    findings += [found for found in unfit.values() if found is not None]
    known = {*records, *(found.shard for found in findings if found.shard)}
    return Survey(
        place=place,
        manifest=manifest,
        listing=listing,
        listed=listed,
        frames=frames,
        records={key: record for key, record in records.items() if unfit[key] is None},
        missing=missing_shards(manifest.spec, listed, known),
        findings=tuple([*findings, *orphaned_parts(known)]),
    )


def readable_records(place: Place) -> tuple[dict[Key, ShardRecord], list[Finding]]:
    """The commit records that can be read, and a finding for each that cannot."""
    names = [entry.name for entry in place.entries("shards") if entry.name.endswith(".json")]
    keys = sorted(filter(None, map(shard_of, names)))
    with ThreadPoolExecutor(OPENERS) as pool:
        looks = dict(zip(keys, pool.map(lambda key: current_record(place, key), keys), strict=True))
    records = {key: found for key, found in looks.items() if isinstance(found, ShardRecord)}
    return records, [found for found in looks.values() if isinstance(found, Finding)]


def current_record(place: Place, key: Key) -> ShardRecord | Finding | None:
    """A shard's record as it is now: a finding where it is damaged, None while a run makes the shard anew."""
    part, shard = key
    try:
        return read_record(place, shard, part)
    except FileNotFoundError:
        return None
    except CorruptShard as error:
        return Finding(where=record_name(shard, part), what=cause(error), remedy="repair", shard=key)


def readable_listing(place: Place, manifest: Manifest) -> tuple[pa.Table | None, list[Finding]]:
    """All listed clips, or a finding for each file of the listing that is damaged."""
    tables, findings, frames = [], [], manifest.spec.frames
    for number in range(count_listings(place)):
        name = record_of(number)
        try:
            promise, lengths = read_listing_record(place, number)
            name = listing_name(number)
            tables.append(read_part(place, name, promise, frames))
            if set(tables[-1]["frames"].unique().to_pylist()) != set(lengths or [frames]):
                what = f"its clips have rows of other numbers of frames than its record says ({lengths})"
                findings.append(Finding(where=name, what=what, remedy="copy"))
        except CorruptShard as error:
            findings.append(Finding(where=name, what=cause(error), remedy="copy"))
    if findings:
        return None, findings
    listing = pa.concat_tables(tables) if tables else LISTING.empty_table()
    wrong = listing_fault(listing, manifest)
    return (None, [Finding(where="clips", what=wrong, remedy="copy")]) if wrong else (listing, [])


def listing_fault(listing: pa.Table, manifest: Manifest) -> str:
    """What a listing of ours cannot say, or nothing."""
    if any(listing[name].null_count for name in ("row", "key", "frames")):
        return "a clip in it has no row, no name or no number of frames"
    rows, views = listing["row"].to_numpy(), manifest.spec.views
    if ((rows < 0) | (rows % views != 0)).any():
        return f"a clip in it begins at a row that is no multiple of its {views} views"
    if len(listing["key"].unique()) != len(rows):
        return "it names a clip twice"
    pairs = np.stack([rows // manifest.rows_per_shard, listing["frames"].to_numpy()])
    if len(np.unique(pairs, axis=1).T) != len(np.unique(pairs[0])):
        return "it gives rows of different numbers of frames to one shard"
    return ""


def rows_by_shard(listing: pa.Table, manifest: Manifest) -> dict[int, NDArray[np.int64]]:
    """Shard to the row slots that clips own in it; clips of equal content share theirs."""
    first = np.unique(listing["row"].to_numpy().astype(np.int64))
    rows = (first[:, None] + np.arange(manifest.spec.views)).reshape(-1)
    shards, starts = np.unique(rows // manifest.rows_per_shard, return_index=True)
    return dict(zip(shards.tolist(), np.split(rows, starts[1:]), strict=False))


def frames_by_shard(listing: pa.Table, manifest: Manifest) -> dict[int, int]:
    """Shard to T of its rows."""
    shards = listing["row"].to_numpy() // manifest.rows_per_shard
    found, places = np.unique(shards, return_index=True)
    return dict(zip(found.tolist(), listing["frames"].to_numpy()[places].tolist(), strict=True))


def record_finding(
    record: ShardRecord, manifest: Manifest, listed: Mapping[int, Any], frames: Mapping[int, int]
) -> Finding | None:
    """What a record says that the bank does not bear out, or None."""
    spec, shard, part = manifest.spec, record.shard, record.part
    where = record_name(shard, part)
    if part >= len(spec.kept):
        what = f"it is of part {part}, but the manifest knows {len(spec.kept)}: {ROOT} is older than it"
        return Finding(where=where, what=what, remedy="copy")
    if shard not in listed:
        what = "no listing names its rows: a listing file (clips/) is lost"
        return Finding(where=where, what=what, remedy="copy")
    files = {facts_name(shard, part)}
    if record.outcomes.get(WRITTEN):
        files |= {layout.shard_file(shard) for layout in part_layouts(spec, part, frames[shard])}
    rows = (int(listed[shard][0]), int(listed[shard][-1]) + 1)
    what = ""
    if record.fingerprint != spec.fingerprint:
        what = f"it is of a bank with fingerprint {record.fingerprint:.12}, not {spec.fingerprint:.12}"
    elif record.files.keys() != files:
        odd = min(record.files.keys() ^ files)
        what = f"it names {len(record.files)} files where its shard has {len(files)}, odd is {odd}"
    elif record.rows != rows:
        what = f"it is of rows {record.rows}, the listing has {rows} there"
    return Finding(where=where, what=what, remedy="repair", shard=(part, shard)) if what else None


def missing_shards(spec: BankSpec, listed: Mapping[int, Any], known: set[Key]) -> dict[int, int]:
    """Part to the number of listed shards without a record."""
    return {part: sum((part, shard) not in known for shard in listed) for part in range(len(spec.kept))}


def orphaned_parts(known: set[Key]) -> Iterator[Finding]:
    """Shards of later parts whose first part is not there (any more)."""
    for part, shard in sorted(known):
        if part and (0, shard) not in known:
            what = "it waits for the first part of its shard, which `framebank extract` makes"
            yield Finding(where=record_name(shard, part), what=what)
