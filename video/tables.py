"""Listing a table with a header line, comma or tab separated: path, label, captions, split, and anything
else.

Several rows may share a path if they differ only in their caption (as captions are often distributed): they
are one clip with several captions. A cell of the captions column may also hold a JSON list of texts.
"""

import csv
import json
import re
from collections.abc import Iterator

from video.errors import InputError
from video.extensions import is_media
from video.labels import Entry

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
CAPTION = re.compile(r"(captions?|texts?|sentences?|descriptions?)(_?\d+)?$")


def is_table(path: str) -> bool:
    """True if the first line is a header: names a path column and no video."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline(1 << 16)
    cells = [cell.strip() for cell in next(csv.reader([first], delimiter=_delimiter(first)), [])]
    return len(cells) > 1 and _column(cells, PATHS) is not None and not any(is_media(cell) for cell in cells)


def read_table(path: str) -> Iterator[Entry]:
    """Entries in the order of the file, rows of one path joined.

    Raises:
        InputError: a row with too few or too many cells, or without a path, with its line number.
    """
    entries: dict[str, Entry] = {}
    for line, row in _rows(path):
        entry = _entry(line, row)
        if not entry.path:
            raise InputError(
                f"{path}, line {line}: expected a path; found an empty cell; fill it or remove the row"
            )
        known = entries.get(entry.path)
        entries[entry.path] = entry if known is None else _joined(known, entry, path)
    return iter(entries.values())


def _rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        delimiter = _delimiter(file.readline())
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        try:
            header = [cell.strip() for cell in next(reader)]
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise InputError(
                        f"{path}, line {reader.line_num}: expected {len(header)} cells as in the header; "
                        f"found {len(cells)}; quote cells that hold a {delimiter!r}"
                    )
                yield reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(
                f"{path}, after line {reader.line_num}: expected a table in UTF-8; found: {error}; save it so"
            ) from error


def _entry(line: int, row: dict[str, str]) -> Entry:
    columns = list(row)
    path, label = _column(columns, PATHS), _column(columns, LABELS)
    split, name = _column(columns, SPLITS), None
    if label is not None and re.fullmatch(r"-?\d*", row[label]):
        name = _column([column for column in columns if column != label], NAMES)
    texts = [
        column
        for column in columns
        if CAPTION.match(column.lower()) and column not in (path, label, split, name)
    ]
    used = {path, label, split, name, *texts}
    return Entry(
        line=line,
        path=row[path] if path else "",
        label=row[label] if label else "",
        class_name=row[name] if name else "",
        captions=tuple(text for column in texts for text in _texts(row[column])),
        split=row[split] if split else "",
        attributes={column: value for column, value in row.items() if column not in used},
    )


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


def _column(columns: list[str], names: tuple[str, ...]) -> str | None:
    lowered = {column.lower(): column for column in reversed(columns)}
    return next((lowered[name] for name in names if name in lowered), None)


def _delimiter(first_line: str) -> str:
    return "\t" if "\t" in first_line else ","
