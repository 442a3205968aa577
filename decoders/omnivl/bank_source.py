"""A bank's images and clips, as a model sees them that was trained from a bank of the same tower.

Rows of one frame are images, rows of as many frames as the adapter has positions in time are clips; others
the model cannot see. The blocks are those that it was trained on, though the bank may keep others by now.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing

import numpy as np
import torch

from decoders.dataset import Choice, FeatureReader, read_ahead, token_reader
from decoders.omnivl.finding.coarse import Layout
from decoders.omnivl.items import COLUMNS, Item, items_of
from decoders.omnivl.model import OmniVLModel
from decoders.omnivl.pretraining.bank_tier import frames_of
from decoders.omnivl.schedule import Kind
from decoders.omnivl.shown import Shown
from decoders.omnivl.visual import VisualOut
from storage import Bank
from storage.spec import differences


class BankSource:
    """The written images and clips of a bank.

    Args:
        split: those to take; empty takes all.

    Raises:
        ValueError: the bank's tower is not that which the model learned from, or it lacks blocks.
    """

    def __init__(self, model: OmniVLModel, bank: Bank, *, split: str = "") -> None:
        self.model, self.bank, self.split = model, bank, split
        _refuse_other_tower(model, bank)
        self.blocks = tuple(model.tier["blocks"])
        self.shown = Shown(bank=bank.path)
        self.failed: dict[str, str] = {}
        self.fingerprint, self.digest = bank.fingerprint, bank.digest

    def items(self, kind: Kind) -> list[Item]:
        """All images, or all clips, rows ascending."""
        table = self.bank.written(split=self.split, frames=self.frames(kind))
        return items_of(table.select(list(COLUMNS)).to_pylist(), kind)

    def frames(self, kind: Kind) -> int:
        """T of a kind's rows."""
        return frames_of(kind, self.model.config.adapter)

    def layout(self, kind: Kind) -> Layout:
        """How the tokens of an image, or of a clip, are laid out."""
        height, width = self.bank.spec.backbone.grid
        pool = self.model.config.adapter.pool
        return Layout(frames=self.frames(kind), grid=(height // pool, width // pool))

    def reader(self, kind: Kind) -> FeatureReader:
        """Tokens of the blocks that the model sees."""
        return token_reader(self.bank, self.blocks, self.frames(kind), self.model.device)

    def seen(
        self, items: Sequence[Item], batch: int
    ) -> Generator[tuple[Sequence[Item], VisualOut], None, None]:
        """Items of one kind in batches, read ahead, each with what the model sees of it."""
        if not items:
            return
        parts = [items[start : start + batch] for start in range(0, len(items), batch)]
        rows = [np.array([item.row for item in part], np.int64) for part in parts]
        choices: Iterator[Choice] = ((some, some) for some in rows)
        with closing(read_ahead(self.reader(items[0].kind), choices)) as found:
            for part, features in zip(parts, found, strict=True):
                with torch.no_grad():
                    visual = self.model.visual([block.out for block in features.features])
                yield part, visual


def _refuse_other_tower(model: OmniVLModel, bank: Bank) -> None:
    if model.tier["tier"] != "bank":
        raise ValueError(
            f"expected a model that learned from a bank, found that of {model.run}, which sees files; name "
            "some with --sources"
        )
    lines = differences(bank.spec.backbone.to_json(), model.tier["backbone"])
    if missing := sorted(set(model.tier["blocks"]) - set(bank.spec.blocks)):
        lines.append(f"blocks: the bank has {list(bank.spec.blocks)}, asked for {missing}, too")
    if lines:
        raise ValueError(
            f"{bank.path} is no bank that the model of {model.run} can see; extract one with its tower and "
            "blocks:\n  " + "\n  ".join(lines)
        )
