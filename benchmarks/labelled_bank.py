"""A bank to train from: sample rows with maps, and a label for each clip."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.sample_rows import SampleRows, bank_spec, facts_line, listing_line
from pipeline.keep import as_stored
from storage import MAPS, POOLED, ArrayLayout, BankWriter, ShardWriter, array_layouts, array_name

CLASSES = 10


def write_bank(path: Path, rows: SampleRows, dtype: str) -> None:
    """A bank of the rows with maps of equal shares, labelled by number."""
    spec = bank_spec(rows, attention="maps", dtype=dtype)
    layouts = {layout.name: layout for layout in array_layouts(spec)}
    shapes = {name: layout.row_shape for name, layout in layouts.items() if name.endswith(MAPS)}
    shares = {name: np.full(shape, 1 / shape[-1], np.float16) for name, shape in shapes.items()}
    maps = stored(shares, layouts)
    pooled = {POOLED: np.zeros((rows.frames, spec.backbone.embed), np.float16)}
    with BankWriter(path, spec) as writer:
        writer.enrol([listing_line(clip) | {"label": clip % CLASSES} for clip in range(rows.clips)])
        for shard, first in enumerate(range(0, rows.clips, writer.shard_rows)):
            clips = range(first, min(first + writer.shard_rows, rows.clips))
            with ShardWriter(path, shard, run=writer.run) as file:
                for clip in clips:
                    file.append(clip, stored(tokens_of(rows, clip), layouts) | maps | pooled)
                file.commit([facts_line(clip) for clip in clips], {})


def stored(
    values: Mapping[str, NDArray[np.float16]], layouts: Mapping[str, ArrayLayout]
) -> dict[str, np.ndarray]:
    """A row of some arrays in the types that the bank keeps, with their scales."""
    found: dict[str, torch.Tensor] = {}
    for name, value in values.items():
        found |= as_stored(name, torch.from_numpy(value).float(), layouts[name].dtype)
    return {name: value.numpy() for name, value in found.items()}


def tokens_of(rows: SampleRows, clip: int) -> dict[str, NDArray[np.float16]]:
    """A clip's tokens by array."""
    return {array_name(block, "out"): rows.row(clip, place) for place, block in enumerate(rows.blocks)}
