"""A bank in a folder, on a local disk or NFS.

A file is written under a temporary name, fsynced, renamed, and its folder fsynced, so a reader sees the old
file or the whole new one, also after a power cut. Advisory locks are not to be trusted on NFS; hard links and
renames are atomic there too, so `swap` is made of those.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from storage.errors import DiskTooSmall
from storage.places.names import MAX_WHOLE, Entry, refuse_large, temporary_name

WRITEBACK = 2**23
"""Bytes after which the system is asked to begin with bringing a growing file to the disk."""


class LocalPlace:
    """The files below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()

    def __str__(self) -> str:
        return str(self.folder)

    def path(self, name: str) -> Path:
        """Where a file of the bank lies."""
        return self.folder / name

    def read(self, name: str, most: int = MAX_WHOLE) -> bytes:
        """A whole file. Raises FileNotFoundError; ValueError where it is larger than `most` bytes."""
        with open(self.path(name), "rb", buffering=0) as file:
            refuse_large(name, os.fstat(file.fileno()).st_size, most)
            return file.readall()

    def open(self, name: str) -> "LocalFile":
        """A file for random access. Raises FileNotFoundError."""
        return LocalFile(self.path(name))

    def entries(self, prefix: str = "") -> list[Entry]:
        """Every file below the folder `prefix`, sorted by name."""
        return sorted(self._entries(self.path(prefix)), key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        """Names of the folders directly in this place, sorted."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self.folder) if entry.is_dir())

    def write(self, name: str, data: bytes) -> None:
        """Store a file atomically and durably."""
        writer = self.writer(name)
        try:
            writer.write(data)
            writer.publish()
        finally:
            writer.discard()

    def swap(self, name: str, expected: bytes | None, data: bytes) -> bool:
        """Store `data` if the file's content is `expected` (None: if there is no file); whether it was.

        Of several that try, the rename (or the hard link) lets exactly one succeed.
        """
        path = self.path(name)
        if expected is not None and not self._take_away(name, expected):
            return False
        unsynced = make_folder(path.parent)
        fresh = self.path(temporary_name(name))
        write_synced(fresh, data)
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        finally:
            fresh.unlink()
        for folder in (path.parent, *unsynced):
            sync_folder(folder)
        return True

    def touch(self, name: str, expected: bytes) -> bool:
        """Make the file young again if its content is still `expected`; whether it was."""
        try:
            if self.read(name) != expected:
                return False
            os.utime(self.path(name))
        except FileNotFoundError:
            return False
        return True

    def age(self, name: str) -> float:
        """Seconds since the file was modified, by the clock that stamps files here (on NFS the server's)."""
        modified = self.path(name).stat().st_mtime
        probe = self.path(temporary_name(name))
        probe.touch()
        try:
            return max(0.0, probe.stat().st_mtime - modified)
        finally:
            probe.unlink()

    def remove(self, names: Iterable[str]) -> None:
        """Delete files durably; missing ones are fine."""
        paths = [self.path(name) for name in names]
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            if folder.is_dir():
                sync_folder(folder)

    def writer(self, name: str) -> "LocalWriter":
        """Begin a large file."""
        return LocalWriter(self.path(name), self.path(temporary_name(name)))

    def free_bytes(self) -> int:
        """Free space of the disk that the folder is or will be on."""
        path = self.folder
        while not path.exists():
            path = path.parent
        return shutil.disk_usage(path).free

    def _entries(self, folder: Path) -> Iterator[Entry]:
        for where, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(where, name)
                try:
                    found = os.stat(path, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # a temporary file that its writer has just finished
                inside = os.path.relpath(path, self.folder)
                yield Entry(name=inside, bytes=found.st_size, modified=found.st_mtime)

    def _take_away(self, name: str, expected: bytes) -> bool:
        path, grave = self.path(name), self.path(temporary_name(name))
        try:
            if path.read_bytes() != expected:
                return False
            os.rename(path, grave)
        except FileNotFoundError:
            return False
        try:
            if grave.read_bytes() == expected:
                return True
            os.link(grave, path)  # somebody else swapped in between: give theirs back
            return False
        finally:
            grave.unlink()


class LocalFile:
    """A file opened for random access, read by `preadv`."""

    grain = 2**18
    """Fits the second-level cache, where a checksum takes a third of the time."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        about = os.fstat(self.descriptor)
        self.size = about.st_size
        self.version = f"{about.st_ino} {about.st_mtime_ns} {about.st_size}"

    def __del__(self) -> None:
        self.close()

    def read_into(self, offset: int, buffers: Sequence[memoryview]) -> int:
        """Fill the buffers with the bytes from `offset` on; how many there were."""
        return os.preadv(self.descriptor, buffers, offset)

    def close(self) -> None:
        """Close the descriptor; twice is fine."""
        descriptor = getattr(self, "descriptor", -1)
        self.descriptor = -1
        if descriptor >= 0:
            os.close(descriptor)


class LocalWriter:
    """A temporary file that gets its name when it is complete."""

    def __init__(self, path: Path, temporary: Path) -> None:
        self._path = path
        self._temporary = temporary
        self._unsynced = make_folder(path.parent)
        self._written = self._begun = 0
        self._file: BinaryIO | None = open(temporary, "wb", buffering=0)  # noqa: SIM115 - closed below

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises DiskTooSmall where there is no room left."""
        assert self._file is not None
        view = memoryview(data)
        with full_disk_said(self._path):
            while len(view):
                written = self._file.write(view)
                view = view[written:]
                self._written += written
        if self._written - self._begun >= WRITEBACK:
            self._begin_writeback(self._file.fileno())

    def publish(self) -> None:
        """Sync, rename, sync the folder."""
        assert self._file is not None
        with full_disk_said(self._path):
            os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        os.replace(self._temporary, self._path)
        for folder in (self._path.parent, *self._unsynced):
            sync_folder(folder)

    def _begin_writeback(self, descriptor: int) -> None:
        """Have the disk at work while the next rows are made, not only when `publish` waits for it at last.
        Linux does so when told that pages are not needed, and keeps those that are still to be written.
        """
        if hasattr(os, "posix_fadvise"):
            length = self._written - self._begun
            os.posix_fadvise(descriptor, self._begun, length, os.POSIX_FADV_DONTNEED)
        self._begun = self._written

    def discard(self) -> None:
        """Remove what was written, unless it was published."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_said(path: Path) -> Iterator[None]:
    """Turn the system's word for a full disk into ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskTooSmall(
            f"no room left for {path}; what is committed is kept. Make room and run the same command to go on"
        ) from error


def write_synced(path: Path, data: bytes) -> None:
    """A small file, on the disk when this returns; its folder is not synced."""
    with full_disk_said(path), open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> list[Path]:
    """Create `folder` and its parents; the folders to sync for them to last, none where it was there."""
    if folder.is_dir():
        return []
    unsynced = [folder.parent, *make_folder(folder.parent)]
    folder.mkdir(exist_ok=True)
    return unsynced
