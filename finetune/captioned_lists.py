"""Captions of videos, as data sets distribute them.

    MSRVTT_data.json, test_videodatainfo.json   {"videos": [{"video_id": "video0", "split": "train", ...}],
                                                "sentences": [{"video_id": "video0", "caption": "..."}]}
    MSRVTT_JSFUSION_test.csv (1k-A)             key,vid_key,video_id,sentence
    MSRVTT_train.9k.csv, .7k                    video_id; the captions stand in MSRVTT_data.json
    pairs                                       [{"video": "a.mp4", "caption": "..."}] or, a line each, .jsonl
    captions by video                           {"a.mp4": "...", "b.mp4": ["...", "..."]}

and whatever `video` lists: tables with columns of captions, tars with a text beside each video. Files of the
first kind say what a video is called, not where it is: their clips have an id as key and no path, and
`finetune.captioned_sets` finds them. A video that comes in several lines is one clip with several captions.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from video import Clip, InputError, list_clips
from video.lists import LINE
from video.tables import CAPTION, PATHS, SPLITS, is_table

IDS = ("video_id", "videoid", "clip_id", "clip_name", "vid")
"""Names of a column, or of a JSON key, with the ids of videos."""
Line = tuple[str, Sequence[str], str]
"""A video's id, captions and split."""


def captioned_clips(source: str, *, root: str = "", there: bool = True) -> list[Clip]:
    """The clips of a source with their captions; those of files that name videos by id have no path.

    Args:
        source: one of the above. root: as for `list_clips`, where it lists.
        there: whether the videos of a list should be on this machine.

    Raises:
        InputError: nothing there, a damaged file, lines without a video, columns that are missing.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() in (".json", ".jsonl"):
        return _joined(_of_json(path))
    if path.suffix.lower() in (".csv", ".tsv") and path.is_file() and not is_table(str(path)):
        cells = _header(path)
        if any(cell.lower() in IDS for cell in cells):
            return _joined(_of_ids(path))
        if not any(LINE.match(cell) for cell in cells):
            raise InputError(
                f"{path}: expected a header with video_id and sentence, or with path and caption, found "
                f"{', '.join(map(repr, cells[:6])) or 'an empty file'}; name the columns so"
            )
    return list_clips(source, root=root, there=there)


def _joined(lines: Iterable[Line]) -> list[Clip]:
    """A clip for each id, in the order of their first lines."""
    texts: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    for name, captions, split in lines:
        texts.setdefault(name, []).extend(text for text in map(str.strip, captions) if text)
        splits[name] = split or splits.get(name, "")
    return [
        Clip(key=name, path="", captions=tuple(found), split=splits[name]) for name, found in texts.items()
    ]


def _of_json(path: Path) -> Iterator[Line]:
    values = _values(path)
    if isinstance(values, Mapping) and "sentences" in values:
        return _annotation(values, path)
    if isinstance(values, Mapping) and not any(isinstance(value, Mapping) for value in values.values()):
        return (_pair({"video": name, "caption": text}, path) for name, text in values.items())
    if isinstance(values, list) and values:
        return (_pair(value, path) for value in values)
    raise InputError(
        f"{path}: expected videos and sentences as MSR-VTT has them, or pairs of video and caption, found "
        f"{_short(values)}; write it in one of these forms"
    )


def _values(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".jsonl":
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        return json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: expected captions, found: {error.strerror}; correct the path") from error
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found a damaged file ({error}); restore it") from error


def _annotation(values: Mapping[str, Any], path: Path) -> Iterator[Line]:
    """MSR-VTT's own form: videos with their splits, and sentences that name them."""
    videos = values.get("videos")
    known = {}
    for video in videos or ():
        if not isinstance(video, Mapping) or "video_id" not in video:
            raise InputError(f"{path}: expected videos with a video_id, found {_short(video)}; correct it")
        known[str(video["video_id"])] = str(video.get("split", ""))
    yield from ((name, (), split) for name, split in known.items())
    for sentence in values["sentences"]:
        name, captions, _ = _pair(sentence, path)
        if videos is not None and name not in known:
            raise InputError(
                f"{path}: expected sentences of its own videos, found one of {name!r}, which is not among "
                f"its {len(known)} videos; add the video or remove the sentence"
            )
        yield name, captions, known.get(name, "")


def _pair(value: Any, path: Path) -> Line:
    """An object with a video and its caption, or captions."""
    line = {str(key).lower(): found for key, found in value.items()} if isinstance(value, Mapping) else {}
    name = next((line[key] for key in (*IDS, *PATHS) if isinstance(line.get(key), str | int)), None)
    texts = [found for key, found in line.items() if CAPTION.match(key) and key not in (*IDS, *PATHS)]
    captions = [text for found in texts for text in ([found] if isinstance(found, str) else found or ())]
    if name is None or not texts or not all(isinstance(text, str) for text in captions):
        raise InputError(
            f"{path}: expected objects with a video (video_id, video, ...) and its caption or captions, "
            f"found {_short(value)}; name the keys so"
        )
    split = next((str(line[key]) for key in SPLITS if line.get(key)), "")
    return str(name), captions, split


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline(1 << 16)
    cells = next(csv.reader([first], delimiter=_delimiter(first)), [])
    return [cell.strip() for cell in cells]


def _of_ids(path: Path) -> Iterator[Line]:
    """A table whose videos are ids; without a column of captions, of ids alone."""
    header = [cell.lower() for cell in _header(path)]
    place = next(header.index(name) for name in IDS if name in header)
    texts = [number for number, cell in enumerate(header) if CAPTION.match(cell) and number != place]
    split = next((header.index(name) for name in SPLITS if name in header), -1)
    for line, cells in _rows(path):
        if len(cells) != len(header) or not cells[place].strip():
            raise InputError(
                f"{path}, line {line}: expected {len(header)} cells as in the header, with an id, found "
                f"{_short(cells)}; quote cells that hold a comma"
            )
        captions = [cells[number] for number in texts]
        yield cells[place].strip(), captions, cells[split] if split >= 0 else ""


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


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
