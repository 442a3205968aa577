"""What one line of a file with captions says, and such lines joined to clips."""

from collections.abc import Iterable, Sequence
from typing import Any

from video.clip import Clip

IDS = ("video_id", "videoid", "clip_id", "clip_name", "vid")
"""Names of a column, or of a JSON key, with the ids of videos."""
Line = tuple[str, Sequence[str], str]
"""The name or id of a video or image, captions of it, its split."""


def joined(lines: Iterable[Line], *, split: str = "") -> list[Clip]:
    """A clip without a path for each name, in the order of their first lines; `split` where none is said."""
    texts: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    for name, captions, part in lines:
        texts.setdefault(name, []).extend(text for text in map(str.strip, captions) if text)
        splits[name] = part or splits.get(name, "")
    return [
        Clip(key=name, path="", captions=tuple(found), split=splits[name] or split)
        for name, found in texts.items()
    ]


def short(value: Any) -> str:
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
