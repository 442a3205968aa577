"""Captions in lines of text: tables that name videos by id, and Flickr30K's own two files.

    MSRVTT_JSFUSION_test.csv (1k-A)             key,vid_key,video_id,sentence
    MSRVTT_train.9k.csv, .7k                    video_id; the captions stand in MSRVTT_data.json
    results_20130124.token                      1000092795.jpg#0<TAB>Two young guys ...
    results.csv                                 image_name| comment_number| comment

In the results.csv that is in circulation one line lacks its second bar (`2199200615.jpg| 4   A dog ...`),
which is understood.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from video.caption_lines import IDS, Line, short
from video.errors import InputError
from video.tables import CAPTION, SPLITS

NUMBERED = re.compile(r"(?P<name>[^\t|]+\.\w+)#\d+\t(?P<text>.*)$")
BARRED = re.compile(r"(?P<name>[^\t|]+\.\w+)\s*\|\s*\d+\s*(?:\||\s)(?P<text>.*)$")
BARS = re.compile(r"image_name\s*\|\s*comment_number\s*\|\s*comment\s*$")


def is_flickr(path: Path) -> bool:
    """True for one of Flickr30K's own files, by its first line or its extension."""
    first = first_line(path)
    return path.suffix.lower() == ".token" or bool(NUMBERED.match(first) or BARS.match(first))


def flickr_lines(path: Path) -> Iterator[Line]:
    """Captions of images, a line each. Raises InputError, with its number, for a line that is no caption."""
    barred = bool(BARS.match(first_line(path)))
    form, said = (
        (BARRED, "image| number| caption") if barred else (NUMBERED, "image#number, a tab and a caption")
    )
    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, text in enumerate(file, 1):
                match = form.match(text.rstrip("\r\n"))
                if match:
                    yield match["name"].strip(), (match["text"],), ""
                elif text.strip() and not (barred and number == 1):
                    raise InputError(
                        f"{path}, line {number}: expected {said}, found {short(text.strip())}; correct or "
                        "remove it"
                    )
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: expected captions in UTF-8, found: {error}; save it so") from error


def has_ids(path: Path) -> bool:
    """True for a table with a column of ids."""
    return any(cell.lower() in IDS for cell in header_of(path))


def id_lines(path: Path) -> Iterator[Line]:
    """A table whose videos are ids; without a column of captions, of ids alone.

    Raises InputError, with its number, for a line without an id or of another number of cells.
    """
    header = [cell.lower() for cell in header_of(path)]
    place = next(header.index(name) for name in IDS if name in header)
    texts = [number for number, cell in enumerate(header) if CAPTION.match(cell) and number != place]
    split = next((header.index(name) for name in SPLITS if name in header), -1)
    for line, cells in _rows(path):
        if len(cells) != len(header) or not cells[place].strip():
            raise InputError(
                f"{path}, line {line}: expected {len(header)} cells as in the header, with an id, found "
                f"{short(cells)}; quote cells that hold a comma"
            )
        captions = [cells[number] for number in texts]
        yield cells[place].strip(), captions, cells[split] if split >= 0 else ""


def header_of(path: Path) -> list[str]:
    """The cells of a table's first line."""
    first = first_line(path)
    return [cell.strip() for cell in next(csv.reader([first], delimiter=_delimiter(first)), [])]


def first_line(path: Path) -> str:
    """A file's first line, or as much of it as a header may have."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return file.readline(1 << 16).rstrip("\r\n")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines below the header, with their numbers."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.reader(file, delimiter=_delimiter(file.readline()))
            for cells in reader:
                if any(cells):
                    yield reader.line_num + 1, cells
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: expected a table in UTF-8, found: {error}; save it so") from error


def _delimiter(first: str) -> str:
    return "\t" if "\t" in first else ","
