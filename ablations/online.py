"""Augmentation without a bank: new random views of every clip in every epoch, decoded and encoded on the way.

It is what EVL does, and what a bank of a few fixed views stands in for. Decoders learn here as they do from a
bank, with the same trainer on the same clips in the same order; only where features come from differs.
Epoch e sees what a bank of one view a clip and seed `plan.seed + 1 + e` would hold, but for the rounding of
the bank's fp16. Threads decode the clips of the next step while the tower encodes those of this one.

The price is the frozen tower, and a decoder of video, in every step, which is why it is timed apart from the
decoders' own work. Several decoders may learn from one stream of views; each alone would pay for all of it.
"""

import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoders.clips import ClipOrder, LabelledClips
from decoders.dataset import Batch
from decoders.evl import BlockFeatures
from decoders.head import Head
from decoders.run_data import RunData
from finetune.live import LiveEVL
from storage import Bank
from training.interrupt import StopRequest, TrainingStopped
from video import Clip, ViewPlan, decode_views

ROWS = 8
"""Clips that go through the tower at once, as in an extraction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineData(RunData):
    """What a run reads: the clips of a bank, but views made anew. Another plan is another run."""

    plan: ViewPlan

    def describe(self) -> dict[str, Any]:
        """As of a run on the bank, and the plan of the views."""
        return RunData.describe(self) | {"views made anew": self.plan.to_json()}


@dataclass(slots=True)
class Seconds:
    """Where the time of `train_online` went."""

    steps: int = 0
    """Steps that were taken."""
    views: float = 0.0
    """Decoding, as far as it was waited for, and the tower."""
    heads: tuple[float, ...] = ()
    """The work of each decoder."""


class OnlineViews:
    """Features of clips, each epoch from views of its own.

    Args:
        clips: to draw from, in the order of their numbers.
        plan: how views are drawn.
        live: the tower, and a decoder that says which of its blocks and maps are wanted.
    """

    def __init__(self, clips: Sequence[Clip], plan: ViewPlan, live: LiveEVL) -> None:
        self._clips = clips
        self._plan = replace(plan, augmented_views=1)
        self._live = live

    def batches(
        self, order: Sequence[tuple[NDArray[np.int64], int]], threads: int
    ) -> Generator[list[BlockFeatures], None, None]:
        """Features of each batch of `order`: numbers of clips, and the place of the first in the run."""
        with ThreadPoolExecutor(threads, thread_name_prefix="framebank-views") as pool:
            ahead = self._submit(pool, *order[0])
            for following in [*order[1:], None]:
                frames = np.stack([found.result() for found in ahead])
                ahead = [] if following is None else self._submit(pool, *following)
                yield self.encode(frames)

    def frames(self, clip: int, epoch: int) -> NDArray[np.uint8]:
        """(T, h, w, 3) of the view of a clip in an epoch."""
        plan = replace(self._plan, seed=self._plan.seed + 1 + epoch)
        return decode_views(self._clips[clip], plan).frames[0]

    @torch.no_grad()
    def encode(self, frames: NDArray[np.uint8]) -> list[BlockFeatures]:
        """What a bank would hold of decoded clips (N, T, h, w, 3)."""
        pieces = [self._features(torch.from_numpy(some)) for some in np.split(frames, _cuts(len(frames)))]
        return [_joined(blocks) for blocks in zip(*pieces, strict=True)]

    def _features(self, frames: torch.Tensor) -> list[BlockFeatures]:
        return self._live.features(self._live.normalised(frames))

    def _submit(
        self, pool: ThreadPoolExecutor, numbers: NDArray[np.int64], first: int
    ) -> list[Future[NDArray[np.uint8]]]:
        epochs = (first + np.arange(len(numbers))) // len(self._clips)
        found = zip(numbers.tolist(), epochs.tolist(), strict=True)
        return [pool.submit(self.frames, number, epoch) for number, epoch in found]


def train_online(heads: Sequence[Head], source: OnlineViews, *, threads: int) -> Seconds:
    """All steps that the heads have left, on one stream of views. Raises TrainingStopped after a signal, when
    every head is saved; the same call goes on.
    """
    config = heads[0].config
    steps = range(min(head.done for head in heads), config.steps)
    order = _order(heads[0].data.clips, config.order)
    taken = [(order.batch(step, config.batch_size)[0], step * config.batch_size) for step in steps]
    spent, own = Seconds(), [0.0] * len(heads)
    if not taken:
        return spent
    with StopRequest() as stop, closing(source.batches(taken, threads)) as batches:
        for step, (numbers, _) in zip(steps, taken, strict=True):
            began = time.perf_counter()
            features = next(batches)
            spent.views += time.perf_counter() - began
            for place, head in enumerate(heads):
                own[place] += _learn(head, step, features, numbers)
            spent.steps, spent.heads = spent.steps + 1, tuple(own)
            if stop.requested and step + 1 < config.steps:
                _save(heads)
                raise TrainingStopped(
                    f"stopped after step {step + 1} of {config.steps}; run it again to go on"
                )
    return spent


def _learn(head: Head, step: int, features: list[BlockFeatures], numbers: NDArray[np.int64]) -> float:
    """One step of a head, unless it has done it; the seconds that it took."""
    began = time.perf_counter()
    if head.unfinished and head.done == step:
        targets = torch.from_numpy(head.data.clips.targets[numbers])
        head.learn(0, Batch(features=features, targets=targets))
        head.flush(stopping=False)
        if head.diverged is None and head.due(head.config.save_every):
            head.save()
    return time.perf_counter() - began


def _save(heads: Sequence[Head]) -> None:
    for head in heads:
        head.flush(stopping=True)
        if head.diverged is None:
            head.save()


def clips_of(bank: Bank, clips: LabelledClips) -> list[Clip]:
    """Where the clips of a bank were read from."""
    table = bank.listing.select(["row", "key", "path", "offset", "size"])
    files = {line.pop("row"): Clip(**line) for line in table.to_pylist()}
    return [files[row] for row in clips.rows[:, 0].tolist()]


def _order(clips: LabelledClips, seed: int) -> ClipOrder:
    """The order in which a bank would be read, of numbers of clips."""
    return ClipOrder(replace(clips, rows=np.arange(len(clips))[:, None]), seed)


def _cuts(count: int) -> list[int]:
    return list(range(ROWS, count, ROWS))


def _joined(blocks: Sequence[BlockFeatures]) -> BlockFeatures:
    """One block's features of all pieces."""

    def join(name: str) -> Any:
        found = [getattr(block, name) for block in blocks]
        return None if found[0] is None else torch.cat(found)

    return BlockFeatures(out=join("out"), map_prev=join("map_prev"), map_next=join("map_next"))
