"""Commit records: a row exists if and only if its shard has one that says so.

`shards/00042.json` is written after everything it vouches for, and says which files make up the shard, how
long they are and what their BLAKE3 digests are. A part that was added to the bank later has records of its
own, `shards/00042.1.json` for the first addition. What may differ between two runs of the same work (times,
hosts, attempts) stands under `provenance`, and that and the statistics are not part of the record's digest.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from storage.errors import CorruptShard
from storage.places.names import MAX_WHOLE
from storage.places.place import Place
from storage.sealed import MAX_BYTES, digest_of, seal, unseal
from storage.spec import canonical

OPENERS = 16
"""Records read at a time: on NFS and object stores each costs a round trip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileDigest:
    """One file of a bank, as its record promises it."""

    bytes: int
    """Its size."""
    blake3: str
    """Its BLAKE3-256 digest in hex."""

    @classmethod
    def of(cls, data: "bytes") -> "FileDigest":
        """What is to be promised of a file with this content."""
        return cls(bytes=len(data), blake3=digest_of(data))


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecord:
    """What a commit record says."""

    shard: int
    """Number of the shard."""
    part: int = 0
    """Part of the bank whose arrays these are."""
    rows: tuple[int, int]
    """First row and one past the last row of the shard's slots that clips own."""
    fingerprint: str
    """The bank's fingerprint."""
    files: dict[str, FileDigest]
    """Path within the bank to size and digest, the table of what became of the rows included."""
    outcomes: dict[str, int]
    """Row slots by outcome."""
    statistics: dict[str, Any] = field(default_factory=dict)
    """Array name to what `storage.statistics` gathered of its values."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Run, host, times and attempts: what may differ between two runs of the same work."""

    @property
    def digest(self) -> str:
        """BLAKE3-256 of everything but the statistics and the provenance."""
        return digest_of(canonical(asdict(self) | {"statistics": None, "provenance": None}).encode())

    @property
    def attempts(self) -> dict[int, int]:
        """How often the clips that are not written were tried, by first row."""
        return {int(row): count for row, count in self.provenance.get("attempts", {}).items()}

    @property
    def failures(self) -> tuple[dict[str, Any], ...]:
        """What is known of each vain attempt at clips that are not written, oldest first."""
        return tuple(self.provenance.get("failures", ()))

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(file.bytes for file in self.files.values())


def read_promised(place: Place, name: str, promise: FileDigest, most: int = MAX_WHOLE) -> bytes:
    """A whole file, held against what is promised of it.

    Raises:
        FileNotFoundError: it is gone.
        ValueError: it is larger than promised or than `most` bytes, or has another digest.
    """
    data = place.read(name, min(promise.bytes, most))
    if FileDigest.of(data) != promise:
        raise ValueError("its digest is not the recorded one")
    return data


def shard_stem(shard: int, part: int) -> str:
    """What the two small files of a shard are called, less their ending."""
    return f"shards/{shard:05d}" + (f".{part}" if part else "")


def record_name(shard: int, part: int = 0) -> str:
    """Name of a shard's commit record."""
    return shard_stem(shard, part) + ".json"


def facts_name(shard: int, part: int = 0) -> str:
    """Name of the table of what became of a shard's rows."""
    return shard_stem(shard, part) + ".parquet"


def shard_of(name: str) -> tuple[int, int] | None:
    """(part, shard) of a record's or table's name, or None if it is neither."""
    stem = name.removeprefix("shards/").removesuffix(".json").removesuffix(".parquet")
    shard, _, part = stem.partition(".")
    if not (shard.isascii() and shard.isdigit() and (not part or (part.isascii() and part.isdigit()))):
        return None
    number, of = int(shard), int(part or 0)
    return (of, number) if name in (record_name(number, of), facts_name(number, of)) else None


def belongs(name: str, shard: int, part: int) -> bool:
    """Whether a file of this name can be one of a shard's."""
    chunk = rf"features/(frames\d+/)?[a-z0-9_]+(/[a-z0-9_]+)?/c/{shard}(/0)+"
    return name == facts_name(shard, part) or re.fullmatch(chunk, name) is not None


def encode_record(record: ShardRecord) -> bytes:
    """The record as its file holds it."""
    return seal(asdict(record))


def read_record(place: Place, shard: int, part: int = 0) -> ShardRecord:
    """The record of a shard.

    Raises:
        FileNotFoundError: it has none.
        CorruptShard: the file is not its commit record.
    """
    name = record_name(shard, part)
    try:
        record = decode_record(place.read(name, MAX_BYTES))
        if (record.shard, record.part) != (shard, part):
            raise ValueError(f"it speaks of shard {record.shard} of part {record.part}")
        strangers = [found for found in record.files if not belongs(found, shard, part)]
        if strangers:
            raise ValueError(f"it names {strangers[0]!r:.80}, which is no file of its shard")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptShard(
            f"{place}/{name} is not a commit record ({error}); `framebank verify {place} --repair` removes "
            "it, then extract again to make its shard anew"
        ) from error
    return record


def decode_record(data: bytes) -> ShardRecord:
    """The record in a file's bytes. Raises ValueError, KeyError or TypeError where it is none."""
    values = unseal(data)
    first, stop = (int(row) for row in values["rows"])
    values["rows"] = (first, stop)
    values["files"] = {str(name): FileDigest(**file) for name, file in values["files"].items()}
    for file in values["files"].values():
        if not (isinstance(file.bytes, int) and file.bytes >= 0 and isinstance(file.blake3, str)):
            raise ValueError("a file in it has no size or digest")
    counts = (*values["outcomes"].values(), *values["provenance"].get("attempts", {}).values())
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("a count in it is no whole number")
    if not all(type(entry["row"]) is int for entry in values["provenance"].get("failures", ())):
        raise ValueError("a failure in it has no row")
    return ShardRecord(**values)


def read_records(place: Place, names: Iterable[str] | None = None) -> dict[tuple[int, int], ShardRecord]:
    """All records of a bank (or those of the names given) by (part, shard), ascending.

    Raises:
        CorruptShard: one is damaged.
    """
    if names is None:
        names = [entry.name for entry in place.entries("shards")]
    wanted = sorted(filter(None, (shard_of(name) for name in names if name.endswith(".json"))))
    with ThreadPoolExecutor(OPENERS) as pool:
        records = pool.map(lambda key: read_record(place, key[1], key[0]), wanted)
        return dict(zip(wanted, records, strict=True))


def first_part_outcomes(records: Mapping[tuple[int, int], ShardRecord]) -> dict[str, int]:
    """Row slots by outcome over all shards of the first part, which knows what became of each row."""
    total: Counter[str] = Counter()
    for (part, _), record in records.items():
        if part == 0:
            total.update(record.outcomes)
    return dict(total)


def files_of(records: Mapping[Any, ShardRecord]) -> dict[str, FileDigest]:
    """Every file that records vouch for."""
    return {name: file for record in records.values() for name, file in record.files.items()}
