"""Images and videos as files, as a pre-trained model sees them (`decoders.omnivl.model.Source`).

They are decoded as they are wanted, in processes that a damaged one may crash, some ahead of the tower. What
cannot be decoded is left out, and named.
"""

import hashlib
import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoders.omnivl.finding.coarse import Layout
from decoders.omnivl.items import Item
from decoders.omnivl.model import OmniVLModel
from decoders.omnivl.schedule import Kind
from decoders.omnivl.shown import Shown
from decoders.omnivl.visual import VisualOut
from finetune.decoding import Decoders
from finetune.omnivl.eyes import BankEye, OwnEye
from finetune.omnivl.sources import LiveSources, line_of, live_clips
from video import Clip, DecodedClip, DecodeError


class FileSource:
    """The images and videos of some lists.

    Args:
        shown: where they are. split: those to take; empty takes all.

    Raises:
        InputError: they cannot be listed, or none is in the split.
    """

    def __init__(self, model: OmniVLModel, shown: Shown, split: str = "") -> None:
        self.model, self.shown = model, shown
        self.clips = live_clips(LiveSources(sources=shown.sources, root=shown.root), split)
        self.eye = OwnEye(model) if model.tier["tier"] == "live" else BankEye(model, shown)
        self.failed: dict[str, str] = {}
        plans = {kind: plan.to_json() for kind, plan in self.eye.plans.items()}
        self.fingerprint = _digest({"weights": self.eye.weights, "views": plans})
        self.digest = _digest({kind: [_facts(clip) for clip in clips] for kind, clips in self.clips.items()})

    def items(self, kind: Kind) -> list[Item]:
        """All images, or all videos, as they are listed; a row is a place in the list of both."""
        first = len(self.clips["image"]) if kind == "video" else 0
        return [_item(clip, kind, row) for row, clip in enumerate(self.clips[kind], start=first)]

    def layout(self, kind: Kind) -> Layout:
        """How the tokens of an image, or of a video, are laid out. Raises where the tower cannot be had."""
        return Layout(frames=self.eye.plans[kind].frames, grid=self.eye.grid)

    @torch.no_grad()
    def seen(
        self, items: Sequence[Item], batch: int
    ) -> Generator[tuple[Sequence[Item], VisualOut], None, None]:
        """Those of some items of one kind that can be decoded, in batches, with what the model sees."""
        if not items:
            return
        listed = [*self.clips["image"], *self.clips["video"]]
        plan = self.eye.plans[items[0].kind]
        with Decoders(self.shown.decode_processes) as decoders:
            found = decoders.in_order((listed[item.row] for item in items), plan, ahead=batch)
            for start in range(0, len(items), batch):
                kept, frames = self._decoded(items[start : start + batch], found)
                if kept:
                    images = torch.from_numpy(np.concatenate(frames)).to(self.model.device)
                    yield kept, self.eye.visual(self.eye.visual.normalised(images))

    def _decoded(
        self, items: Sequence[Item], found: Iterator[DecodedClip | DecodeError]
    ) -> tuple[list[Item], list[NDArray[np.uint8]]]:
        """The items that the next of those found belong to, and their frames; those that failed are noted."""
        kept, frames = [], []
        for item in items:
            views = next(found)
            if isinstance(views, DecodeError):
                self.failed[item.keys[0]] = views.reason
            else:
                kept.append(item)
                frames.append(views.frames)
        return kept, frames


def _item(clip: Clip, kind: Kind, row: int) -> Item:
    return Item(
        kind=kind,
        row=row,
        keys=(clip.key,),
        split=clip.split,
        captions=tuple(dict.fromkeys(text for each in clip.captions if (text := each.strip()))),
        label=clip.label,
        class_name=clip.class_name,
        attributes=dict(clip.attributes),
    )


def _facts(clip: Clip) -> list[Any]:
    """What tells a file from another that was put in its place."""
    path = Path(clip.path)
    now = path.stat() if path.is_file() else None  # a URL says nothing
    place = [clip.offset, clip.size, *([now.st_size, now.st_mtime_ns] if now else [])]
    return [clip.key, clip.split, dict(line_of(clip)) | {"attributes": dict(clip.attributes)}, place]


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
