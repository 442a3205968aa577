"""The disk under a benchmark: files out of the page cache, one big file from end to end, bytes that truly
came from the disk.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.disk_rate import forget


@contextmanager
def work_folder(parent: Path | None, needed: int) -> Iterator[Path]:
    """A folder in `parent` (None: where temporary files go) that is removed afterwards.

    Raises:
        OSError: fewer than `needed` bytes are free there.
    """
    with TemporaryDirectory(prefix="framebank-benchmark-", dir=parent) as name:
        free = shutil.disk_usage(name).free
        if free < needed:
            raise OSError(f"{name} has {free / 1e9:.1f} GB free, the benchmark needs {needed / 1e9:.1f} GB")
        yield Path(name)


def files_of(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def evict(paths: Iterable[Path]) -> None:
    """Drop files from the page cache."""
    for path in paths:
        forget(path)


def read_through(path: Path, *, block: int = 4 * 2**20) -> int:
    """Read a file from end to end into one buffer of `block` bytes; its size."""
    buffer, total = bytearray(block), 0
    with open(path, "rb", buffering=0) as file:
        while got := file.readinto(buffer):
            total += got
    return total
