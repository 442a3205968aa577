"""The rows that the storage benchmarks write and read: one bank's worth of fp16 tokens, told apart by number.

Drawing a gigabyte of normal numbers would take longer than reading it ten times, so every row is the same
draw, rolled by a distance of its own. That is enough to see whether the right row came back, and no format
here compresses, so it changes no speed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage import POOLED, BackboneSpec, BankSpec, BankWriter, Kept, ShardWriter, array_name

Values = Sequence[Sequence[np.ndarray] | np.ndarray]
"""Of one batch: by block, then by clip, (T, L, C) fp16."""
Batch = tuple[Sequence[int], Values]
"""Clip numbers, and their values."""

BATCH = 8
EMBED = 512
_STRIDE = 97


@dataclass(frozen=True, kw_only=True)
class SampleRows:
    """Rows as a ViT-B/16 gives them for 8 frames, unless told otherwise."""

    clips: int
    """How many; a whole number of batches."""
    blocks: tuple[int, ...] = (8, 9, 10, 11)
    """Blocks kept of each clip."""
    frames: int = 8
    """T."""
    grid: tuple[int, int] = (14, 14)
    """(h, w), patches per frame."""
    width: int = 768
    """C, channels of a token."""

    def __post_init__(self) -> None:
        if self.clips < BATCH or self.clips % BATCH:
            raise ValueError(f"expected a multiple of {BATCH} clips, found {self.clips}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, L, C) of a row."""
        return self.frames, self.grid[0] * self.grid[1] + 1, self.width

    @property
    def row_bytes(self) -> int:
        """Bytes of one clip's one block."""
        return 2 * self._draw.size

    @property
    def bytes(self) -> int:
        """Bytes of all of them."""
        return self.clips * len(self.blocks) * self.row_bytes

    @property
    def names(self) -> list[str]:
        """One name per block, for formats that want one."""
        return [f"block{block:02d}" for block in self.blocks]

    def row(self, clip: int, place: int) -> NDArray[np.float16]:
        """(T, L, C) values of a clip's block, given by its place among the blocks."""
        return np.roll(self._draw, self._distance(clip, place)).reshape(self.shape)

    def clip(self, clip: int) -> list[NDArray[np.float16]]:
        """Every block of a clip."""
        return [self.row(clip, place) for place in range(len(self.blocks))]

    def check(self, batch: Batch) -> None:
        """Compare every value of a batch with what was written.

        Raises:
            ValueError: a row is not the one asked for.
        """
        clips, values = batch
        for place, block in enumerate(self.blocks):
            for clip, found in zip(clips, values[place], strict=True):
                if not np.array_equal(found, self.row(int(clip), place)):
                    raise ValueError(f"clip {clip}, block {block}: not the values that were written")

    def check_ends(self, clip: int, ends: Sequence[np.ndarray]) -> None:
        """As `check`, for the `row_ends` of every block of a clip."""
        for place, (block, found) in enumerate(zip(self.blocks, ends, strict=True)):
            if not np.array_equal(found, row_ends(self.row(clip, place))):
                raise ValueError(f"clip {clip}, block {block}: not the values that were written")

    def orders(self, seed: int) -> Iterator[NDArray[np.int64]]:
        """Endless passes, each (steps, BATCH) clip numbers: every clip once, in a random order of its own."""
        rng = np.random.default_rng(seed)
        while True:
            yield rng.permutation(self.clips).reshape(-1, BATCH)

    def _distance(self, clip: int, place: int) -> int:
        return _STRIDE * (clip * len(self.blocks) + place)

    @cached_property
    def _draw(self) -> NDArray[np.float16]:
        return _normal(int(np.prod(self.shape)))


def row_ends(values: np.ndarray) -> np.ndarray:
    """A copy of a row's first and last 8 values: enough to tell it from every other, and soon taken."""
    return np.concatenate([values[0, 0, :8], values[-1, -1, -8:]])


@lru_cache(maxsize=1)
def _normal(count: int) -> NDArray[np.float16]:
    return np.random.default_rng(0).standard_normal(count, dtype=np.float32).astype(np.float16)


def bank_spec(rows: SampleRows, **kept: Any) -> BankSpec:
    """A spec of which the rows could be; tokens only, unless `kept` says otherwise."""
    backbone = BackboneSpec(
        name="benchmark",
        weights="0" * 64,
        precision="fp32",
        quick_gelu=True,
        width=rows.width,
        heads=rows.width // 64 or 1,
        depth=max(rows.blocks) + 1,
        grid=rows.grid,
        embed=EMBED,
    )
    part = Kept(**({"blocks": rows.blocks, "attention": "none"} | kept))
    return BankSpec(backbone=backbone, frames=rows.frames, views=1, video={}, kept=(part,))


def write_bank(path: Path, rows: SampleRows) -> None:
    """A bank of the rows, in shards of the default size."""
    names = [array_name(block, "out") for block in rows.blocks]
    pooled = {POOLED: np.zeros((rows.frames, EMBED), np.float16)}
    with BankWriter(path, bank_spec(rows)) as writer:
        writer.enrol([listing_line(clip) for clip in range(rows.clips)])
        for shard, first in enumerate(range(0, rows.clips, writer.shard_rows)):
            clips = range(first, min(first + writer.shard_rows, rows.clips))
            with ShardWriter(path, shard, run=writer.run) as file:
                for clip in clips:
                    file.append(clip, dict(zip(names, rows.clip(clip), strict=True)) | pooled)
                file.commit([facts_line(clip) for clip in clips], {})


def listing_line(clip: int) -> dict[str, Any]:
    """A line of the listing."""
    labelling = {"key": f"{clip:06d}.mp4", "label": 0, "class_name": "", "split": "", "captions": []}
    return labelling | {"attributes": {}, "path": "", "offset": 0, "size": -1}


def facts_line(clip: int) -> dict[str, Any]:
    """What became of a row."""
    return {"row": clip, "view": 0, "outcome": "written", "reason": "", "content": f"{clip:064d}"}
