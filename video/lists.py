"""Listing a text list or a table: the ways Kinetics, UCF101, HMDB51 and plain CSV files are written.

    path label            Kinetics-style; the label is an index from 0, or a class name
    path,label            the same with a comma
    class/v_x.avi 1       UCF101's trainlist*.txt: labels from 1; testlist*.txt without labels, the folder is
    the class name.avi 1            HMDB51's <class>_test_split1.txt: 1 train, 2 test, 0 in neither
    path,label,caption,split,...     a table with a header: further columns become attributes

A path ends with the extension of a video or image, so it may hold spaces and commas, and so may a class name.
Class names, sorted, give the labels, or classInd.txt beside the list does; give train and validation in one
table (with a split column), or such a file, if one of them lacks a class. One file is read from start to end;
nothing else is opened.
"""

import os
import posixpath
import re
from collections.abc import Iterator

from video.clip import Clip, each_once
from video.errors import InputError
from video.extensions import MEDIA_EXTENSIONS
from video.labels import Entry, clips_of, is_fixed
from video.tables import is_table, read_table

LIST_EXTENSIONS = (".txt", ".csv", ".tsv", ".lst", ".list")
UCF101 = re.compile(r"(train|test)list\d*$")
HMDB51 = re.compile(r"(.+)_test_split(\d+)$")
HMDB51_SPLITS = {"0": "unused", "1": "train", "2": "test"}
LINE = re.compile(rf"(.*\.(?:{'|'.join(sorted(MEDIA_EXTENSIONS))}))(?:$|(?:\s*,\s*|\s+)(.*)$)", re.IGNORECASE)
PROBED = 20  # paths whose existence decides what they are relative to


def list_file(path: str, *, root: str = "", there: bool = True) -> Iterator[Clip]:
    """Clips of a list file.

    Args:
        path: the list.
        root: what its relative paths are relative to; by default its own folder, else the working folder.
        there: whether its videos should be; if not, a wrong root is not looked for.

    Raises:
        InputError: a line that is no `path label` (with its number), mixed or doubled entries, an empty list,
        a wrong root.
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    classes = _class_index(path)
    if match := HMDB51.match(stem):
        entries, classes = _hmdb51(path, match), _hmdb51_classes(path, match[2])
    elif is_table(path):
        entries = list(read_table(path))
    else:
        entries = [_entry(line, text, path) for line, text in _lines(path)]
    if match := UCF101.match(stem):
        entries = [_ucf101(entry, classes, match[1], path) for entry in entries]
    if not entries:
        raise InputError(f"expected lines 'path label' in {path}; found none; write one line for each video")
    folder = _folder(entries, path, root) if there else root
    return each_once(clips_of(entries, classes, path, folder=folder), path)


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank."""
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise InputError(_unreadable(path, number, repr(raw[:40]))) from error
            if "\0" in text:
                raise InputError(_unreadable(path, number, repr(text[:40])))
            if text:
                yield number, text


def _entry(line: int, text: str, path: str) -> Entry:
    if match := LINE.match(text):
        return Entry(line=line, path=match[1].strip('"'), label=(match[2] or "").strip().strip('"'))
    parts = text.rsplit("," if "," in text else None, 1)
    if len(parts) != 2 or not all(parts):
        raise InputError(_unreadable(path, line, repr(text[:80])))
    return Entry(line=line, path=parts[0].strip(), label=parts[1].strip())


def _unreadable(path: str, line: int, found: str) -> str:
    return f"{path}, line {line}: expected 'path label' or 'path,label'; found {found}; correct or remove it"


def _ucf101(entry: Entry, classes: list[str], part: str, path: str) -> Entry:
    """The label becomes a class name: by classInd.txt, else by the folder, which in UCF101 is the class."""
    name = posixpath.basename(posixpath.dirname(entry.path))
    if entry.label.isdecimal() and classes:
        if not 1 <= int(entry.label) <= len(classes):
            raise InputError(
                f"{path}, line {entry.line}: expected a label from 1 to {len(classes)} (classInd.txt); "
                f"found {entry.label}; correct the line or classInd.txt"
            )
        name = classes[int(entry.label) - 1]
    elif entry.label and not classes and entry.label.isdecimal():
        return entry._replace(label=str(int(entry.label) - 1), class_name=name, split=part)
    return entry._replace(label=name, split=part)


def _class_index(path: str) -> list[str]:
    """Class names in the order of classInd.txt beside the list; none if there is no such file."""
    beside = os.path.join(os.path.dirname(path), "classInd.txt")
    if not os.path.isfile(beside):
        return []
    numbered = []
    for line, text in _lines(beside):
        number, _, name = text.partition(" ")
        if not number.isdecimal() or int(number) != line or not name.strip():
            raise InputError(
                f"{beside}, line {line}: expected '{line} ClassName'; found {text!r}; correct the line"
            )
        numbered.append(name.strip())
    return numbered


def _hmdb51(path: str, match: re.Match[str]) -> list[Entry]:
    entries = []
    for line, text in _lines(path):
        name, _, part = text.rpartition(" ")
        if part not in HMDB51_SPLITS or not name.strip():
            raise InputError(
                f"{path}, line {line}: expected 'name.avi' and 0, 1 or 2; found {text!r}; correct it"
            )
        entry = Entry(line=line, path=f"{match[1]}/{name.strip()}", label=match[1], split=HMDB51_SPLITS[part])
        entries.append(entry)
    return entries


def _hmdb51_classes(path: str, split: str) -> list[str]:
    """The classes are the split files that lie side by side."""
    matches = [HMDB51.match(os.path.splitext(name)[0]) for name in os.listdir(os.path.dirname(path) or ".")]
    return sorted(match[1] for match in matches if match and match[2] == split)


def _folder(entries: list[Entry], path: str, root: str) -> str:
    """The folder that the list's paths are relative to. A few paths are tried, not a million: a list may name
    lost files (they fail one by one, later), but if none of the first ones exists the root is wrong."""
    folders = [root] if root else [os.path.dirname(path) or ".", "."]
    names = [entry.path for entry in entries[:PROBED] if not is_fixed(entry.path)]
    for folder in folders:
        if not names or any(os.path.lexists(os.path.join(folder, name)) for name in names):
            return folder
    where = " or ".join(os.path.abspath(folder) for folder in dict.fromkeys(folders))
    raise InputError(
        f"expected the videos of {path} below {where}; found none of the first {len(names)} "
        f"(such as {names[0]!r}); give the folder that the paths are relative to as root"
    )
