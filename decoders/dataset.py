"""Batches of features from a bank, read and decoded ahead.

Two stages run beside the training step: the loader's threads read rows into its buffers (`RowLoader`), and
one thread turns what is stored into what the decoder wants, in memory of its own, since the buffers are read
into again. With CUDA the buffers are pinned and that thread copies on a stream of its own, beside the
kernels. At most `AHEAD` decoded batches wait.

Only the arrays that a decoder uses are read, each once: the blocks of its layers, and maps only where a
module reads them. A bank with q and k instead of maps, or with what they derive from, gives the same maps,
computed here. Rows are read as they are stored; where only CLS is wanted, the other tokens go no further.
"""

from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import tee
from typing import Any, TypeVar

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
from decoders.wanted import Wanted, wanted_by
from storage import (
    MAPS,
    Bank,
    RowLoader,
    block_weights,
    decoded,
    derive_qk,
    scales_of,
)

AHEAD = 2
T = TypeVar("T")
Choice = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows to read, and the classes of their clips, (n,) or (decoders, n)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Features of N rows and the classes of their clips."""

    features: list[BlockFeatures]
    """One per decoder layer, shallow to deep, N rows each (layers that read the same block share its
    features); of several decoders, one per block of any."""
    targets: Int64[torch.Tensor, "*decoders n"]
    """Classes; N of them in training, one per clip of V rows in evaluation. Several decoders: a row each."""

    def tensors(self) -> Iterator[torch.Tensor]:
        """Everything it holds."""
        for block in self.features:
            yield from (tap for tap in (block.out, block.map_prev, block.map_next) if tap is not None)
        yield self.targets


class FeatureReader:
    """Rows of a bank, all of `frames` frames (None: the spec's), as the decoder wants them, in one dtype on
    one device.

    Attributes:
        wanted: what is read, in terms of blocks.
        arrays: names of the bank's arrays that are read for it, each once.
    """

    def __init__(
        self,
        bank: Bank,
        wanted: Wanted,
        *,
        device: torch.device,
        dtype: torch.dtype,
        frames: int | None = None,
    ) -> None:
        self.bank = bank
        self.frames = bank.spec.frames if frames is None else frames
        self.wanted = wanted
        self.device = device
        self.dtype = dtype
        self._modes = {block: bank.spec.attention(block) for block in sorted(self._with_maps())}
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._weights = {block: self._block_weights(block) for block in self._derived()}
        self.arrays = tuple(dict.fromkeys(self._names()))

    def read(self, rows: NDArray[np.int64]) -> list[BlockFeatures]:
        """Features of the rows, in their order, one per layer."""
        return self.decode({name: self.bank.read(name, rows) for name in self.arrays})

    def batch(self, stored: Mapping[str, NDArray[Any]], targets: NDArray[np.int64]) -> Batch:
        """What `decode` and `targets` give, all there when this returns; `stored` may be overwritten then."""
        with torch.cuda.stream(self._stream):  # does nothing where there is none
            batch = Batch(features=self.decode(stored), targets=self.targets(targets))
        if self._stream is not None:
            self._stream.synchronize()
            for tensor in batch.tensors():  # or its memory could be handed out while a kernel reads it
                tensor.record_stream(torch.cuda.default_stream(self.device))
        return batch

    def decode(self, stored: Mapping[str, NDArray[Any]]) -> list[BlockFeatures]:
        """Features of N rows, one per layer, from the rows of every array as they are stored; on a CPU in
        memory of their own.
        """
        pooled = self._pooled_arrays()
        values = {
            name: self._to_device(found[:, :, :1] if name in pooled else found)
            for name, found in stored.items()
        }
        tokens = {block: decoded(self._name(block, "out"), values) for block in self._token_blocks()}
        features = {block: self._block(block, tokens, values) for block in set(self.wanted.blocks)}
        return [features[block] for block in self.wanted.blocks]

    def targets(self, targets: NDArray[np.int64]) -> Int64[torch.Tensor, "*decoders n"]:
        """Targets on the same device."""
        return torch.from_numpy(targets).to(self.device)

    def allocate(self, shape: tuple[int, ...], dtype: np.dtype) -> NDArray[Any]:
        """A buffer to read rows into, pinned where they go on to a CUDA device."""
        if self._stream is None:
            return np.empty(shape, dtype)
        like = torch.from_numpy(np.empty(0, dtype))
        return torch.empty(shape, dtype=like.dtype, pin_memory=True).numpy()

    def _block(
        self, block: int, tokens: Mapping[int, torch.Tensor], values: Mapping[str, torch.Tensor]
    ) -> BlockFeatures:
        here = slice(None) if block in self.wanted.whole else slice(1)
        out, mode = self._owned(tokens[block][:, :, here]), self._modes.get(block)
        if mode is None:
            return BlockFeatures(out=out)
        if mode == "maps":
            prev, after = (decoded(self._name(block, tap), values) for tap in MAPS)
        elif mode == "qk":
            prev, after = cross_frame_maps(*(values[self._name(block, tap)] for tap in ("q", "k")))
        else:
            heads = self.bank.spec.backbone.heads
            before = tokens[block - 1].float()
            prev, after = cross_frame_maps(*derive_qk(before, self._weights[block], heads))
        return BlockFeatures(out=out, map_prev=self._owned(prev), map_next=self._owned(after))

    def _owned(self, values: torch.Tensor) -> torch.Tensor:
        """The values in the decoder's dtype, copied where they may still be those of a buffer: what is
        computed is fp32, what is read is fp16.
        """
        return values.to(self.dtype, copy=values.dtype == torch.float16)

    def _name(self, block: int, tap: str) -> str:
        """The array of a tap for rows of as many frames."""
        return self.bank.array_name(block, tap, self.frames)

    def _with_maps(self) -> Collection[int]:
        """Blocks whose maps are read: a single frame has no neighbour."""
        return self.wanted.maps if self.frames > 1 else ()

    def _pooled_arrays(self) -> set[str]:
        """Arrays (n, T, L, ...) of whose tokens only the first is used."""
        unused = set(self._token_blocks()) - self.wanted.whole - {block - 1 for block in self._derived()}
        names = {self._name(block, "out") for block in unused}
        return names | {f"{name}_token_scale" for name in names}

    def _names(self) -> Iterator[str]:
        for name in [self._name(block, "out") for block in self._token_blocks()]:
            yield from (name, *scales_of(name, self.bank.layouts))
        taps = {"maps": MAPS, "qk": ("q", "k"), "derived": ()}
        for block, mode in self._modes.items():
            for name in [self._name(block, tap) for tap in taps[mode]]:
                yield from (name, *scales_of(name, self.bank.layouts))

    def _token_blocks(self) -> tuple[int, ...]:
        return tuple(sorted({*self.wanted.blocks, *(block - 1 for block in self._derived())}))

    def _derived(self) -> list[int]:
        return [block for block, mode in self._modes.items() if mode == "derived"]

    def _block_weights(self, block: int) -> dict[str, torch.Tensor]:
        found = block_weights(self.bank.weights, block)
        return {which: torch.from_numpy(values).to(self.device) for which, values in found.items()}

    def _to_device(self, stored: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(stored).to(self.device, non_blocking=True)


def open_features(bank: Bank, task: Task, config: TrainConfig, device: torch.device) -> FeatureReader:
    """What a decoder of this task and config reads of a bank."""
    return FeatureReader(
        bank,
        wanted_by(config.decoder, task.blocks),
        device=device,
        dtype=feature_dtype(config.precision),
    )


def token_reader(bank: Bank, blocks: tuple[int, ...], frames: int, device: torch.device) -> FeatureReader:
    """All tokens of some blocks in fp32, without maps, of rows of so many frames."""
    wanted = Wanted(blocks=blocks, whole=frozenset(blocks), maps=frozenset())
    return FeatureReader(bank, wanted, device=device, dtype=torch.float32, frames=frames)


def training_batches(
    reader: FeatureReader, order: ClipOrder, steps: range, size: int, split: int
) -> Generator[Batch, None, None]:
    """For each step, its batch of `size` clips in `split` pieces, one after the other."""
    return read_ahead(reader, _pieces(order, steps, size, split))


def evaluation_batches(
    reader: FeatureReader, clips: LabelledClips, size: int
) -> Generator[Batch, None, None]:
    """Every clip once, about `size` rows at a time, each clip with all its views side by side."""
    return read_ahead(reader, _whole_clips(clips, max(1, size // clips.rows.shape[1])))


def read_ahead(reader: FeatureReader, choices: Iterator[Choice]) -> Generator[Batch, None, None]:
    """The batches of some choices, read and decoded ahead. Closing it leaves no thread."""
    return _prefetched(_decoded(reader, choices))


def _pieces(order: ClipOrder, steps: range, size: int, split: int) -> Iterator[Choice]:
    for step in steps:
        rows, targets = order.batch(step, size)
        for piece in np.split(np.arange(size), split):
            yield rows[piece], targets[..., piece]


def _whole_clips(clips: LabelledClips, count: int) -> Iterator[Choice]:
    for start in range(0, len(clips), count):
        chosen = slice(start, start + count)
        yield clips.rows[chosen].reshape(-1), clips.targets[..., chosen]


def _decoded(reader: FeatureReader, order: Iterator[Choice]) -> Generator[Batch, None, None]:
    """Batches as chosen; one is decoded while the loader's threads read the next."""
    first, second = tee(order)
    loader = RowLoader(reader.bank, reader.arrays, ahead=1, allocate=reader.allocate)
    with closing(loader.batches(rows for rows, _ in first)) as found:
        for stored, (_, targets) in zip(found, second, strict=True):
            yield reader.batch(stored, targets)


def _prefetched(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """The same items, made by a thread while the consumer works; its errors are raised here in their turn.
    Closing it waits for the item in the making, closes `items`, and leaves no thread.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="framebank-decode")
    waiting = deque(thread.submit(next, items, None) for _ in range(AHEAD))
    try:
        while (item := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, items, None))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
        items.close()
