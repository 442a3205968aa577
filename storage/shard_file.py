"""One shard of one array as a reader holds it: the checked index, which rows were verified, the open file.

The index is parsed once and held against its crc32c and the commit record; which rows have passed their own
crc32c is remembered. Both outlive the open file, of which a process can afford only so many; when a file is
opened again and is no longer the same one, all is checked anew.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from storage.commit import ShardRecord
from storage.errors import CorruptShard
from storage.layout import ArrayLayout
from storage.places.place import OpenFile, Place
from storage.shard_index import ABSENT, CRC_BYTES, checksum, index_bytes, parse_index

Verify = Literal["first-touch", "always", "never"]


class ShardFile:
    """Reads rows of one shard of one array.

    Raises:
        CorruptShard: the file is gone, or is not what was committed.
    """

    def __init__(self, place: Place, layout: ArrayLayout, record: ShardRecord, rows: int) -> None:
        self.place = place
        self.layout = layout
        self.record = record
        self.name = layout.shard_file(record.shard)
        self.rows = rows
        self.file: OpenFile | None = None
        self.version = ""
        self.offsets = np.empty(0, np.uint64)
        self.touched = np.zeros(rows, dtype=bool)
        self.open()

    def open(self) -> OpenFile:
        """The open file, its index checked; opened again if it was closed."""
        file = self.file
        if file is None:
            try:
                file = self.place.open(self.name)
            except FileNotFoundError:
                raise CorruptShard(self._complain("the file is gone")) from None
            if file.version != self.version:
                self.offsets = self._checked_offsets(file)
                self.touched = np.zeros(self.rows, dtype=bool)
                self.version = file.version
            self.file = file
        return file

    def close(self) -> None:
        """Let go of the open file; threads that are reading it keep it until they are done."""
        self.file = None

    @property
    def is_open(self) -> bool:
        """Whether a read needs no opening first."""
        return self.file is not None

    def has(self, slot: int) -> bool:
        """Whether a row slot holds a row."""
        return bool(self.offsets[slot] != ABSENT)

    def read_into(self, slot: int, target: NDArray[np.uint8], verify: Verify) -> None:
        """Fill `target`, the bytes of one row, from the row's chunk.

        Raises:
            CorruptShard: the bytes are not those committed.
        """
        if verify == "never" or (verify == "first-touch" and self.touched[slot]):
            self._fetch(slot, 0, [target.data])
            return
        stored, found = bytearray(CRC_BYTES), 0
        grain = self.open().grain
        for start in range(0, target.nbytes, grain):  # checked while it is in the processor's cache
            piece = target[start : start + grain]
            last = start + grain >= target.nbytes
            self._fetch(slot, start, [piece.data, memoryview(stored)] if last else [piece.data])
            found = checksum(piece, found)
        if found != int.from_bytes(stored, "little"):
            raise CorruptShard(self._complain(f"row slot {slot} fails its crc32c"))
        self.touched[slot] = True

    def _fetch(self, slot: int, start: int, buffers: list[memoryview]) -> None:
        """Fill the buffers from a row's chunk, `start` bytes into it."""
        wanted = sum(buffer.nbytes for buffer in buffers)
        try:
            got = self.open().read_into(int(self.offsets[slot]) + start, buffers)
        except FileNotFoundError:
            self.close()
            raise CorruptShard(self._complain("the file was replaced or removed while it was read")) from None
        if got != wanted:
            raise CorruptShard(self._complain(f"row slot {slot} ends after {start + got} bytes"))

    def _checked_offsets(self, file: OpenFile) -> NDArray[np.uint64]:
        committed = self.record.files[self.name].bytes
        if file.size != committed:
            raise CorruptShard(self._complain(f"it has {file.size} bytes, committed were {committed}"))
        tail = bytearray(min(index_bytes(self.rows), file.size))
        file.read_into(file.size - len(tail), [memoryview(tail)])
        chunk = self.layout.row_bytes + CRC_BYTES
        try:
            return parse_index(bytes(tail), rows=self.rows, file_bytes=file.size, chunk_bytes=chunk)[
                :, 0
            ].copy()
        except ValueError as error:
            raise CorruptShard(self._complain(str(error))) from error

    def _complain(self, what: str) -> str:
        return (
            f"{self.place}/{self.name} is not what was committed: {what}. `framebank verify {self.place} "
            "--repair` marks the shard, then extract again to make it anew."
        )
