"""What files of a bank are called while they are being written, and how a listing describes one."""

import uuid
from dataclasses import dataclass

TEMPORARY = ".tmp"
MAX_WHOLE = 2 * 2**30
"""Bytes beyond which no file is read whole: the largest such, a listing of millions of clips, is smaller."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file of a place."""

    name: str
    """Path within the bank."""
    bytes: int
    """Size."""
    modified: float
    """Seconds since the epoch, by the store's clock."""


def temporary_name(name: str) -> str:
    """A fresh hidden sibling of `name`, to be written and then renamed."""
    folder, _, last = name.rpartition("/")
    hidden = f".{last}.{uuid.uuid4().hex[:12]}{TEMPORARY}"
    return f"{folder}/{hidden}" if folder else hidden


def is_temporary(name: str) -> bool:
    """Whether a file is one that somebody began to write and has not finished."""
    last = name.rpartition("/")[2]
    return last.startswith(".") and last.endswith(TEMPORARY)


def refuse_large(name: str, size: int, most: int) -> None:
    """Refuse to read a file into memory that is larger than any of its kind. Raises ValueError."""
    if size > most:
        raise ValueError(f"{name} has {size} bytes, where at most {most} are expected")
