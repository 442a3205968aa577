"""Batches of decoded clips by step number, some steps ahead of the training.

Which clips a step takes, and which frames and crop of them, is a function of (seed, step): each clip once an
epoch, in a new order and with a new view every time (`finetune.drawn_views`, which also says what stands in
for a clip that cannot be decoded).
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from finetune.decoding import Decoders
from finetune.drawn_views import DrawnViews, Wanted
from finetune.failures import Failures
from storage import RowOrder
from training.team import ALONE, Team
from video import Clip, ViewPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoBatch:
    """Decoded clips and their classes."""

    frames: UInt8[Tensor, "N T h w 3"]
    """RGB, not normalised."""
    targets: Int64[Tensor, " N"]
    """Their classes."""

    def pieces(self, count: int) -> "list[VideoBatch]":
        """The same in so many parts of equal size."""
        parts = zip(self.frames.chunk(count), self.targets.chunk(count), strict=True)
        return [VideoBatch(frames=frames, targets=targets) for frames, targets in parts]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipStream:
    """The clips of a training, in the order in which it sees them.

    `size` is the batch of all processes together; each takes the part that its team says.
    """

    clips: Sequence[Clip]
    targets: NDArray[np.int64]
    """(n,) their classes."""
    plan: ViewPlan
    """How views are drawn."""
    seed: int
    size: int
    team: Team = ALONE

    def batches(
        self, steps: range, decoders: Decoders, failures: Failures
    ) -> Generator[VideoBatch, None, None]:
        """The batches of some steps.

        Raises:
            InputError: ten clips in the place of one could not be decoded.
        """
        views = DrawnViews(clips=self.clips, plan=self.plan, seed=self.seed)
        for numbers, frames in views.batches(self._wanted(steps), decoders, failures):
            yield VideoBatch(frames=frames, targets=torch.from_numpy(self.targets[numbers]))

    def _wanted(self, steps: range) -> Iterator[Wanted]:
        order = RowOrder(np.arange(len(self.clips)), self.seed, rank=self.team.rank, world=self.team.size)
        ours = self.size // self.team.size
        for step in steps:
            yield order.batch(step, ours), step * self.size + self.team.rank * ours
