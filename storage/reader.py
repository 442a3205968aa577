"""Reading a bank: rows straight from the shard files into the caller's buffer, checked.

Any Zarr v3 reader opens a bank. This one is for the training loop: it parses each shard's index once and
checks it against its crc32c and the commit record, then fetches a row with one `preadv` into its place in
the batch, and verifies its crc32c the first time it is touched (`verify="always"` and `"never"` are there
on request). Stock readers re-read the index at each call, and give zeros for a missing shard and flipped
bits without a word.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.clip_table import CLIP_TABLE, LISTING, WRITTEN, listing_paths, read_tables
from storage.commit import ShardRecord, digest_of, read_record, read_records, record_path, table_path
from storage.errors import BankError, CorruptShard, MissingRow
from storage.layout import ArrayLayout, array_layouts
from storage.manifest import read_manifest
from storage.shard_index import ABSENT, CRC_BYTES, checksum, index_bytes, parse_index
from storage.spec import BankSpec, canonical

Verify = Literal["first-touch", "always", "never"]
OPEN_FILES = 256


class Bank:
    """A bank opened for reading; what was committed at that moment. Safe to use from many threads.

    Raises:
        NotABank: there is no bank at `path`.
        CorruptShard: a commit record is unreadable.
    """

    def __init__(self, path: str | Path, *, verify: Verify = "first-touch") -> None:
        self.path = Path(path)
        self.verify: Verify = verify
        manifest = read_manifest(self.path)
        self.spec: BankSpec = manifest.spec
        self.rows_per_shard = manifest.rows_per_shard
        self.layouts = {layout.name: layout for layout in array_layouts(self.spec)}
        self.records: dict[int, ShardRecord] = read_records(self.path)
        self._files: OrderedDict[tuple[str, int], ShardFile] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | Path, *, verify: Verify = "first-touch") -> "Bank":
        """As the constructor."""
        return cls(path, verify=verify)

    def __enter__(self) -> "Bank":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the shard files; each closes when no thread reads it. The bank stays usable and opens
        them again.
        """
        with self._lock:
            self._files.clear()

    @property
    def fingerprint(self) -> str:
        """The spec's fingerprint."""
        return self.spec.fingerprint

    @cached_property
    def table(self) -> pa.Table:
        """The clip table: a line per committed row slot, written or not, rows ascending."""
        return read_tables([table_path(self.path, shard) for shard in self.records], CLIP_TABLE)

    def table_of(self, shard: int) -> pa.Table:
        """One shard's part of the clip table."""
        return read_tables([table_path(self.path, shard)], CLIP_TABLE)

    @cached_property
    def listing(self) -> pa.Table:
        """Every enrolled clip, extracted yet or not."""
        return read_tables(listing_paths(self.path), LISTING)

    @cached_property
    def digest(self) -> str:
        """BLAKE2b-256 over everything that makes up the bank's content: equal work gives equal digests."""
        parts = {
            "fingerprint": self.fingerprint,
            "listing": [digest_of(p.read_bytes()) for p in listing_paths(self.path)],
        }
        return digest_of(
            canonical(parts | {"shards": [record.digest for record in self.records.values()]}).encode()
        )

    def written(self, *, split: str = "") -> pa.Table:
        """The clip table's lines of written rows, ascending, of one split or (empty name) of all."""
        wanted = pc.field("outcome") == WRITTEN
        if split:
            wanted = wanted & (pc.field("split") == split)
        return self.table.filter(wanted)

    def rows(self, *, split: str = "") -> NDArray[np.int64]:
        """Row numbers of the written rows, ascending, of one split or (empty name) of all."""
        return self.written(split=split)["row"].to_numpy().astype(np.int64)

    def read(
        self, name: str, rows: Sequence[int] | NDArray[np.int64], out: np.ndarray | None = None
    ) -> np.ndarray:
        """Rows of one array, in the order asked.

        Args:
            name: the array, e.g. `features/block11/out` (see `array_name`).
            rows: n row numbers.
            out: where to put them, (n, *row shape), C-contiguous; allocated when not given.

        Returns:
            (n, *row shape) in the storage type.

        Raises:
            KeyError: the bank keeps no such array.
            MissingRow: a row that no commit record vouches for.
            CorruptShard: bytes that are not those committed.
        """
        layout = self._layout(name)
        if out is None:
            out = np.empty((len(rows), *layout.row_shape), dtype=layout.dtype)
        if (
            out.shape != (len(rows), *layout.row_shape)
            or out.dtype != layout.dtype
            or not out.flags.c_contiguous
        ):
            raise BankError(f"`out` must be C-contiguous {layout.dtype} {(len(rows), *layout.row_shape)}")
        for place, row in enumerate(rows):
            self._read_row(layout, int(row), out[place : place + 1].reshape(-1).view(np.uint8))
        return out

    def _layout(self, name: str) -> ArrayLayout:
        try:
            return self.layouts[name]
        except KeyError:
            raise KeyError(
                f"{self.path} keeps no array {name!r}; it keeps {', '.join(self.layouts)}"
            ) from None

    def _read_row(self, layout: ArrayLayout, row: int, target: NDArray[np.uint8]) -> None:
        shard, slot = divmod(row, self.rows_per_shard)
        file = self._shard_file(layout, shard)
        if file is None or file.pairs[slot, 0] == ABSENT:
            raise MissingRow(self._why_missing(row))
        file.read_into(slot, target, self.verify)

    def _shard_file(self, layout: ArrayLayout, shard: int) -> "ShardFile | None":
        """The opened shard file, from the cache of the most recently used; None where nothing was
        committed.
        """
        key = (layout.name, shard)
        with self._lock:
            file = self._files.get(key)
            if file is not None:
                self._files.move_to_end(key)
                return file
            file = self._open_shard(layout, shard)
            if file is not None:
                self._files[key] = file
            if len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)
            return file

    def _open_shard(self, layout: ArrayLayout, shard: int) -> "ShardFile | None":
        record = self.records.get(shard)
        if record is None or layout.shard_file(shard) not in record.files:
            return None
        try:
            return ShardFile(self.path, layout, record, self.rows_per_shard)
        except CorruptShard:
            if self._reread_record(shard) == record:
                raise
        return self._open_shard(layout, shard)  # a run has replaced the shard since the bank was opened

    def _reread_record(self, shard: int) -> ShardRecord | None:
        """The shard's record as it is on disk now, or None if it has none (any more)."""
        try:
            self.records[shard] = read_record(record_path(self.path, shard))
        except FileNotFoundError:
            self.records.pop(shard, None)
        return self.records.get(shard)

    def _why_missing(self, row: int) -> str:
        found = self.table.filter(pc.field("row") == row).to_pylist()
        if not found:
            return f"{self.path} has no committed row {row}; extract again to complete the bank"
        line = found[0]
        return (
            f"row {row} ({line['key']}) of {self.path} was not written: {line['outcome']}, {line['reason']}"
        )


class ShardFile:
    """One shard of one array, opened, with its checked index; closes with its last reference."""

    def __init__(self, bank: Path, layout: ArrayLayout, record: ShardRecord, rows: int) -> None:
        self.name = layout.shard_file(record.shard)
        self.where = bank / self.name
        self.record = record_path(bank, record.shard)
        self.row_bytes = layout.row_bytes
        self.touched = np.zeros(rows, dtype=bool)
        try:
            self.descriptor = os.open(self.where, os.O_RDONLY)
        except FileNotFoundError:
            raise CorruptShard(self._complain("the file is gone")) from None
        try:
            self.pairs = self._checked_index(record.files[self.name].bytes, rows)
        except CorruptShard:
            self.close()
            raise

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; twice is fine."""
        descriptor = getattr(self, "descriptor", -1)
        self.descriptor = -1
        if descriptor >= 0:
            os.close(descriptor)

    def read_into(self, slot: int, target: NDArray[np.uint8], verify: Verify) -> None:
        """Fill `target`, the bytes of one row, from the row's chunk."""
        stored = bytearray(CRC_BYTES)
        got = os.preadv(self.descriptor, [target.data, stored], int(self.pairs[slot, 0]))
        if got != self.row_bytes + CRC_BYTES:
            raise CorruptShard(self._complain(f"row slot {slot} ends after {got} bytes"))
        if verify == "never" or (verify == "first-touch" and self.touched[slot]):
            return
        if checksum(target) != int.from_bytes(stored, "little"):
            raise CorruptShard(self._complain(f"row slot {slot} fails its crc32c"))
        self.touched[slot] = True

    def _checked_index(self, committed: int, rows: int) -> NDArray[np.uint64]:
        size = os.fstat(self.descriptor).st_size
        if size != committed:
            raise CorruptShard(self._complain(f"it has {size} bytes, committed were {committed}"))
        tail = os.pread(self.descriptor, index_bytes(rows), max(0, size - index_bytes(rows)))
        try:
            return parse_index(tail, rows=rows, file_bytes=size, chunk_bytes=self.row_bytes + CRC_BYTES)
        except ValueError as error:
            raise CorruptShard(self._complain(str(error))) from error

    def _complain(self, what: str) -> str:
        return (
            f"{self.where} is not what was committed: {what}. Delete {self.record} "
            "and extract again: the shard will be made anew."
        )
