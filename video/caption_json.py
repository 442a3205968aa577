"""Captions in JSON: which of the known forms a file has, and its lines.

{"images": [...], ...}                      COCO's or Karpathy's, see `video.caption_coco`
{"videos": [...], "sentences": [...]}       MSR-VTT's MSRVTT_data.json and test_videodatainfo.json
[{"video": "a.mov", "description": "..."}]  DiDeMo's train_data.json; any pairs; a line each in .jsonl
{"a.mp4": "...", "b.mp4": ["...", "..."]}   captions by video
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from video.caption_coco import image_lines
from video.caption_lines import IDS, Line, short
from video.errors import InputError
from video.tables import CAPTION, PATHS, SPLITS


def json_lines(path: Path) -> Iterator[Line]:
    """What a file says, line by line.

    Raises:
        InputError: no such file, no JSON, none of the forms; also while the lines are taken, one that says
            nothing of a video.
    """
    values = _values(path)
    if isinstance(values, Mapping) and "images" in values:
        return image_lines(values, path)
    if isinstance(values, Mapping) and "sentences" in values:
        return _annotation(values, path)
    if isinstance(values, Mapping) and not any(isinstance(value, Mapping) for value in values.values()):
        return (_pair({"video": name, "caption": text}, path) for name, text in values.items())
    if isinstance(values, list) and values:
        return (_pair(value, path) for value in values)
    raise InputError(
        f"{path}: expected images and annotations as COCO has them, videos and sentences as MSR-VTT has "
        f"them, or pairs of video and caption, found {short(values)}; write it in one of these forms"
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
            raise InputError(f"{path}: expected videos with a video_id, found {short(video)}; correct it")
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
            f"found {short(value)}; name the keys so"
        )
    split = next((str(line[key]) for key in SPLITS if line.get(key)), "")
    return str(name), captions, split
