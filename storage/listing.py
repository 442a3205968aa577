"""The listing on disk: parquet files, each vouched for by a sealed record, oldest first.

A listing is written once and never changed: its rows must mean the same for ever. So a listing exists if and
only if its record `clips/00000.json` does. It holds the table's digest and, where clips have rows of another
T than the spec's, which T there are: a reader learns from the records alone which arrays the bank has.
"""

import re
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from storage.clip_table import LISTING, from_parquet, to_parquet
from storage.commit import FileDigest, read_promised
from storage.enrolment import MAX_FRAMES, MAX_LENGTHS
from storage.errors import CorruptShard
from storage.places.place import Place
from storage.sealed import MAX_BYTES, seal, unseal


def listing_name(number: int) -> str:
    """Name of a listing's table."""
    return f"clips/{number:05d}.parquet"


def record_of(number: int) -> str:
    """Name of a listing's record."""
    return f"clips/{number:05d}.json"


def listing_files(place: Place) -> list[tuple[str, FileDigest]]:
    """Every listing's table and what its record promises of it, oldest first.

    Raises:
        CorruptShard: a record is damaged or one in between is missing.
    """
    return [(listing_name(number), read_promise(place, number)) for number in range(count_listings(place))]


def count_listings(place: Place) -> int:
    """How many records of listings there are; one that is missing in between leaves another beyond them."""
    found = (re.fullmatch(r"clips/(\d{5,9})\.json", entry.name) for entry in place.entries("clips"))
    return sum(record_of(int(match[1])) == match[0] for match in found if match)


def read_promise(place: Place, number: int) -> FileDigest:
    """What a listing's record says of its table. Raises CorruptShard where it is damaged or gone."""
    return read_listing_record(place, number)[0]


def read_listing_record(place: Place, number: int) -> tuple[FileDigest, tuple[int, ...]]:
    """What a listing's record says of its table: size and digest, and every T where its clips have another
    than the spec's.

    Raises:
        CorruptShard: it is damaged or gone.
    """
    name = record_of(number)
    try:
        values = unseal(place.read(name, MAX_BYTES))
        promise = FileDigest(**values["file"])
        if type(promise.bytes) is not int:
            raise ValueError("its table has no size")
        return promise, lengths_in(values)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptShard(
            f"{place}/{name} is not the record of a listing ({error}); restore it from a copy"
        ) from error


def lengths_in(values: dict[str, Any]) -> tuple[int, ...]:
    """Every T that a record names. Raises ValueError where it is none."""
    lengths = values.get("frames", [])
    if len(lengths) > MAX_LENGTHS or not all(type(n) is int and 1 <= n <= MAX_FRAMES for n in lengths):
        raise ValueError("its numbers of frames are none")
    return tuple(lengths)


def read_lengths(place: Place, frames: int) -> tuple[int, ...]:
    """T of the rows of all listed clips and the spec's, `frames`, ascending; from the records alone.

    Raises:
        CorruptShard: a record is damaged or gone.
    """
    found = (read_listing_record(place, number)[1] for number in range(count_listings(place)))
    return tuple(sorted({frames}.union(*found)))


def read_listing(place: Place, frames: int) -> pa.Table:
    """All listed clips.

    Args:
        frames: the spec's T, that of clips of which a table says nothing else.

    Raises:
        CorruptShard: a table or record is not what was written.
    """
    tables = [read_part(place, name, promise, frames) for name, promise in listing_files(place)]
    return pa.concat_tables(tables) if tables else LISTING.empty_table()


def read_part(place: Place, name: str, promise: FileDigest, frames: int) -> pa.Table:
    """One listing's table. Raises CorruptShard where it is not what its record promises."""
    try:
        return from_parquet(read_promised(place, name, promise), LISTING, {"frames": frames})
    except (OSError, ValueError) as error:
        raise CorruptShard(
            f"{place}/{name} is not the listing that was written ({error}); restore it from a copy"
        ) from error


def append_listing(place: Place, clips: pa.Table, frames: int) -> None:
    """Publish a further listing: table first, record last. Neither speaks of T where all is the spec's."""
    lengths = sorted(clips["frames"].unique().to_pylist())
    said = {} if lengths == [frames] else {"frames": lengths}
    number, data = count_listings(place), to_parquet(clips if said else clips.drop_columns(["frames"]))
    place.write(listing_name(number), data)
    promise = {"clips": clips.num_rows, "file": asdict(FileDigest.of(data))}
    place.write(record_of(number), seal(promise | said))
