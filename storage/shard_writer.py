"""Writing one shard, the unit that is written, committed and retried whole.

Rows stream into one temporary file per array, so a worker's memory holds one row, not one shard; `commit`
fsyncs and renames the files and publishes the record last. Everything passed in is a plain value, so the
worker can be anywhere that sees the bank's folder.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from storage.clip_table import CLIP_TABLE, WRITTEN, table_from, to_parquet
from storage.commit import FileDigest, ShardRecord, digest_of, record_path, table_path, write_record
from storage.durable import make_folder, publish, remove_files, temporary_path, write_file
from storage.errors import BankBusy, BankError
from storage.layout import ArrayLayout, array_layouts
from storage.lease import held_by
from storage.manifest import read_manifest
from storage.shard_index import checksum_bytes, empty_index, pack_index


class ShardWriter:
    """Writes one whole shard, rows in ascending order, and commits it.

    Use as a context manager: leaving it without `commit` removes what was written.
    """

    def __init__(self, bank: Path, shard: int, *, run: str) -> None:
        manifest = read_manifest(bank)
        self.bank, self.shard, self.run = bank, shard, run
        self.spec, self.shard_rows = manifest.spec, manifest.rows_per_shard
        self.first = shard * self.shard_rows
        self.arrays = [ArrayShard(bank, layout, self, run) for layout in array_layouts(manifest.spec)]

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for array in self.arrays:
            array.discard()

    def append(self, row: int, values: Mapping[str, np.ndarray]) -> None:
        """Write one row of every array.

        Args:
            row: row number in the bank, within this shard.
            values: array name to values of that array's row shape; cast to the storage type.

        Raises:
            BankError: a value that the storage type cannot hold, or a wrong shape.
        """
        encoded = [array.layout_values(values[array.layout.name]) for array in self.arrays]
        for array, data in zip(self.arrays, encoded, strict=True):
            array.append(row - self.first, data)

    def commit(self, lines: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]) -> ShardRecord:
        """Make the shard durable and publish its record.

        Args:
            lines: the shard's part of the clip table, one mapping per row slot.
            provenance: what may differ between runs: times, attempts, versions.

        Raises:
            BankBusy: the run that this worker belongs to has lost the bank's lease.
        """
        if held_by(self.bank) != self.run:
            raise BankBusy(
                f"run {self.run} no longer holds {self.bank}; shard {self.shard} is left to the run that does"
            )
        remove_files([record_path(self.bank, self.shard)])
        files = dict(array.finish() for array in self.arrays if array.rows)
        table = to_parquet(table_from([dict(line) for line in lines], CLIP_TABLE))
        where = table_path(self.bank, self.shard)
        write_file(where, table, self.run)
        files[str(where.relative_to(self.bank))] = FileDigest(bytes=len(table), blake2b=digest_of(table))
        record = ShardRecord(
            shard=self.shard,
            rows=(lines[0]["row"], lines[-1]["row"] + 1),
            fingerprint=self.spec.fingerprint,
            files=dict(sorted(files.items())),
            outcomes=count_outcomes(lines),
            provenance={"run": self.run, "host": socket.gethostname(), **provenance},
        )
        write_record(self.bank, record, self.run)
        return record


class ArrayShard:
    """The temporary file of one array's shard: chunks as they come, digested on the way."""

    def __init__(self, bank: Path, layout: ArrayLayout, shard: "ShardWriter", run: str) -> None:
        self.layout = layout
        self.name = layout.shard_file(shard.shard)
        self.path = bank / self.name
        self.temporary = temporary_path(self.path, run)
        self.pairs = empty_index(shard.shard_rows)
        self.rows = self.bytes = 0
        self.hash = blake2b(digest_size=32)
        self.file: BinaryIO | None = None

    def layout_values(self, values: np.ndarray) -> np.ndarray:
        """The values as they lie on disk, checked."""
        if values.shape != self.layout.row_shape:
            raise BankError(
                f"{self.layout.name} has rows of shape {self.layout.row_shape}, not {values.shape}"
            )
        with np.errstate(over="ignore"):
            data = np.ascontiguousarray(values, dtype=np.dtype(self.layout.dtype).newbyteorder("<"))
        if not np.isfinite(data).all():
            largest = float(np.abs(values).max())
            raise BankError(
                f"{self.layout.name} has values up to {largest:g} that {self.layout.dtype} cannot hold"
            )
        return data

    def append(self, slot: int, data: np.ndarray) -> None:
        """Write one inner chunk and its crc32c."""
        raw = data.reshape(-1).view(np.uint8)
        self.pairs[slot] = (self.bytes, raw.nbytes + 4)
        self._write(raw.data)
        self._write(checksum_bytes(raw))
        self.rows += 1

    def finish(self) -> tuple[str, FileDigest]:
        """Write the index, fsync and rename; the file's path and digest."""
        self._write(pack_index(self.pairs))
        assert self.file is not None
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self.file = None
        publish(self.temporary, self.path)
        return self.name, FileDigest(bytes=self.bytes, blake2b=self.hash.hexdigest())

    def discard(self) -> None:
        """Close and remove the temporary file, if it is still there."""
        if self.file is not None:
            self.file.close()
            self.file = None
        self.temporary.unlink(missing_ok=True)

    def _write(self, data: bytes | memoryview) -> None:
        if self.file is None:
            make_folder(self.path.parent)
            self.file = open(self.temporary, "wb")  # noqa: SIM115 - closed by finish or discard
        self.file.write(data)
        self.hash.update(data)
        self.bytes += len(data)


def count_outcomes(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Row slots by outcome; `written` is always named."""
    outcomes = [str(line["outcome"]) for line in lines]
    return {WRITTEN: 0} | {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
