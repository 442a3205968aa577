"""Reading a bank: rows straight from the shard files into the caller's buffer, checked.

Any Zarr v3 reader opens a bank. This one is for the training loop: it parses each shard's index once and
checks it against its crc32c and the commit record, then fetches a row with one ranged read into its place in
the batch, and verifies its crc32c the first time it is touched (`verify="always"` and `"never"` are there
on request). Stock readers re-read the index at each call, and give zeros for a missing shard and flipped
bits without a word.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.clip_table import FACTS, WRITTEN, covers, joined
from storage.commit import OPENERS, ShardRecord, read_record, read_records
from storage.errors import BankError, CorruptShard, MissingRow
from storage.facts import read_facts
from storage.layout import ArrayLayout, array_layouts, array_name, derived_blocks, pooled_name
from storage.listing import listing_files, read_lengths, read_listing
from storage.manifest import read_manifest
from storage.places.place import open_place
from storage.quantize import decoded, scales_of
from storage.sealed import digest_of
from storage.shard_file import ShardFile, Verify
from storage.spec import BankSpec, canonical
from storage.weights import block_weights, derive_qk, read_weights

OPEN_FILES = 256
"""Files that stay open on a disk. Those of a bucket all do: opening costs a request, being open nothing."""


class Bank:
    """A bank opened for reading; what was committed when it was first asked. Safe to use from many threads.

    Raises:
        NotABank: there is no bank at `location`.
    """

    def __init__(self, location: str | Path, *, verify: Verify = "first-touch") -> None:
        self.place = open_place(location)
        self.verify: Verify = verify
        self.manifest = read_manifest(self.place)
        self.spec: BankSpec = self.manifest.spec
        self.rows_per_shard = self.manifest.rows_per_shard
        self._files: dict[tuple[str, int], ShardFile] = {}
        self._open: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._lock = threading.Lock()
        self._most_open = sys.maxsize if "://" in self.path else OPEN_FILES

    @classmethod
    def open(cls, location: str | Path, *, verify: Verify = "first-touch") -> "Bank":
        """As the constructor."""
        return cls(location, verify=verify)

    def __enter__(self) -> "Bank":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the shard files; each closes when no thread reads it. The bank stays usable and opens
        them again.
        """
        with self._lock:
            self._open.clear()
            for file in self._files.values():
                file.close()

    @property
    def path(self) -> str:
        """The bank's folder or URL."""
        return str(self.place)

    @property
    def fingerprint(self) -> str:
        """The spec's fingerprint."""
        return self.spec.fingerprint

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """T of the rows of all listed clips, and the spec's, ascending.

        Raises:
            CorruptShard: a record of the listing is damaged or lost.
        """
        return read_lengths(self.place, self.spec.frames)

    @cached_property
    def layouts(self) -> dict[str, ArrayLayout]:
        """Every array by name: those of rows of the spec's T, and of the others that there are."""
        return {layout.name: layout for layout in array_layouts(self.spec, self.lengths)}

    def array_name(self, block: int, tap: str, frames: int | None = None) -> str:
        """Name of the array that keeps `tap` of a block for rows of `frames` frames (None: the spec's)."""
        return array_name(block, tap, None if frames is None else self.spec.other(frames))

    def pooled_name(self, frames: int | None = None) -> str:
        """Name of the array of embeddings for rows of `frames` frames (None: the spec's)."""
        return pooled_name(None if frames is None else self.spec.other(frames))

    @cached_property
    def records(self) -> dict[tuple[int, int], ShardRecord]:
        """Commit records by (part, shard). Raises CorruptShard for a damaged one."""
        return read_records(self.place)

    @cached_property
    def table(self) -> pa.Table:
        """The clip table: a line per listed clip and view that has an outcome, in the order of the listing.

        Raises:
            CorruptShard: a table is damaged, or a file of the listing is lost.
        """
        facts, views = self.facts(), self.spec.views
        if not any(covers(listing, facts, views) for listing in self._listings()):
            raise CorruptShard(
                f"{self.path} has rows that no listed clip owns: a file of the listing (clips/) is lost; "
                "restore it from a copy"
            )
        return joined(self.listing, facts, views)

    def _listings(self) -> Iterator[pa.Table]:
        """The listing as it was first read, then as it is now that a run may have added to it."""
        yield self.listing
        yield read_listing(self.place, self.spec.frames)

    def facts(self, part: int = 0) -> pa.Table:
        """What became of each row slot, rows ascending, for one part of the bank."""
        records = [record for (of, _), record in self.records.items() if of == part]
        with ThreadPoolExecutor(OPENERS) as pool:
            tables = list(pool.map(self.facts_of, records))
        return pa.concat_tables(tables) if tables else FACTS.empty_table()

    def facts_of(self, record: ShardRecord) -> pa.Table:
        """What became of the row slots of one shard.

        Raises:
            CorruptShard: the table is gone or not what was committed.
        """
        return read_facts(self.place, record)

    @cached_property
    def listing(self) -> pa.Table:
        """Every enrolled clip, extracted yet or not."""
        return read_listing(self.place, self.spec.frames)

    @cached_property
    def digest(self) -> str:
        """BLAKE3-256 over everything that makes up the bank's content: equal work gives equal digests."""
        values = {
            "fingerprint": self.fingerprint,
            "kept": self.spec.to_json()["kept"],
            "listing": [asdict(promise) for _, promise in listing_files(self.place)],
            "shards": [record.digest for record in self.records.values()],
        }
        return digest_of(canonical(values).encode())

    def written(self, *, split: str = "", arrays: Iterable[str] = (), frames: int | None = None) -> pa.Table:
        """The clip table's lines of written rows, of one split or (empty name) of all.

        Args:
            split: name of the split.
            arrays: arrays that will be read; rows of another T than theirs, and rows that a later part of the
                bank lacks so far or holds of other content, are left out.
            frames: T of the rows; None: of any.
        """
        layouts = [self._layout(name) for name in arrays]
        wanted = pc.field("outcome") == WRITTEN
        if split:
            wanted = wanted & (pc.field("split") == split)
        for length in {layout.frames for layout in layouts} | ({frames} - {None}):
            wanted = wanted & (pc.field("frames") == length)
        found = self.table.filter(wanted)
        for part in sorted({layout.part for layout in layouts} - {0}):
            there = self.facts(part).filter(pc.field("outcome") == WRITTEN)
            contents = dict(zip(there["row"].to_pylist(), there["content"].to_pylist(), strict=True))
            lines = zip(found["row"].to_pylist(), found["content"].to_pylist(), strict=True)
            found = found.filter([contents.get(row, "none") == content for row, content in lines])
        return found

    def rows(self, *, split: str = "", frames: int | None = None) -> NDArray[np.int64]:
        """Row numbers of the written rows, ascending and distinct, of one split or (empty name) of all, and
        of `frames` frames or (None) of any.
        """
        return np.unique(self.written(split=split, frames=frames)["row"].to_numpy().astype(np.int64))

    def read(
        self, name: str, rows: Sequence[int] | NDArray[np.int64], out: np.ndarray | None = None
    ) -> np.ndarray:
        """Rows of one array as they are stored, in the order asked.

        Args:
            name: the array, e.g. `features/block11/out` (see `array_name`); it has rows of one T.
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
        shape = (len(rows), *layout.row_shape)
        if out is None:
            for row in rows:
                self._file_of(layout, int(row))  # before memory is taken for rows that may not be there
            out = np.empty(shape, dtype=layout.dtype)
        if out.shape != shape or out.dtype != layout.dtype or not out.flags.c_contiguous:
            raise BankError(f"`out` must be C-contiguous {layout.dtype} {shape}")
        for place, row in enumerate(rows):
            target = out[place : place + 1].reshape(-1).view(np.uint8)
            self._read_row(layout, int(row), target)
        return out

    def features(
        self, block: int, tap: str, rows: Sequence[int] | NDArray[np.int64], frames: int | None = None
    ) -> np.ndarray:
        """One tap of a block, whatever form the bank keeps it in.

        Args:
            block: number of the block.
            tap: out, map_prev, map_next, q or k.
            rows: n row numbers.
            frames: their T; None: the spec's.

        Returns:
            fp32 (n, *shape of the tap).

        Raises:
            As `read`.
        """
        name = self.array_name(block, tap, frames)
        if name not in self.layouts and tap in ("q", "k") and block in derived_blocks(self.spec):
            tokens = self.features(block - 1, "out", rows, frames)
            pair = derive_qk(tokens, block_weights(self.weights, block), self.spec.backbone.heads)
            return pair[("q", "k").index(tap)]
        return self.values(name, rows)

    def values(self, name: str, rows: Sequence[int] | NDArray[np.int64]) -> np.ndarray:
        """Rows of one array as fp32, scaled where they are stored as integers; otherwise as `read`."""
        arrays = {each: self.read(each, rows) for each in (name, *scales_of(name, self.layouts))}
        return decoded(name, arrays).astype(np.float32, copy=False)

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """Frozen weights that q and k derive with, by name; empty where none are kept."""
        return read_weights(self.place, self.spec, self.manifest.weights)

    def _layout(self, name: str) -> ArrayLayout:
        try:
            return self.layouts[name]
        except KeyError:
            raise KeyError(
                f"{self.path} keeps no array {name!r}; it keeps {', '.join(self.layouts)}"
            ) from None

    def _read_row(self, layout: ArrayLayout, row: int, target: NDArray[np.uint8]) -> None:
        shard, slot = divmod(row, self.rows_per_shard)
        file = self._file_of(layout, row)
        try:
            file.read_into(slot, target, self.verify)
        except CorruptShard:
            if self._reread_record(layout.part, shard) == file.record:
                raise
            with self._lock:  # a run has replaced the shard meanwhile: read the new one
                self._files.pop((layout.name, shard), None)
                self._open.pop((layout.name, shard), None)
            self._read_row(layout, row, target)

    def _file_of(self, layout: ArrayLayout, row: int) -> ShardFile:
        """The file that holds a row, checked and open; the most recently used stay open."""
        shard, slot = divmod(row, self.rows_per_shard)
        key = (layout.name, shard)
        file = self._files.get(key)
        if file is None or not file.is_open:
            file = self._load(layout, shard, file)
        if file is None or not file.has(slot):
            raise MissingRow(self._why_missing(layout, row))
        with self._lock:
            self._files[key] = file
            self._open[key] = None
            self._open.move_to_end(key)
            if len(self._open) > self._most_open:
                self._files[self._open.popitem(last=False)[0]].close()
        return file

    def _load(self, layout: ArrayLayout, shard: int, known: ShardFile | None = None) -> ShardFile | None:
        """The shard's file, opened (`known`: opened again); None where nothing was committed."""
        record = self.records.get((layout.part, shard))
        if record is None or layout.shard_file(shard) not in record.files:
            return None
        try:
            if known is None:
                return ShardFile(self.place, layout, record, self.rows_per_shard)
            known.open()
            return known
        except CorruptShard:
            if self._reread_record(layout.part, shard) == record:
                raise
        return self._load(layout, shard)  # a run has replaced the shard since the bank was opened

    def _reread_record(self, part: int, shard: int) -> ShardRecord | None:
        """The shard's record as it is now, or None if it has none (any more)."""
        try:
            self.records[part, shard] = read_record(self.place, shard, part)
        except FileNotFoundError:
            self.records.pop((part, shard), None)
        return self.records.get((part, shard))

    def _why_missing(self, layout: ArrayLayout, row: int) -> str:
        record = self.records.get((layout.part, row // self.rows_per_shard))
        facts = [] if record is None else self.facts_of(record).filter(pc.field("row") == row).to_pylist()
        if not facts:
            return (
                f"{self.path} has no committed row {row} of {layout.name}; extract again to complete the bank"
            )
        listed = self.table.filter(pc.field("row") == row)
        frames, keys = listed["frames"][0].as_py(), listed["key"].to_pylist()
        if frames != layout.frames:
            return f"row {row} ({', '.join(keys)}) of {self.path} has {self._where_else(layout, frames)}"
        return (
            f"row {row} ({', '.join(keys)}) of {self.path} was not written: {facts[0]['outcome']}, "
            f"{facts[0]['reason']}"
        )

    def _where_else(self, layout: ArrayLayout, frames: int) -> str:
        """T of a row, and which array holds for such rows what `layout` is asked for."""
        others = (found for found in self.layouts.values() if found.plain_name == layout.plain_name)
        name = next((found.name for found in others if found.frames == frames), None)
        count = "1 frame" if frames == 1 else f"{frames} frames"
        return f"{count}, read {name}" if name else f"{count}, and such rows have no {layout.name}"
