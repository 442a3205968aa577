"""The two tables of a bank, as parquet: the listing of what was asked for, and the clip table of what
became of it.

The listing (`clips/00000.parquet`, ...) gives every clip its rows once and for all; later listings add to
it. The clip table (`shards/*.parquet`, one part per shard) has one line per row slot, written or not, with
the reason if not. Nothing in them depends on when or where a row was made, so equal work gives equal bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.errors import CorruptShard, ListingConflict

ClipTable: TypeAlias = pa.Table
"""A clip table or a part of it, for rooms that read columns and need not know of parquet."""

WRITTEN = "written"
FILTERED = "filtered"
FAILED = "failed"
QUARANTINED = "quarantined"
OUTCOMES = (WRITTEN, FILTERED, FAILED, QUARANTINED)

LABELLING = [
    ("key", pa.string()),
    ("label", pa.int32()),
    ("class_name", pa.string()),
    ("split", pa.string()),
    ("captions", pa.list_(pa.string())),
    ("attributes", pa.map_(pa.string(), pa.string())),
]

LISTING = pa.schema(
    [("row", pa.int64()), *LABELLING, ("path", pa.string()), ("offset", pa.int64()), ("size", pa.int64())]
)

CLIP_TABLE = pa.schema(
    [
        ("row", pa.int64()),
        ("view", pa.int16()),
        *LABELLING,
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("content", pa.string()),
        ("decoder", pa.string()),
        ("indices", pa.list_(pa.int32())),
        ("num_frames", pa.int32()),
        ("fps", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int16()),
    ]
)


def table_from(lines: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of the schema from one dict per line; a name that the schema lacks is an error of ours."""
    unknown = {name for line in lines[:1] for name in line} - set(schema.names)
    assert not unknown, f"no such columns: {sorted(unknown)}"
    return pa.Table.from_pylist(list(lines), schema=schema)


def to_parquet(table: pa.Table) -> bytes:
    """The table as the bytes of a parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def read_tables(paths: Iterable[Path], schema: pa.Schema) -> pa.Table:
    """The parquet files one below the other, in the order given."""
    tables = [read_table(path, schema) for path in paths]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """One parquet file.

    Raises:
        CorruptShard: it is gone, or not what was written.
    """
    try:
        return pq.ParquetFile(path).read().cast(schema)
    except (OSError, pa.ArrowException) as error:
        raise CorruptShard(
            f"{path} cannot be read as a table of the bank ({error}); restore it from a copy"
        ) from error


def listing_paths(bank: Path) -> list[Path]:
    """Files of the bank's listing, oldest first."""
    return sorted((bank / "clips").glob("[0-9]*.parquet"))


def check_labels(have: pa.Table, more: pa.Table) -> None:
    """Refuse a listing in which a label of the bank means another class.

    Raises:
        ListingConflict: the first such label, with both names.
    """
    names = dict(distinct_labels(have))
    for label, name in distinct_labels(more):
        known = names.setdefault(label, name)
        if known != name:
            raise ListingConflict(
                f"label {label} is class {known!r} in the bank but {name!r} in this listing; "
                "list the classes in the same order as before, or start another bank"
            )


def distinct_labels(table: pa.Table) -> list[tuple[int, str]]:
    """The (label, class name) pairs of a table, label -1 (none) left out, ascending."""
    labelled = table.filter(pc.field("label") >= 0)
    pairs = labelled.group_by(["label", "class_name"]).aggregate([])
    return sorted(zip(pairs["label"].to_pylist(), pairs["class_name"].to_pylist(), strict=True))


def labels_by_key(listing: pa.Table) -> dict[str, tuple[int, str, str]]:
    """Label, class name and split of every clip of a listing, by key."""
    columns = (listing[name].to_pylist() for name in ("label", "class_name", "split"))
    return dict(zip(listing["key"].to_pylist(), zip(*columns, strict=True), strict=True))


def refuse_relabelling(known: Mapping[str, tuple[int, str, str]], clips: Iterable[Mapping[str, Any]]) -> None:
    """A clip keeps the labels it was enrolled with: rows must not change their meaning under a reader.

    Raises:
        ListingConflict: the first clip that comes with others.
    """
    for clip in clips:
        found = (clip["label"], clip["class_name"], clip["split"])
        if known.get(clip["key"], found) != found:
            raise ListingConflict(
                f"{clip['key']} has (label, class, split) {known[clip['key']]} in the bank but {found} "
                "in this listing; list it as before, or start another bank"
            )
