"""How fast a bank's own place takes and gives bytes, by the very operations that write and read banks.

A file of random bytes (file systems that compress would flatter themselves with zeros) is written and synced,
dropped from the page cache, and read again. Some file systems answer from memory all the same; the kernel's
count of bytes that were truly fetched tells, where it counts.
"""

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from storage import Place, open_place
from storage.places.local_place import LocalPlace

PROBE_BYTES = 256 * 2**20
QUICK_BYTES = 16 * 2**20
BLOCK = 4 * 2**20
THREADS = 4
PROBE = "rate-probe"


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskRate:
    """What was measured at a place."""

    write: float
    """Bytes a second, the sync at the end included."""
    read: float
    """Bytes a second of a file that is not in memory."""
    cold: bool
    """Whether the file truly came from the disk, as far as can be told; false where a cache answered."""


@contextmanager
def probe_place(location: str) -> Iterator[Place]:
    """An empty place of our own on the disk or in the bucket of `location`; emptied afterwards.

    A folder need not exist yet: then its nearest parent that does stands for it.

    Raises:
        ValueError: a URL of a kind that is not known.
        OSError, StoreError: nothing can be written there.
    """
    place = open_place(location)
    if isinstance(place, LocalPlace):
        with tempfile.TemporaryDirectory(prefix=".framebank-probe-", dir=existing(place.folder)) as folder:
            yield LocalPlace(Path(folder))
        return
    place = open_place(f"{place}/framebank-probe-{uuid.uuid4().hex[:12]}")
    try:
        yield place
    finally:
        place.remove([entry.name for entry in place.entries()])


def existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(parent for parent in (folder, *folder.parents) if parent.is_dir())


def measure_disk(
    place: Place, size: int = PROBE_BYTES, told: Callable[[int], None] = lambda count: None
) -> DiskRate:
    """Write and read `size` bytes at a place; `told` hears of every few megabytes that moved."""
    block = os.urandom(BLOCK)
    began, writer = time.perf_counter(), place.writer(PROBE)
    try:
        for _ in range(max(1, size // BLOCK)):
            writer.write(block)
            told(BLOCK)
        writer.publish()
    finally:
        writer.discard()
    written = time.perf_counter() - began
    total = max(1, size // BLOCK) * BLOCK
    if isinstance(place, LocalPlace):
        forget(place.path(PROBE))
    fetched, began = bytes_fetched(), time.perf_counter()
    read_through(place, total, told)
    spent = time.perf_counter() - began
    come = bytes_fetched() - fetched
    cold = come >= total / 2 if isinstance(place, LocalPlace) else True
    return DiskRate(write=total / written, read=total / spent, cold=cold)


def read_through(place: Place, size: int, told: Callable[[int], None]) -> None:
    """Read the probe once, by as many threads as a training's loader has."""
    file = place.open(PROBE)

    def read_block(start: int) -> int:
        return file.read_into(start, [memoryview(bytearray(BLOCK))])

    try:
        with ThreadPoolExecutor(THREADS) as pool:
            for count in pool.map(read_block, range(0, size, BLOCK)):
                told(count)
    finally:
        file.close()


def forget(path: Path) -> None:
    """Drop a file from the page cache; synced first, since unwritten pages would stay."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def bytes_fetched() -> int:
    """Bytes that this process has had read from disks so far; the page cache does not count."""
    return psutil.Process().io_counters().read_bytes
