"""The source's clips as a table for the bank's listing."""

import os
from itertools import islice
from typing import Any

from pipeline.config import ExtractConfig
from storage import ClipTable, clips_table
from video import Clip, iter_clips


def list_source(config: ExtractConfig) -> ClipTable:
    """Every clip of the source, or the first `limit`, as columns: about 100 bytes each.

    Raises:
        InputError: nothing there, nothing in it, or an entry that cannot be read.
    """
    clips = islice(iter_clips(config.source, root=config.root), config.limit or None)
    return clips_table(listing_line(clip, config.split, config.views.frames) for clip in clips)


def listing_line(clip: Clip, split: str, frames: int) -> dict[str, Any]:
    """A clip as a line of the listing: `split` where its own listing names none, and a path that holds from
    any working folder, since workers may have another one. Rows of images have one frame, of videos `frames`,
    if the source says nothing else.
    """
    return {
        "key": clip.key,
        "label": clip.label,
        "class_name": clip.class_name,
        "split": clip.split or split,
        "captions": list(clip.captions),
        "attributes": dict(clip.attributes),
        "path": clip.path if clip.path.startswith("/") or "://" in clip.path else os.path.abspath(clip.path),
        "offset": clip.offset,
        "size": clip.size,
        "bytes": content_bytes(clip),
        "frames": clip.frames or (1 if clip.still else frames),
    }


def content_bytes(clip: Clip) -> int:
    """Size of a clip's content; -1 where only a request would tell, or the file is not there."""
    if clip.size >= 0 or "://" in clip.path:
        return clip.size
    try:
        return os.stat(clip.path).st_size
    except OSError:
        return -1
