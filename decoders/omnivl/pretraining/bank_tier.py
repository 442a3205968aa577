"""The cheap tier: a bank's frozen tokens, and a small network on top of them that learns to see time.

Rows of one frame are images, rows of the adapter's number of frames are clips; other rows are not read.
"""

from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from itertools import tee
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from decoders.clips import rows_by_clip
from decoders.dataset import Choice, FeatureReader, read_ahead, token_reader
from decoders.omnivl.adapter import BankVisual
from decoders.omnivl.config import AdapterConfig, HeadsConfig
from decoders.omnivl.pretraining.order import Piece, SampleOrder
from decoders.omnivl.pretraining.samples import Samples, class_names, samples_of
from decoders.omnivl.schedule import Kind
from storage import Bank, ClipTable

TEXTS = ("key", "label", "class_name", "captions", "attributes")
"""Columns of the clip table that samples are made from."""


class BankTier:
    """A bank as a source of samples.

    Args:
        split: clips to take; empty takes all. label: the set of labels that classes come from; empty for
        none.

    Raises:
        ValueError: the bank keeps fewer blocks than the adapter reads.
    """

    def __init__(
        self,
        bank: Bank,
        adapter: AdapterConfig,
        heads: HeadsConfig,
        device: torch.device,
        *,
        split: str = "",
        label: str = "label",
    ) -> None:
        self.blocks = last_blocks(bank, adapter.blocks)
        self.bank, self.adapter, self.heads, self.device = bank, adapter, heads, device
        self.split, self.label = split, label

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The classes of the whole bank, images' and clips', in words."""
        return class_names(self.bank.written().select(list(TEXTS)).to_pylist(), self.label)

    def table(self, kind: Kind) -> ClipTable:
        """The written clips of a kind; a line per view."""
        return self.bank.written(split=self.split, frames=frames_of(kind, self.adapter))

    def samples(self, kind: Kind) -> Samples:
        """All images, or all clips, that have a text. Raises ValueError where there are none."""
        table = self.table(kind)
        if not len(table):
            raise ValueError(
                f"expected {kind}s of {frames_of(kind, self.adapter)} frames in split {self.split!r} of "
                f"{self.bank.path}, found none; extract them into it, or take a schedule without {kind}s"
            )
        views = self.bank.spec.views
        lines = table.select(list(TEXTS)).to_pylist()[::views]
        return samples_of(lines, rows_by_clip(table, views), kind=kind, label=self.label, names=self.names)

    def visual(self) -> BankVisual:
        """A new adapter, weights drawn from torch's current generator."""
        tower = self.bank.spec.backbone
        return BankVisual(self.adapter, self.heads, width=tower.width, grid=tower.grid)

    def reader(self, kind: Kind) -> FeatureReader:
        """Tokens of the blocks that the adapter reads."""
        return token_reader(self.bank, self.blocks, frames_of(kind, self.adapter), self.device)

    def batches(self, order: SampleOrder, steps: range) -> Generator[list[tuple[Piece, Any]], None, None]:
        """For each step of the order's kind its pieces, each with its features, a list of blocks."""
        wanted, given = tee(order.pieces(step) for step in order.steps(steps))
        found = self.features(order.samples.kind, (piece.rows for pieces in wanted for piece in pieces))
        try:
            for pieces in given:
                yield [(piece, next(found)) for piece in pieces]
        finally:
            found.close()

    def features(
        self, kind: Kind, rows: Iterator[NDArray[np.int64]]
    ) -> Generator[list[Float[Tensor, "N T L C"]], None, None]:
        """For each array of rows their tokens, a block after the other, read ahead."""
        choices: Iterator[Choice] = ((some, some) for some in rows)
        found = read_ahead(self.reader(kind), choices)
        try:
            for batch in found:
                yield [block.out for block in batch.features]
        finally:
            found.close()

    def describe(self) -> dict[str, Any]:
        """Backbone, blocks, and how frames were chosen and prepared: what is learned holds for rows of this
        tower alone, and files are to be seen in the same way.
        """
        spec = self.bank.spec
        video = {name: value for name, value in spec.video.items() if name != "decoders"}
        blocks = list(self.blocks)
        return {"tier": "bank", "backbone": spec.backbone.to_json(), "blocks": blocks, "video": video}


def frames_of(kind: Kind, adapter: AdapterConfig) -> int:
    """T of a kind's rows."""
    return 1 if kind == "image" else adapter.frames


def last_blocks(bank: Bank, count: int) -> tuple[int, ...]:
    """The last blocks that a bank keeps. Raises ValueError where it keeps fewer."""
    kept: Sequence[int] = bank.spec.blocks
    if len(kept) < count:
        raise ValueError(
            f"expected {count} blocks for the adapter, found {len(kept)} in {bank.path} "
            f"({', '.join(map(str, kept))}); set --adapter.blocks, or extract more"
        )
    return tuple(kept[-count:])
