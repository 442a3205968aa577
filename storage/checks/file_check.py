"""One file of a shard, read once from end to end.

It is read in pieces of some megabytes, and each piece serves the file's digest, the crc32c of its rows and
the look at their values: memory stays small, and one core makes about 550 MB/s (blake3 and crc32c alone
would make 5 GB/s each, summing the rows of maps makes 0.5).
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from storage.checks.value_check import first_fault
from storage.commit import FileDigest, ShardRecord
from storage.layout import ArrayLayout
from storage.places.place import OpenFile, Place
from storage.quantize import is_scale, scales_of
from storage.shard_index import ABSENT, CRC_BYTES, checksum, index_bytes, parse_index

PIECE_BYTES = 8 * 2**20
NAMED = 4
"""Rows that a finding names; of more it gives the number."""

Advance = Callable[[int], object]
"""Told of bytes that have been looked at."""
Rows = dict[int, np.ndarray]
"""Row slot to values."""


@dataclass(kw_only=True, slots=True)
class FileCheck:
    """A look at the file of one array in one shard."""

    place: Place
    """The bank."""
    layout: ArrayLayout
    """The array."""
    record: ShardRecord
    """What was committed; it names the file."""
    shard_rows: int
    """Row slots of the shard."""
    scales: Mapping[str, Rows]
    """Arrays of scales of the same shard, as far as they are sound."""
    advance: Advance
    """Told of the bytes that were checked, as they are."""
    values: Rows = field(default_factory=dict)
    """The rows that were read, kept for arrays of scales only."""
    seen: int = 0
    """Bytes that `advance` was told of."""

    @property
    def promise(self) -> FileDigest:
        """The file's size and digest as they were committed."""
        return self.record.files[self.layout.shard_file(self.record.shard)]

    def fault(self, slots: NDArray[np.int64]) -> str:
        """What is wrong with the file, or nothing; `slots` are those that should be written, ascending."""
        try:
            file = self.place.open(self.layout.shard_file(self.record.shard))
            try:
                return self._framing_fault(file, slots)
            finally:
                file.close()
        except FileNotFoundError:
            return "the file is gone"
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return f"it cannot be read ({error.strerror})"
        finally:
            self._count(self.promise.bytes - self.seen)

    def _framing_fault(self, file: OpenFile, slots: NDArray[np.int64]) -> str:
        """Size and index first, then what lies between."""
        if file.size != self.promise.bytes:
            return f"it has {file.size} bytes, committed were {self.promise.bytes}"
        tail = read_piece(file, file.size - min(file.size, index_bytes(self.shard_rows)), file.size)
        chunk = self.layout.row_bytes + CRC_BYTES
        try:
            pairs = parse_index(tail.tobytes(), rows=self.shard_rows, file_bytes=file.size, chunk_bytes=chunk)
        except ValueError as error:
            return str(error)
        present = np.flatnonzero(pairs[:, 0] != ABSENT)
        odd = np.setxor1d(present, slots)
        if len(odd):
            return f"index and facts disagree about {self._named(odd)}"
        order = present[np.argsort(pairs[present, 0])]
        if len(order) * chunk != file.size - len(tail):
            return "there are bytes between its rows that belong to none"
        return self._content_fault(file, order, tail)

    def _content_fault(self, file: OpenFile, order: NDArray[np.int64], tail: NDArray[np.uint8]) -> str:
        """Every row, in the order of the file; `order` gives their slots."""
        digest, broken, odd = blake3(), [], ""
        chunk = self.layout.row_bytes + CRC_BYTES
        step = max(1, PIECE_BYTES // chunk)
        for start in range(0, len(order), step):
            slots = order[start : start + step]
            piece = read_piece(file, start * chunk, (start + len(slots)) * chunk).reshape(len(slots), chunk)
            digest.update(piece.data)
            broken += [slot for slot, data in zip(slots, piece, strict=True) if not intact(data)]
            odd = odd or self._value_fault(slots, piece[:, :-CRC_BYTES])
            self._count(piece.nbytes)
        digest.update(tail.data)
        if broken:
            return f"crc32c wrong for {self._named(sorted(broken))}"
        if digest.hexdigest() != self.promise.blake3:
            return f"its BLAKE3 digest is {digest.hexdigest():.12}, committed was {self.promise.blake3:.12}"
        return odd

    def _value_fault(self, slots: NDArray[np.int64], piece: NDArray[np.uint8]) -> str:
        layout = self.layout
        values = piece.view(np.dtype(layout.dtype).newbyteorder("<"))
        values = values.reshape(len(slots), *layout.row_shape)
        if is_scale(layout.name):
            self.values |= {int(slot): row.copy() for slot, row in zip(slots, values, strict=True)}
        scales = {
            name: np.stack([self.scales[name][int(slot)] for slot in slots])
            for name in scales_of(layout.name, self.scales)
        }
        found = first_fault(layout, values, scales)
        return "" if found is None else f"{self._named(slots[found[0] : found[0] + 1])} {found[1]}"

    def _named(self, slots: Sequence[int] | NDArray[np.int64]) -> str:
        """Rows by their numbers in the bank."""
        rows = [self.record.shard * self.shard_rows + int(slot) for slot in slots]
        more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:NAMED]))}{more}"

    def _count(self, count: int) -> None:
        self.seen += count
        self.advance(count)


def intact(chunk: NDArray[np.uint8]) -> bool:
    """Whether a row's bytes fit the crc32c behind them."""
    return checksum(chunk[:-CRC_BYTES]) == int.from_bytes(chunk[-CRC_BYTES:].tobytes(), "little")


def read_piece(file: OpenFile, start: int, stop: int) -> NDArray[np.uint8]:
    """Bytes `start` to `stop` of a file. Raises FileNotFoundError where it has become shorter."""
    piece = np.empty(stop - start, np.uint8)
    done = 0
    while done < len(piece):
        got = file.read_into(start + done, [piece[done:].data])
        if got == 0:
            raise FileNotFoundError("the file was cut while it was read")
        done += got
    return piece
