"""The tables of a bank, as parquet: the listing of what was asked for, and the facts of what became of it.

The listing (`clips/00000.parquet`, ...) gives every clip its rows once and for all; later listings add to
it. Two clips with the same content share rows: stored once, listed twice. Its column `frames` is in a file
only where a clip's rows have another T than the spec's, so a bank of videos alone is the same, byte for byte,
as if there could be no others; in memory it is always there. The facts (`shards/*.parquet`, one file per
shard) have one line per row slot, written or not, with the reason if not. The *clip table* is the listing
joined with the facts. Nothing in them depends on when or where a row was made, so equal work gives equal
bytes.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes the functions of its compute module when it is imported)

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ClipTable: TypeAlias = pa.Table
"""A clip table or a part of it, for rooms that read columns and need not know of parquet."""

WRITTEN = "written"
FILTERED = "filtered"
FAILED = "failed"
QUARANTINED = "quarantined"
OUTCOMES = (WRITTEN, FILTERED, FAILED, QUARANTINED)
MARKS = ("rotation", "repeated_frames", "black_frames", "constant_frames", "missing_frames", "backward_times")
"""Columns of the facts that are 0 (or null) for a row with nothing odd about it."""
MAX_TABLE_BYTES = 2**31
"""Unpacked size beyond which a table is damage or malice."""

LABELLING = [
    ("key", pa.string()),
    ("label", pa.int32()),
    ("class_name", pa.string()),
    ("split", pa.string()),
    ("captions", pa.list_(pa.string())),
    ("attributes", pa.map_(pa.string(), pa.string())),
]

LISTING = pa.schema(
    [
        ("row", pa.int64()),
        *LABELLING,
        ("path", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("bytes", pa.int64()),
        ("frames", pa.int32()),
    ]
)

CLIPS = pa.schema(list(LISTING)[1:])
"""A listing before its clips have rows."""
CLIPS_AT_ONCE = 1 << 14
"""Lines that are turned into columns together, so that a million of them never stand side by side."""

FACTS = pa.schema(
    [
        ("row", pa.int64()),
        ("view", pa.int16()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("error", pa.string()),
        ("stage", pa.string()),
        ("content", pa.string()),
        ("decoder", pa.string()),
        ("indices", pa.list_(pa.int32())),
        ("num_frames", pa.int32()),
        ("fps", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int16()),
        ("repeated_frames", pa.int16()),
        ("black_frames", pa.int16()),
        ("constant_frames", pa.int16()),
        ("missing_frames", pa.int32()),
        ("backward_times", pa.int32()),
    ]
)


def table_from(lines: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of the schema from one dict per line; a name that the schema lacks is an error of ours."""
    unknown = {name for line in lines[:1] for name in line} - set(schema.names)
    assert not unknown, f"no such columns: {sorted(unknown)}"
    return pa.Table.from_pylist(list(lines), schema=schema)


def clips_table(lines: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Clips to enrol, about 100 bytes each.

    Args:
        lines: a mapping per clip with the columns of CLIPS; `bytes` may be left out, and `frames` of clips
            whose rows have the spec's T. Taken as they come.
    """
    left = iter(lines)
    groups = iter(lambda: list(islice(left, CLIPS_AT_ONCE)), [])
    return pa.Table.from_batches([clips_batch(group) for group in groups], CLIPS)


def clips_batch(lines: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Some clips' lines as columns."""
    unknown = lines[0].keys() - set(CLIPS.names)
    assert not unknown, f"no such columns: {sorted(unknown)}"
    plain = [name for name in CLIPS.names if name not in ("attributes", "bytes", "frames")]
    columns = {name: [line[name] for line in lines] for name in plain}
    columns["attributes"] = [list(line["attributes"].items()) for line in lines]
    columns["bytes"] = [line.get("bytes", -1) for line in lines]
    columns["frames"] = [line.get("frames") for line in lines]
    return pa.RecordBatch.from_pydict(columns, CLIPS)


def to_parquet(table: pa.Table) -> bytes:
    """The table as the bytes of a parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def from_parquet(data: bytes, schema: pa.Schema, absent: Mapping[str, int] | None = None) -> pa.Table:
    """The table in a parquet file's bytes.

    Args:
        absent: last columns of the schema that a file may lack, to what all lines have then.

    Raises:
        ValueError: it is none of this schema, or would unpack to an absurd size.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        unpacked = sum(
            file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups)
        )
        if unpacked > MAX_TABLE_BYTES:
            raise ValueError(f"it would unpack to {unpacked} bytes")
        table = file.read()
        for name, value in (absent or {}).items():
            if name not in table.column_names:
                table = table.append_column(name, pa.array(np.full(table.num_rows, value, np.int32)))
        return table.cast(schema)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(str(error)) from error


def joined(listing: pa.Table, facts: pa.Table, views: int) -> pa.Table:
    """The clip table: for every listed clip its `views` rows with their facts, as far as there are any.

    Args:
        listing: lines of LISTING, in the order of enrolment.
        facts: lines of FACTS, rows ascending and distinct.
        views: V, rows of a clip.

    Returns:
        A line per clip and view that has facts: labels of the clip, then facts of the row.
    """
    first = listing["row"].to_numpy().astype(np.int64)
    wanted = (first[:, None] + np.arange(views)).reshape(-1)
    have = facts["row"].to_numpy().astype(np.int64)
    place = np.searchsorted(have, wanted)
    found = place < len(have)
    found[found] = have[place[found]] == wanted[found]
    clips = listing.select([*(name for name, _ in LABELLING), "frames"]).take(
        np.repeat(np.arange(len(first)), views)[found]
    )
    rows = facts.take(place[found])
    columns = {"row": rows["row"], "view": rows["view"], "frames": clips["frames"]}
    columns |= {name: clips[name] for name in clips.column_names}
    columns |= {name: rows[name] for name in rows.column_names[2:]}
    return pa.table(columns)


def unwritten(table: pa.Table) -> pa.Table:
    """The lines of a clip table whose rows hold no values."""
    return table.filter(pc.field("outcome") != WRITTEN)


def end_of_rows(listing: pa.Table, views: int) -> int:
    """One past the last row slot that a listed clip owns, the gaps between listings included."""
    return int(np.asarray(listing["row"]).max()) + views if listing.num_rows else 0


def covers(listing: pa.Table, facts: pa.Table, views: int) -> bool:
    """Whether a listing reaches as far as facts do."""
    return facts.num_rows == 0 or int(np.asarray(facts["row"]).max()) < end_of_rows(listing, views)
