"""Writing one shard, the unit that is written, committed and retried whole.

Rows stream into one unpublished file per array, so a worker's memory holds one row, not one shard; `commit`
publishes the files and the record last. Everything passed in is a plain value, so the worker can be anywhere
that sees the bank.
"""

import socket
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from storage.clip_table import FACTS, WRITTEN, table_from, to_parquet
from storage.commit import FileDigest, ShardRecord, encode_record, facts_name, record_name
from storage.errors import BankBusy, Unstorable
from storage.layout import ArrayLayout, part_layouts
from storage.lease import held_by
from storage.manifest import read_manifest
from storage.places.place import FileWriter, Place, open_place
from storage.shard_index import CRC_BYTES, checksum, empty_index, pack_index
from storage.statistics import Statistics, merged

PUBLISHERS = 8
"""Files of a shard that are synced (or uploaded) at a time."""
HANDS = 2
"""Arrays of a row that are checked and digested, then written, at a time: checks take as long as writing."""
PIECE = 2**18
"""Bytes of a row that are checked, summed and digested at a time, while the processor's cache holds them."""


class ShardWriter:
    """Writes one whole shard of one part, rows in ascending order, and commits it.

    Use as a context manager: leaving it without `commit` removes what was written.

    Args:
        location: the bank. shard: number of the shard. run: id of the run that holds the bank's lease.
        part: part of the bank whose arrays are written.
        frames: T of the shard's rows; 0: the spec's.
    """

    def __init__(self, location: str | Path, shard: int, *, run: str, part: int = 0, frames: int = 0) -> None:
        self.place = open_place(location)
        manifest = read_manifest(self.place)
        self.shard, self.part, self.run = shard, part, run
        self.spec, self.shard_rows = manifest.spec, manifest.rows_per_shard
        self.first = shard * self.shard_rows
        layouts = part_layouts(manifest.spec, part, frames)
        self.arrays = [ArrayShard(self.place, layout, shard, self.shard_rows) for layout in layouts]
        self.statistics: dict[str, list[Statistics]] = {}
        self._hands = ThreadPoolExecutor(HANDS, thread_name_prefix="framebank-write")

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._hands.shutdown()
        for array in self.arrays:
            array.discard()

    def append(
        self, row: int, values: Mapping[str, np.ndarray], statistics: Mapping[str, Statistics] | None = None
    ) -> None:
        """Write one row of every array.

        Args:
            row: row number in the bank, within this shard. values: array name to values of that array's row
            shape: integers as they are stored, floats are cast. statistics: array name to what is known of
            the row's values before they were stored.

        Raises:
            Unstorable: a value that the storage type cannot hold, or a wrong shape; nothing was written.
            DiskTooSmall: the disk is full.
        """
        chunks = list(self._hands.map(lambda array: array.chunk(values[array.layout.name]), self.arrays))
        places = [row - self.first] * len(chunks)
        deque(self._hands.map(ArrayShard.append, self.arrays, places, chunks), maxlen=0)
        for name, found in (statistics or {}).items():
            self.statistics.setdefault(name, []).append(found)

    def commit(self, lines: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> ShardRecord:
        """Make the shard durable and publish its record.

        Args:
            lines: what became of each row slot that a clip owns, columns of FACTS, rows ascending.
            provenance: what may differ between runs: times, attempts, versions.

        Raises:
            BankBusy: the run that this worker belongs to has lost the bank's lease.
        """
        self._refuse_if_superseded()
        name = record_name(self.shard, self.part)
        self.place.remove([name])
        files = self._publish(to_parquet(table_from([dict(line) for line in lines], FACTS)))
        record = ShardRecord(
            shard=self.shard,
            part=self.part,
            rows=(lines[0]["row"], lines[-1]["row"] + 1),
            fingerprint=self.spec.fingerprint,
            files=dict(sorted(files.items())),
            outcomes=count_outcomes(lines),
            statistics={name: merged(found).to_json() for name, found in sorted(self.statistics.items())},
            provenance={"run": self.run, "host": socket.gethostname(), **provenance},
        )
        self._refuse_if_superseded()
        if not self.place.swap(name, None, encode_record(record)):
            raise BankBusy(f"another run has committed shard {self.shard} of {self.place} meanwhile")
        return record

    def _publish(self, facts: bytes) -> dict[str, FileDigest]:
        """All files but the record, several at a time; what the record is to say of them."""
        with ThreadPoolExecutor(PUBLISHERS) as pool:
            files = dict(pool.map(ArrayShard.publish, [array for array in self.arrays if array.rows]))
        name = facts_name(self.shard, self.part)
        self.place.write(name, facts)
        return files | {name: FileDigest.of(facts)}

    def _refuse_if_superseded(self) -> None:
        if held_by(self.place) != self.run:
            raise BankBusy(
                f"run {self.run} no longer holds {self.place}; shard {self.shard} is left to one that does"
            )


class ArrayShard:
    """The unpublished file of one array's shard: chunks as they come, digested on the way."""

    def __init__(self, place: Place, layout: ArrayLayout, shard: int, shard_rows: int) -> None:
        self.layout = layout
        self.name = layout.shard_file(shard)
        self.place = place
        self.pairs = empty_index(shard_rows)
        self.rows = self.bytes = 0
        self.hash = blake3()
        self.file: FileWriter | None = None

    def chunk(self, values: np.ndarray) -> "Chunk":
        """A row as it will lie in the file; nothing is written yet.

        Raises:
            Unstorable: another shape, or a value that the type cannot hold.
        """
        data = stored(self.layout, values)
        raw, crc, digest = data.reshape(-1).view(np.uint8), 0, self.hash.copy()
        for start in range(0, raw.nbytes, PIECE):
            piece = raw[start : start + PIECE]
            if not all_finite(piece.view(data.dtype)):
                largest = float(np.abs(values).max())
                raise Unstorable(
                    f"{self.layout.name} has values up to {largest:g} that {self.layout.dtype} cannot hold"
                )
            crc = checksum(piece, crc)
            digest.update(piece.data)
        tail = crc.to_bytes(CRC_BYTES, "little")
        digest.update(tail)
        return Chunk(raw=raw, crc=tail, hash=digest)

    def append(self, slot: int, chunk: "Chunk") -> None:
        """Write an inner chunk."""
        self.pairs[slot] = (self.bytes, chunk.raw.nbytes + CRC_BYTES)
        self._write(chunk.raw.data)
        self._write(chunk.crc)
        self.hash = chunk.hash
        self.rows += 1

    def publish(self) -> tuple[str, FileDigest]:
        """Write the index and give the file its name; path and digest."""
        index = pack_index(self.pairs)
        self._write(index)
        self.hash.update(index)
        assert self.file is not None
        self.file.publish()
        return self.name, FileDigest(bytes=self.bytes, blake3=self.hash.hexdigest())

    def discard(self) -> None:
        """Remove the file unless it was published."""
        if self.file is not None:
            self.file.discard()

    def _write(self, data: bytes | memoryview) -> None:
        if self.file is None:
            self.file = self.place.writer(self.name)
        self.file.write(data)
        self.bytes += len(data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """A row of an array, checked and summed."""

    raw: NDArray[np.uint8]
    """The values' bytes."""
    crc: bytes
    """Their crc32c, which follows them in the file."""
    hash: blake3
    """State of the file's digest after both."""


def stored(layout: ArrayLayout, values: np.ndarray) -> np.ndarray:
    """Values in the type in which they lie on disk.

    Raises:
        Unstorable: another shape, or an array of integers that was given something else.
    """
    if values.shape != layout.row_shape:
        raise Unstorable(f"{layout.name} has rows of shape {layout.row_shape}, not {values.shape}")
    wanted = np.dtype(layout.dtype)
    if wanted.kind not in "iu":
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values, dtype=wanted.newbyteorder("<"))
    if values.dtype != wanted:
        raise Unstorable(f"{layout.name} is stored as {wanted}, not {values.dtype}; quantise it first")
    return np.ascontiguousarray(values)


def all_finite(data: np.ndarray) -> bool:
    """Whether no value is infinite or NaN; for float16 by its exponent bits, which is many times faster."""
    if data.dtype.kind != "f":
        return True
    if data.dtype.itemsize != 2:
        return bool(np.isfinite(data).all())
    positive, negative = data.view(np.int16), data.view(np.uint16)  # as integers, infinities and NaN are last
    return int(positive.max()) < 0x7C00 and int(negative.max()) < 0xFC00


def count_outcomes(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Row slots by outcome; `written` is always named."""
    outcomes = [str(line["outcome"]) for line in lines]
    return {WRITTEN: 0} | {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
