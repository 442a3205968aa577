"""Commit records: a row exists if and only if its shard has one.

`shards/00042.json` is written after everything it vouches for, and says which files make up the shard, how
long they are and what their BLAKE2b digests are (`b2sum -l 256 FILE` recomputes one). What may differ
between two runs of the same work (times, hosts, attempts) stands under `provenance` and is not part of the
record's digest.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from storage.durable import write_file
from storage.errors import CorruptShard
from storage.spec import canonical


@dataclass(frozen=True, kw_only=True, slots=True)
class FileDigest:
    """One file of a shard."""

    bytes: int
    """Its size."""
    blake2b: str
    """Its BLAKE2b-256 digest in hex."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardRecord:
    """What a commit record says."""

    shard: int
    """Number of the shard."""
    rows: tuple[int, int]
    """First row and one past the last row of the shard's slots."""
    fingerprint: str
    """The bank's fingerprint when the shard was written."""
    files: dict[str, FileDigest]
    """Path within the bank to size and digest, the clip table's part included."""
    outcomes: dict[str, int]
    """Row slots by outcome."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Run, host, times and attempts: what may differ between two runs of the same work."""

    @property
    def digest(self) -> str:
        """BLAKE2b-256 of everything but the provenance."""
        return digest_of(canonical(asdict(self) | {"provenance": None}).encode())

    @property
    def attempts(self) -> dict[int, int]:
        """How often the rows that are not written were tried, by row."""
        return {int(row): count for row, count in self.provenance.get("attempts", {}).items()}


def digest_of(data: bytes) -> str:
    """BLAKE2b-256 in hex."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def record_path(bank: Path, shard: int) -> Path:
    """Where shard `shard`'s commit record lies."""
    return bank / "shards" / f"{shard:05d}.json"


def table_path(bank: Path, shard: int) -> Path:
    """Where shard `shard`'s part of the clip table lies."""
    return bank / "shards" / f"{shard:05d}.parquet"


def write_record(bank: Path, record: ShardRecord, run: str) -> None:
    """Publish a record: from here on its rows exist."""
    data = json.dumps(asdict(record), indent=1, sort_keys=True).encode()
    write_file(record_path(bank, record.shard), data, run)


def read_record(path: Path) -> ShardRecord:
    """The record in a file.

    Raises:
        CorruptShard: the file is not a commit record.
    """
    try:
        values = json.loads(path.read_bytes())
        values["rows"] = tuple(values["rows"])
        values["files"] = {name: FileDigest(**file) for name, file in values["files"].items()}
        return ShardRecord(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptShard(
            f"{path} is not a commit record ({error}); delete it and extract again to make its shard anew"
        ) from error


def read_records(bank: Path) -> dict[int, ShardRecord]:
    """All records of a bank by shard number, ascending."""
    paths: Iterable[Path] = sorted((bank / "shards").glob("[0-9]*.json"))
    records = {record.shard: record for record in map(read_record, paths)}
    return dict(sorted(records.items()))
