"""From what a source writes as labels to class indices from 0.

A source's labels are all indices or all names; names, sorted, are numbered (or an explicit list of classes
numbers them). A mixture is refused, because it is most often a damaged line that would otherwise become a
class of its own.
"""

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from video.clip import Clip
from video.errors import InputError

INDEX = re.compile(r"[+-]?\d+$")


NOTHING_ELSE: Mapping[str, str] = {}
"""What most clips of a list share; a plain dict, which can be sent to another process."""


class Entry(NamedTuple):
    """What one line, row or tar sample says about a clip, its label still a text. A tuple, since a list may
    have a million of them.
    """

    line: int
    """Line number in the list, or place in the tar listing."""
    path: str
    """As the source writes it."""
    label: str = ""
    """An index, a class name, or empty."""
    class_name: str = ""
    """Name that goes with an index."""
    captions: tuple[str, ...] = ()
    """Texts that describe the clip."""
    split: str = ""
    """Part of the data set."""
    attributes: Mapping[str, str] = NOTHING_ELSE
    """Everything else."""
    key: str = ""
    """Name of the clip; empty: its path."""
    offset: int = 0
    """First byte inside the file."""
    size: int = -1
    """Bytes; -1 for the whole file."""
    frames: int = 0
    """Frames that are sampled of it; 0 where nothing is said."""

    def with_captions(self, captions: tuple[str, ...], *, line: int | None = None) -> "Entry":
        """The same entry with other captions, and line where given."""
        return self._replace(captions=captions, line=self.line if line is None else line)


def is_fixed(path: str) -> bool:
    """True for a path that does not depend on a folder: absolute, or a URL."""
    return path.startswith("/") or "://" in path or os.path.isabs(path)


def clips_of(
    entries: Sequence[Entry], classes: Sequence[str], source: str, *, folder: str = ""
) -> Iterator[Clip]:
    """Clips of a source whose labels are indices, names or none, made one by one.

    Args:
        entries: in the source's order.
        classes: names in the order of their indices; empty: the names found, sorted.
        source: for errors.
        folder: what relative paths are relative to; empty: they stay as they are.

    Raises:
        InputError: indices and names mixed, some labels missing, an index below -1, a name that is not in
        `classes`.
    """
    kinds = {_kind(entry.label) for entry in entries}
    if len(kinds) > 1:
        raise InputError(_mixture(entries, source))
    names = kinds == {"a class name"}
    found = {entry.label for entry in entries} if names else set()
    order = list(classes) or sorted(found)
    numbers = {name: index for index, name in enumerate(order)}
    if unknown := sorted(found - numbers.keys()):
        line = next(entry.line for entry in entries if entry.label == unknown[0])
        raise InputError(
            f"{source}, line {line}: expected one of {len(order)} classes; found {unknown[0]!r}; "
            "correct the label or the list of classes"
        )
    return (_clip(entry, numbers if names else {}, source, folder) for entry in entries)


def _clip(entry: Entry, numbers: dict[str, int], source: str, folder: str) -> Clip:
    label = numbers[entry.label] if numbers else int(entry.label or -1)
    if label < -1:
        raise InputError(
            f"{source}, line {entry.line}: expected a label from 0 (-1 for none); found {label}; correct it"
        )
    return Clip(
        key=entry.key or _key(entry.path),
        path=entry.path if not folder or is_fixed(entry.path) else os.path.join(folder, entry.path),
        offset=entry.offset,
        size=entry.size,
        label=label,
        class_name=entry.label if numbers else entry.class_name,
        captions=entry.captions,
        split=entry.split,
        attributes=entry.attributes,
        frames=entry.frames,
    )


def _key(path: str) -> str:
    return path if "://" in path else posixpath.normpath(path)


def _kind(label: str) -> str:
    if not label:
        return "no label"
    return "an index" if INDEX.match(label) else "a class name"


def _mixture(entries: Sequence[Entry], source: str) -> str:
    """Name the first line that is unlike the first one."""
    usual = _kind(entries[0].label)
    odd = next(entry for entry in entries if _kind(entry.label) != usual)
    found = f"{_kind(odd.label)} ({odd.label!r})" if odd.label else "no label"
    return (
        f"{source}, line {odd.line}: expected {usual} as in line {entries[0].line}; found {found}; "
        "use indices everywhere or class names everywhere (-1 for a video without a class)"
    )
