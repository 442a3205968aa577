"""The live tier of a pre-training: images and videos decoded as they are wanted, seen by a tower that learns.

Which samples, views and stand-ins a step takes is a function of (seed, step), as in every training here. Each
kind has child processes of its own that decode it, two batches ahead; those of the kind whose turn it is not
wait, with their batches done.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from backbones.pixels import normalised
from backbones.weights import load_clip
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.pretraining.order import Piece, SampleOrder
from decoders.omnivl.pretraining.samples import Samples, class_names, samples_of
from decoders.omnivl.schedule import Kind
from finetune.decoding import Decoders
from finetune.drawn_views import DrawnViews, Wanted
from finetune.evaluation.encoding import refuse_size
from finetune.failures import Failures
from finetune.omnivl.config import LiveConfig
from finetune.omnivl.encoder import SpaceTimeCLIP, space_time_clip
from finetune.omnivl.sources import digest_of, line_of
from video import Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class LivePlace:
    """On what one process runs; no part of what a run is."""

    device: torch.device
    folder: Path
    """The run directory, where failed.jsonl says what could not be decoded."""
    decode_processes: int = 2
    """Children that decode images, and as many that decode videos."""


class LiveTier:
    """Images and videos as files (`decoders.omnivl.pretraining.tier.Tier`).

    Args:
        clips: those of each kind, as `live_clips` gives them.

    Raises:
        BackboneError: the CLIP cannot be had. ValueError: it sees frames of another size than the views.
    """

    def __init__(
        self,
        config: PretrainConfig,
        live: LiveConfig,
        clips: Mapping[Kind, Sequence[Clip]],
        place: LivePlace,
    ) -> None:
        self.config, self.live, self.clips, self.place = config, live, clips, place
        clip = load_clip(live.backbone)
        refuse_size(clip, live.image_views, option="live.image-views")
        refuse_size(clip, live.video_views, option="live.video-views")
        self.clip = {"weights": clip.digest, "quick_gelu": clip.quick_gelu}
        self.clip |= {"mean": list(clip.mean), "std": list(clip.std)}
        self._mean, self._std = (torch.tensor(each, device=place.device) for each in (clip.mean, clip.std))

    def samples(self, kind: Kind) -> Samples:
        """All images, or all videos, that have a text; their rows are places in the list of both."""
        label = self.config.label
        lines = {each: [line_of(clip) for clip in clips] for each, clips in self.clips.items()}
        names = class_names((line for each in lines.values() for line in each), label)
        first = len(self.clips["image"]) if kind == "video" else 0
        rows = np.arange(first, first + len(lines[kind]))[:, None]
        return samples_of(lines[kind], rows, kind=kind, label=label, names=names)

    def visual(self) -> SpaceTimeCLIP:
        """The encoder that begins as CLIP, read anew from its file."""
        model = space_time_clip(
            load_clip(self.live.backbone), self.config.heads, self.live.video_views.frames
        )
        model.recompute(self.live.recompute)
        return model

    def batches(
        self, order: SampleOrder, steps: range
    ) -> Generator[list[tuple[Piece, Float[Tensor, "N T 3 h w"]]], None, None]:
        """For each step of the order's kind its pieces and their normalised frames.

        Raises:
            InputError: ten clips in the place of one could not be decoded.
        """
        views = self._views(order.samples)
        failures = Failures(self.place.folder / "failed.jsonl", views.clips)
        first, second = tee(order.pieces(step) for step in order.steps(steps))
        with Decoders(self.place.decode_processes) as decoders:
            wanted = (_wanted(order, pieces) for pieces in first)
            found = views.batches(wanted, decoders, failures)
            for pieces, (numbers, frames) in zip(second, found, strict=True):
                yield self._seen(_taken(pieces, order.samples, numbers), frames)

    def describe(self) -> dict[str, Any]:
        """Network, weights, views and clips."""
        views = {name: getattr(self.live, name).to_json() for name in ("image_views", "video_views")}
        clips = {kind: digest_of(clips) for kind, clips in self.clips.items()}
        return {"tier": "live", "name": self.live.name, **self.clip, **views, "clips": clips}

    def _views(self, samples: Samples) -> DrawnViews:
        listed = [*self.clips["image"], *self.clips["video"]]
        return DrawnViews(
            clips=[listed[place] for place in samples.rows[:, 0].tolist()],
            plan=self.live.image_views if samples.kind == "image" else self.live.video_views,
            seed=self.config.seed,
        )

    def _seen(self, pieces: list[Piece], frames: UInt8[Tensor, "N T h w 3"]) -> list[tuple[Piece, Tensor]]:
        flat = rearrange(frames, "n t h w c -> (n t) h w c")
        images = normalised(flat, self._mean, self._std, torch.float32)
        images = rearrange(images, "(n t) c h w -> n t c h w", n=len(frames))
        return list(zip(pieces, images.chunk(len(pieces)), strict=True))


def _wanted(order: SampleOrder, pieces: list[Piece]) -> Wanted:
    """The samples of a step, and the place in the run of the first of them."""
    before = order.config.schedule.number_at(pieces[0].step) * order.size
    return np.concatenate([piece.numbers for piece in pieces]), before + pieces[0].draws.rows.start


def _taken(pieces: list[Piece], samples: Samples, numbers: NDArray[np.int64]) -> list[Piece]:
    """The pieces with the samples that could be had."""
    return [
        replace(piece, numbers=own, rows=samples.rows[own, 0])
        for piece, own in zip(pieces, np.split(numbers, len(pieces)), strict=True)
    ]
