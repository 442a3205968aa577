"""What a bank holds, as plain values: from its small files, without reading a feature."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage.clip_table import MARKS, WRITTEN
from storage.commit import ShardRecord, first_part_outcomes
from storage.enrolment import distinct_labels
from storage.layout import ArrayLayout
from storage.lease import live_run
from storage.reader import Bank
from storage.shelf import spec_line
from storage.statistics import Statistics, merged

REASONS = 5
"""How many of the reasons why rows are not written are named."""


def summarise(bank: Bank) -> dict[str, Any]:
    """Spec, origin, counts, sizes and statistics of a bank, as plain JSON values.

    Raises:
        CorruptShard: a commit record, the listing or the facts are damaged.
    """
    rows = first_part_outcomes(bank.records)
    total = sum(record.bytes for record in bank.records.values())
    return {
        "location": bank.path,
        "line": spec_line(bank.spec),
        "spec": bank.spec.to_json(),
        "fingerprint": bank.fingerprint,
        "digest": bank.digest,
        "made": bank.manifest.made,
        "writing": live_run(bank.place),
        "clips": bank.listing.num_rows,
        "classes": len(distinct_labels(bank.listing)),
        "rows": rows,
        "rows_per_shard": bank.rows_per_shard,
        "splits": splits(bank),
        "reasons": reasons(bank.table),
        "marked": marked(bank.table),
        "bytes": total,
        "bytes_per_row": total / rows[WRITTEN] if rows.get(WRITTEN) else None,
        "lengths": {str(frames): length_values(bank, frames) for frames in bank.lengths},
        "parts": [part_values(bank, part) for part in range(len(bank.spec.kept))],
        "arrays": {name: array_values(bank, layout) for name, layout in bank.layouts.items()},
    }


def splits(bank: Bank) -> dict[str, dict[str, int]]:
    """Split to its clips: how many are listed, and of how many every view is written."""
    listed = bank.listing.group_by("split").aggregate([("key", "count")])
    views = bank.written().group_by(["split", "key"]).aggregate([("row", "count")])
    whole = views.filter(pc.field("row_count") == bank.spec.views)
    whole = whole.group_by("split").aggregate([("key", "count")])
    written = dict(zip(whole["split"].to_pylist(), whole["key_count"].to_pylist(), strict=True))
    pairs = zip(listed["split"].to_pylist(), listed["key_count"].to_pylist(), strict=True)
    return {name: {"clips": count, "written": written.get(name, 0)} for name, count in sorted(pairs)}


def reasons(table: pa.Table) -> list[dict[str, Any]]:
    """The commonest reasons why rows are not written, each with the first clip's name."""
    bad = table.filter(pc.field("outcome") != WRITTEN)
    found = bad.group_by(["outcome", "reason"]).aggregate([("row", "count"), ("key", "min")])
    names = {"outcome": "outcome", "reason": "reason", "row_count": "rows", "key_min": "clip"}
    lines = [{names[name]: value for name, value in line.items()} for line in found.to_pylist()]
    return sorted(lines, key=lambda line: (-line["rows"], line["reason"]))[:REASONS]


def marked(table: pa.Table) -> dict[str, int]:
    """Mark to the number of written rows that have it, without those that no row has."""
    written = table.filter(pc.field("outcome") == WRITTEN)
    counts = {name: written.filter(pc.field(name) > 0).num_rows for name in MARKS}
    return {name: count for name, count in counts.items() if count}


def length_values(bank: Bank, frames: int) -> dict[str, int]:
    """Of rows with this T: clips that are listed, rows that are written, bytes of their arrays."""
    layouts = [layout for layout in bank.layouts.values() if layout.frames == frames]
    return {
        "clips": bank.listing.filter(pc.field("frames") == frames).num_rows,
        "rows": len(bank.rows(frames=frames)),
        "bytes": sum(file_bytes(record, layout) for layout in layouts for record in bank.records.values()),
    }


def part_values(bank: Bank, part: int) -> dict[str, Any]:
    """What a part keeps, and how much of it is there."""
    kept = bank.spec.kept[part]
    records = [record for (of, _), record in bank.records.items() if of == part]
    rows = bank.listing["row"].to_numpy()
    return {
        "blocks": list(kept.blocks),
        "attention": kept.attention,
        "dtype": kept.dtype,
        "arrays": sum(layout.part == part for layout in bank.layouts.values()),
        "shards": len(records),
        "shards_listed": len(set((rows // bank.rows_per_shard).tolist())),
        "rows": sum(record.outcomes.get(WRITTEN, 0) for record in records),
        "bytes": sum(record.bytes for record in records),
    }


def array_values(bank: Bank, layout: ArrayLayout) -> dict[str, Any]:
    """Type, size and statistics of an array, over its committed shards."""
    records = [record for (part, _), record in bank.records.items() if part == layout.part]
    return {
        "dtype": layout.dtype,
        "row_shape": list(layout.row_shape),
        "part": layout.part,
        "bytes": sum(file_bytes(record, layout) for record in records),
        "statistics": statistics_of(layout.name, records),
    }


def file_bytes(record: ShardRecord, layout: ArrayLayout) -> int:
    """Size of an array's file in a shard; 0 where no row is written."""
    found = record.files.get(layout.shard_file(record.shard))
    return 0 if found is None else found.bytes


def statistics_of(name: str, records: list[ShardRecord]) -> Mapping[str, float] | None:
    """Statistics of an array, merged over shards; None where none were gathered."""
    parts = [Statistics(**record.statistics[name]) for record in records if name in record.statistics]
    if not parts:
        return None
    whole = merged(parts)
    return whole.to_json() | {"deviation": whole.deviation, "shards": len(parts)}
