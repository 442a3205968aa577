"""A Zarr v3 shard file: inner chunks one after another, then the index that says where each one is.

The index (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/) holds an (offset,
nbytes) pair of little-endian uint64 per inner chunk, both 2^64 - 1 for a chunk that is absent, and a crc32c
of itself. One inner chunk here is one row of one array followed by its own crc32c. Stock readers trust what
they find; here the index is checked against its checksum and against the file before a single row is read.
"""

import google_crc32c
import numpy as np
from numpy.typing import NDArray

ABSENT = np.uint64(2**64 - 1)
CRC_BYTES = 4
PAIR_BYTES = 16


def checksum(data: bytes | NDArray[np.uint8], before: int = 0) -> int:
    """crc32c of contiguous bytes that follow bytes whose crc32c is `before`; an array is read in place."""
    return google_crc32c.extend(before, data)  # pyright: ignore[reportArgumentType]


def checksum_bytes(data: bytes | NDArray[np.uint8]) -> bytes:
    """crc32c as Zarr's codec appends it: 4 bytes, little-endian."""
    return checksum(data).to_bytes(CRC_BYTES, "little")


def index_bytes(rows: int) -> int:
    """Size of the index of a shard of `rows` inner chunks."""
    return rows * PAIR_BYTES + CRC_BYTES


def pack_index(pairs: NDArray[np.uint64]) -> bytes:
    """The index of a shard from its (rows, 2) offsets and sizes."""
    body = np.ascontiguousarray(pairs, dtype="<u8").tobytes()
    return body + checksum_bytes(body)


def empty_index(rows: int) -> NDArray[np.uint64]:
    """(rows, 2) pairs of a shard without a single chunk."""
    return np.full((rows, 2), ABSENT, dtype=np.uint64)


def parse_index(tail: bytes, *, rows: int, file_bytes: int, chunk_bytes: int) -> NDArray[np.uint64]:
    """The (rows, 2) offsets and sizes in a shard's last bytes, checked.

    Args:
        tail: the last `index_bytes(rows)` bytes of the file.
        rows: inner chunks of a shard.
        file_bytes: size of the shard file.
        chunk_bytes: size of one inner chunk, its crc32c included.

    Raises:
        ValueError: what is wrong with the index.
    """
    if len(tail) != index_bytes(rows):
        raise ValueError(
            f"the index of {rows} rows takes {index_bytes(rows)} bytes, the file has only {len(tail)}"
        )
    body, stored = tail[:-CRC_BYTES], int.from_bytes(tail[-CRC_BYTES:], "little")
    if checksum(body) != stored:
        raise ValueError(f"the index's crc32c is {checksum(body):08x}, recorded is {stored:08x}")
    pairs = np.frombuffer(body, dtype="<u8").reshape(rows, 2).astype(np.uint64)
    check_pairs(pairs, file_bytes - len(tail), chunk_bytes)
    return pairs


def check_pairs(pairs: NDArray[np.uint64], data_bytes: int, chunk_bytes: int) -> None:
    """Refuse chunks of a wrong size, outside the data or on top of each other.

    Raises:
        ValueError: which of these was found.
    """
    present = pairs[pairs[:, 0] != ABSENT]
    if not (present[:, 1] == chunk_bytes).all():
        raise ValueError(
            f"every row takes {chunk_bytes} bytes, the index says {sorted(set(present[:, 1].tolist()))}"
        )
    starts = np.sort(present[:, 0])
    if len(starts) and (int(starts[-1]) + chunk_bytes > data_bytes or (np.diff(starts) < chunk_bytes).any()):
        raise ValueError("the index points outside the file's data, or at one place twice")
