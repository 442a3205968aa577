"""Batches of decoded clips by step number, some steps ahead of the training.

Which clips a step takes, and which frames and crop of them, is a function of (seed, step): each clip once an
epoch, in a new order and with a new view every time. So nothing is saved to go on in the middle of an epoch,
and any number of processes see the same batches, each its part.

A clip that cannot be decoded is replaced by another that is drawn from (seed, place in the run), up to ten
times, and noted: a training that is days long does not end for one video, and says which they were.
"""

import hashlib
import random
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from finetune.decoding import Decoders
from finetune.failures import Failures
from storage import RowOrder
from training.team import ALONE, Team
from video import Clip, DecodedClip, DecodeError, InputError, ViewPlan

SUBSTITUTES = 10
"""Clips that are tried in the place of one."""
STEPS_AHEAD = 2
"""Batches that are decoded, or being so, beside the one in use."""


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
        order = RowOrder(np.arange(len(self.clips)), self.seed, rank=self.team.rank, world=self.team.size)
        left, ahead = iter(steps), deque[list[Future[tuple[int, DecodedClip]]]]()
        while True:
            while len(ahead) <= STEPS_AHEAD and (step := next(left, None)) is not None:
                ahead.append(self._submit(order, step, decoders, failures))
            if not ahead:
                return
            yield self._gathered(ahead.popleft())

    def _submit(
        self, order: RowOrder, step: int, decoders: Decoders, failures: Failures
    ) -> list[Future[tuple[int, DecodedClip]]]:
        ours = self.size // self.team.size
        first = step * self.size + self.team.rank * ours
        numbers = order.batch(step, ours).tolist()
        return [
            decoders.submit_first(
                self._candidates(number, first + row),
                self.clips,
                self._plan_in(epoch=(first + row) // len(self.clips)),
                failures,
            )
            for row, number in enumerate(numbers)
        ]

    def _candidates(self, number: int, place: int) -> Iterator[int]:
        """The clip at a place in the run, and those that stand in for it."""
        yield number
        draw = random.Random(f"substitute {self.seed} {place}")
        yield from (draw.randrange(len(self.clips)) for _ in range(SUBSTITUTES))

    def _plan_in(self, epoch: int) -> ViewPlan:
        """Views of an epoch."""
        word = hashlib.sha256(f"views {self.seed} {epoch}".encode()).digest()[:4]
        return replace(self.plan, seed=int.from_bytes(word), augmented_views=1)

    def _gathered(self, found: "Sequence[Future[Any]]") -> VideoBatch:
        try:
            decoded = [each.result() for each in found]
        except DecodeError as error:
            raise InputError(
                f"expected videos that can be decoded, found {SUBSTITUTES + 1} in a row that cannot, last "
                f"{error}; look at them with `framebank doctor` and at the run's failed.jsonl"
            ) from error
        frames = np.stack([clip.frames[0] for _, clip in decoded])
        numbers = [number for number, _ in decoded]
        return VideoBatch(frames=torch.from_numpy(frames), targets=torch.from_numpy(self.targets[numbers]))
