"""Batches of features from a bank, read ahead by one thread.

Reading a row is a few megabytes of contiguous bytes, so one thread that reads while the model computes is
enough on one machine: file reads and dtype conversions release the interpreter lock. The queue is bounded, at
most `AHEAD` batches wait. Only the arrays that the decoder uses are read: the blocks of its layers, and maps
only where a module reads them. A bank with q and k instead of maps gives the same maps, computed here.
"""

import queue
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from numpy.typing import NDArray

from backbones.maps import cross_frame_maps
from decoders.clips import ClipOrder, LabelledClips
from decoders.config import TrainConfig
from decoders.evl import BlockFeatures
from decoders.precision import feature_dtype
from decoders.task import Task
from storage import Bank, array_name

AHEAD = 2
_LOOK_SECONDS = 0.1
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Features of N rows and the classes of their clips."""

    features: list[BlockFeatures]
    """One per decoder layer, shallow to deep, N rows each."""
    targets: Int64[torch.Tensor, " n"]
    """Classes; N of them in training, one per clip of V rows in evaluation."""


class FeatureReader:
    """Rows of a bank as the decoder wants them: chosen blocks, one dtype, one device."""

    def __init__(
        self, bank: Bank, blocks: Sequence[int], *, maps: bool, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.bank = bank
        self.blocks = tuple(blocks)
        self._maps = maps and bank.spec.frames > 1
        self._device = device
        self._dtype = dtype

    def read(self, rows: NDArray[np.int64]) -> list[BlockFeatures]:
        """Features of the rows, in their order, one per block."""
        return [self._block(block, rows) for block in self.blocks]

    def targets(self, targets: NDArray[np.int64]) -> Int64[torch.Tensor, " n"]:
        """Targets on the same device."""
        return torch.from_numpy(targets).to(self._device)

    def _block(self, block: int, rows: NDArray[np.int64]) -> BlockFeatures:
        out = self._tap(block, "out", rows).to(self._dtype)
        if not self._maps:
            return BlockFeatures(out=out)
        if self.bank.spec.attention == "qk":
            prev, after = cross_frame_maps(self._tap(block, "q", rows), self._tap(block, "k", rows))
        else:
            prev, after = self._tap(block, "map_prev", rows), self._tap(block, "map_next", rows)
        return BlockFeatures(out=out, map_prev=prev.to(self._dtype), map_next=after.to(self._dtype))

    def _tap(self, block: int, tap: str, rows: NDArray[np.int64]) -> torch.Tensor:
        values = torch.from_numpy(self.bank.read(array_name(block, tap), rows))
        if self._device.type == "cuda":
            values = values.pin_memory()
        return values.to(self._device, non_blocking=True)


def open_features(bank: Bank, task: Task, config: TrainConfig, device: torch.device) -> FeatureReader:
    """What a decoder of this task and config reads of a bank."""
    return FeatureReader(
        bank,
        task.blocks,
        maps=config.decoder.cross_frame,
        device=device,
        dtype=feature_dtype(config.precision),
    )


def training_batches(
    reader: FeatureReader, order: ClipOrder, steps: range, size: int, split: int
) -> Generator[Batch, None, None]:
    """For each step, its batch of `size` clips in `split` pieces, one after the other."""
    return prefetch(_pieces(reader, order, steps, size, split))


def evaluation_batches(
    reader: FeatureReader, clips: LabelledClips, size: int
) -> Generator[Batch, None, None]:
    """Every clip once, about `size` rows at a time, each clip with all its views side by side."""
    return prefetch(_whole_clips(reader, clips, max(1, size // clips.rows.shape[1])))


def prefetch(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items, made ahead by a thread that ends with the iterator; its errors are raised here."""
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=AHEAD)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, ready, stop), name="framebank-read", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()
        thread.join()


def _fill(
    items: Iterator[T], ready: queue.Queue[tuple[T | None, BaseException | None]], stop: threading.Event
) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _offer(ready, (item, None), stop):
                return
    except Exception as caught:  # whatever it is, it is the consumer's to handle
        error = caught
    _offer(ready, (None, error), stop)


def _offer(ready: queue.Queue[T], entry: T, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            ready.put(entry, timeout=_LOOK_SECONDS)
        except queue.Full:
            continue
        return True
    return False


def _pieces(reader: FeatureReader, order: ClipOrder, steps: range, size: int, split: int) -> Iterator[Batch]:
    for step in steps:
        rows, targets = order.batch(step, size)
        for piece in np.split(np.arange(size), split):
            yield Batch(features=reader.read(rows[piece]), targets=reader.targets(targets[piece]))


def _whole_clips(reader: FeatureReader, clips: LabelledClips, count: int) -> Iterator[Batch]:
    for start in range(0, len(clips), count):
        chosen = slice(start, start + count)
        rows, targets = clips.rows[chosen].reshape(-1), clips.targets[chosen]
        yield Batch(features=reader.read(rows), targets=reader.targets(targets))
