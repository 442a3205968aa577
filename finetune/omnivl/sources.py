"""The images and videos that an end-to-end pre-training learns from."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from decoders.omnivl.schedule import Kind
from video import Clip, InputError, list_clips


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveSources:
    """Where they are found; which they are, and not where, is part of what a run is."""

    sources: tuple[str, ...]
    """Lists, captions, folders of class folders, or tars, of images or videos or both."""
    root: str = ""
    """Folder that the paths of lists are relative to; by default each list's own."""


def live_clips(where: LiveSources, split: str) -> dict[Kind, tuple[Clip, ...]]:
    """The images, and the videos, of a split or of several, joined by commas; all where it is empty.

    Raises:
        InputError: a source that cannot be listed, nothing in the split.
    """
    listed = [clip for source in where.sources for clip in list_clips(source, root=where.root)]
    splits = split.split(",") if split else []
    chosen = [clip for clip in listed if not splits or clip.split in splits]
    if not chosen:
        known = ", ".join(repr(name) for name in sorted({clip.split for clip in listed})) or "none"
        named = ", ".join(where.sources)
        raise InputError(f"{named}: expected clips in split {split!r}, found none; the splits: {known}")
    return {
        "image": tuple(clip for clip in chosen if _is_image(clip)),
        "video": tuple(clip for clip in chosen if not _is_image(clip)),
    }


def line_of(clip: Clip) -> Mapping[str, Any]:
    """What texts are made of, as a bank's table has it."""
    return {
        "label": clip.label,
        "class_name": clip.class_name,
        "captions": clip.captions,
        "attributes": clip.attributes,
    }


def digest_of(clips: Iterable[Clip]) -> str:
    """Of names and texts of clips, in their order."""
    lines = [[clip.key, clip.label, clip.class_name, clip.captions] for clip in clips]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def _is_image(clip: Clip) -> bool:
    return (clip.frames or (1 if clip.still else 0)) == 1
