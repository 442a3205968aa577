"""Listing a table with a header line, comma or tab separated: path, label, captions, split, sampled_frames
(where another number is wanted of a clip than of others), and anything else.

Several rows may share a path if they differ only in their caption (as captions are often distributed): they
are one clip with several captions. A cell of the captions column may also hold a JSON list of texts.
"""

import csv
import json
import re
import sys
from collections.abc import Iterator

from video.errors import InputError
from video.extensions import is_media
from video.labels import NOTHING_ELSE, Entry

PATHS = (
    "path",
    "video_path",
    "file_path",
    "filepath",
    "video",
    "file",
    "filename",
    "file_name",
    "video_name",
    "image",
    "clip",
)
LABELS = ("label", "class", "class_name", "category", "label_name", "action")
NAMES = ("class_name", "label_name", "class", "category")
SPLITS = ("split", "subset")
FRAMES = ("sampled_frames",)
INDEX = re.compile(r"-?\d*")
CAPTION = re.compile(r"(captions?|texts?|sentences?|descriptions?)(_?\d+)?$")


def is_table(path: str) -> bool:
    """True if the first line is a header: names a path column and no video."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline(1 << 16)
    cells = [cell.strip() for cell in next(csv.reader([first], delimiter=_delimiter(first)), [])]
    return len(cells) > 1 and _place(cells, PATHS) >= 0 and not any(is_media(cell) for cell in cells)


def read_table(path: str) -> Iterator[Entry]:
    """Entries in the order of the file, rows of one path joined.

    Raises:
        InputError: a row with too few or too many cells, without a path, or with an impossible number of
            frames, with its line number.
    """
    entries: dict[str, Entry] = {}
    for line, cells, columns in _rows(path):
        entry = columns.entry(line, cells)
        if not entry.path:
            raise InputError(
                f"{path}, line {line}: expected a path; found an empty cell; fill it or remove the row"
            )
        if entry.frames < 0:
            raise InputError(
                f"{path}, line {line}: expected a whole number of at least 1 under {FRAMES[0]}, or nothing; "
                "correct it"
            )
        known = entries.get(entry.path)
        entries[entry.path] = entry if known is None else _joined(known, entry, path)
    return iter(entries.values())


def _rows(path: str) -> Iterator[tuple[int, list[str], "_Columns"]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        delimiter = _delimiter(file.readline())
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        try:
            header = [cell.strip() for cell in next(reader)]
            columns = _Columns(header)
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise InputError(
                        f"{path}, line {reader.line_num}: expected {len(header)} cells as in the header; "
                        f"found {len(cells)}; quote cells that hold a {delimiter!r}"
                    )
                yield reader.line_num, [cell.strip() for cell in cells], columns
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(
                f"{path}, after line {reader.line_num}: expected a table in UTF-8; found: {error}; save it so"
            ) from error


class _Columns:
    """What the columns of a table mean: places in its rows, -1 where it has no such column."""

    def __init__(self, header: list[str]) -> None:
        self.path, self.label, self.split = (_place(header, names) for names in (PATHS, LABELS, SPLITS))
        rest = [name if place != self.label else "" for place, name in enumerate(header)]
        self.name = _place(rest, NAMES)
        self.frames = _place(header, FRAMES)
        taken = {self.path, self.label, self.split, self.frames}
        self.texts = [
            place for place, name in enumerate(header) if CAPTION.match(name.lower()) and place not in taken
        ]
        self.others = [
            (place, name) for place, name in enumerate(header) if place not in {*taken, *self.texts}
        ]

    def entry(self, line: int, cells: list[str]) -> Entry:
        """What a row says. A class name that goes with an index is no attribute."""
        label = cells[self.label] if self.label >= 0 else ""
        name = self.name if self.label >= 0 and INDEX.fullmatch(label) else -1
        return Entry(
            line=line,
            path=cells[self.path],
            label=sys.intern(label),
            class_name=sys.intern(cells[name]) if name >= 0 else "",
            captions=tuple(text for place in self.texts if place != name for text in _texts(cells[place])),
            split=sys.intern(cells[self.split]) if self.split >= 0 else "",
            attributes=(
                {column: cells[place] for place, column in self.others if place != name}
                if self.others
                else NOTHING_ELSE
            ),
            frames=_count(cells[self.frames]) if self.frames >= 0 else 0,
        )


def _count(cell: str) -> int:
    """A whole number of at least 1; 0 for an empty cell, -1 for anything else."""
    if not cell:
        return 0
    return int(cell) if cell.isdecimal() and int(cell) else -1


def _texts(cell: str) -> list[str]:
    if cell.startswith("["):
        try:
            values = json.loads(cell)
        except ValueError:
            return [cell]
        return [str(value) for value in values]
    return [cell] if cell else []


def _joined(first: Entry, second: Entry, path: str) -> Entry:
    """Two rows of one path as one clip, if captions are all they differ in."""
    merged = first.with_captions(first.captions + second.captions)
    if not second.captions or merged != second.with_captions(merged.captions, line=first.line):
        raise InputError(
            f"{path}, line {second.line}: expected every path once, or rows that differ only in captions; "
            f"found {second.path!r} again (first in line {first.line}); remove one of the two"
        )
    return merged


def _place(columns: list[str], names: tuple[str, ...]) -> int:
    """Place of the first column with one of the names, earlier names first; -1 where there is none."""
    lowered = [column.lower() for column in columns]
    return next((lowered.index(name) for name in names if name in lowered), -1)


def _delimiter(first_line: str) -> str:
    return "\t" if "\t" in first_line else ","
