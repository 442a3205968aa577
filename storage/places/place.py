"""Where a bank lies: a folder (local disk, NFS) or a bucket, behind one small set of operations.

Everything that the bank's safety rests on is here and nowhere else: a file appears whole or not at all and
survives a power cut once `write` or `publish` returned; `swap` lets exactly one of several runs change a
file; ages are told by the store's own clock, since machines disagree about the time. `LocalPlace` has these
from fsync, rename and hard links, `ObjectPlace` from conditional puts.

Names are '/'-separated paths within the bank.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from storage.places.local_place import LocalPlace
from storage.places.names import MAX_WHOLE, Entry

URL_SCHEMES = ("s3", "gs", "az")


class OpenFile(Protocol):
    """A file opened for random access; safe to read from many threads."""

    size: int
    """Bytes, when it was opened."""
    version: str
    """Changes when the file is replaced."""
    grain: int
    """Bytes that are best read at a time where each piece is looked at at once."""

    def read_into(self, offset: int, buffers: Sequence[memoryview]) -> int:
        """Fill the buffers, one after the other, with the bytes from `offset` on; how many there were."""
        ...

    def close(self) -> None:
        """Let go of it; twice is fine."""
        ...


class FileWriter(Protocol):
    """A file in the making, seen by nobody before `publish`."""

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        ...

    def publish(self) -> None:
        """Give it its name, whole and durable, in place of what had the name before."""
        ...

    def discard(self) -> None:
        """As if it had never been begun; nothing after `publish`."""
        ...


class Place(Protocol):
    """A folder or bucket prefix that holds, or will hold, a bank."""

    def __str__(self) -> str:
        """Absolute folder or URL, without credentials."""
        ...

    def read(self, name: str, most: int = MAX_WHOLE) -> bytes:
        """A whole file. Raises FileNotFoundError; ValueError, before it is read, where it is larger than
        `most` bytes.
        """
        ...

    def open(self, name: str) -> OpenFile:
        """A file for random access. Raises FileNotFoundError."""
        ...

    def entries(self, prefix: str = "") -> list[Entry]:
        """Every file below the folder `prefix`, temporary ones included, sorted by name."""
        ...

    def folders(self) -> list[str]:
        """Names of the folders directly in this place, sorted."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Store a file atomically and durably, in place of what had the name before."""
        ...

    def swap(self, name: str, expected: bytes | None, data: bytes) -> bool:
        """Store `data` if the file's content is `expected` (None: if there is no file); whether it was."""
        ...

    def touch(self, name: str, expected: bytes) -> bool:
        """Make the file young again if its content is still `expected`; whether it was."""
        ...

    def age(self, name: str) -> float:
        """Seconds since the file was written or touched, by the store's clock. Raises FileNotFoundError."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Delete files durably; missing ones are fine."""
        ...

    def writer(self, name: str) -> FileWriter:
        """Begin a large file."""
        ...

    def free_bytes(self) -> int | None:
        """Room left, or None where the store has no bound."""
        ...


def open_place(location: str | Path) -> Place:
    """The place that a folder's path or a URL (file://, s3://, gs://, az://) names; nothing is created.

    Raises:
        ValueError: a URL of another kind, or one with credentials in it.
    """
    scheme, found, rest = str(location).partition("://")
    if not found:
        return LocalPlace(Path(location))
    if scheme == "file":
        return LocalPlace(Path(rest))
    if scheme not in URL_SCHEMES:
        known = ", ".join(f"{name}://" for name in ("file", *URL_SCHEMES))
        raise ValueError(f"expected a folder or a URL that begins with {known}, found {scheme}://...")
    from storage.places.object_place import ObjectPlace  # obstore is loaded only where a URL is used

    return ObjectPlace(str(location))
