"""New views of clips in every epoch of a training, decoded some batches ahead.

Frames and crop of a clip are a function of (seed, epoch, content), so nothing is saved to go on in the middle
of an epoch, and any number of processes see the same, each its part.

A clip that cannot be decoded is replaced by another that is drawn from (seed, place in the run), up to ten
times, and noted: a training that is days long does not end for one video, and says which they were.
"""

import hashlib
import random
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from finetune.decoding import Decoders
from finetune.failures import Failures
from video import Clip, DecodedClip, DecodeError, InputError, ViewPlan

SUBSTITUTES = 10
"""Clips that are tried in the place of one."""
AHEAD = 2
"""Batches that are decoded, or being so, beside the one in use."""

Wanted = tuple[NDArray[np.int64], int]
"""Numbers of clips, and the place in the run of the first of them; the others follow it."""
Drawn = tuple[NDArray[np.int64], UInt8[Tensor, "N T h w 3"]]
"""Numbers of the clips that could be decoded, and their frames: RGB, not normalised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnViews:
    """Clips, and how views of them are drawn."""

    clips: Sequence[Clip]
    plan: ViewPlan
    """How views are drawn; its seed and their number are those of the run."""
    seed: int

    def batches(
        self, wanted: Iterable[Wanted], decoders: Decoders, failures: Failures
    ) -> Generator[Drawn, None, None]:
        """The frames of some batches.

        Raises:
            InputError: ten clips in the place of one could not be decoded.
        """
        left, ahead = iter(wanted), deque[list[Future[tuple[int, DecodedClip]]]]()
        while True:
            while len(ahead) <= AHEAD and (batch := next(left, None)) is not None:
                ahead.append(self._submit(batch, decoders, failures))
            if not ahead:
                return
            yield _gathered(ahead.popleft())

    def _submit(
        self, wanted: Wanted, decoders: Decoders, failures: Failures
    ) -> list[Future[tuple[int, DecodedClip]]]:
        numbers, first = wanted
        return [
            decoders.submit_first(self._candidates(number, place), self.clips, self._plan_at(place), failures)
            for place, number in enumerate(numbers.tolist(), start=first)
        ]

    def _candidates(self, number: int, place: int) -> Iterator[int]:
        """The clip at a place in the run, and those that stand in for it."""
        yield number
        draw = random.Random(f"substitute {self.seed} {place}")
        yield from (draw.randrange(len(self.clips)) for _ in range(SUBSTITUTES))

    def _plan_at(self, place: int) -> ViewPlan:
        """Views of the epoch of a place."""
        epoch = place // len(self.clips)
        word = hashlib.sha256(f"views {self.seed} {epoch}".encode()).digest()[:4]
        return replace(self.plan, seed=int.from_bytes(word), augmented_views=1)


def _gathered(found: Sequence[Future[tuple[int, DecodedClip]]]) -> Drawn:
    try:
        decoded = [each.result() for each in found]
    except DecodeError as error:
        raise InputError(
            f"expected videos that can be decoded, found {SUBSTITUTES + 1} in a row that cannot, last "
            f"{error}; look at them with `framebank doctor` and at the run's failed.jsonl"
        ) from error
    frames = np.stack([clip.frames[0] for _, clip in decoded])
    return np.array([number for number, _ in decoded]), torch.from_numpy(frames)
