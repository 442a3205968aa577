"""Names, shapes, chunks and shards: where in a bank a row of an array lies.

    BANK/
      zarr.json                        group attributes: format version, spec, fingerprint, rows per shard
      features/block08/out             (rows, T, L, C)     one Zarr array per tap and block
      features/block08/map_prev        (rows, T-1, P, P)   frame t's patches over frame t-1's, t = 1..T-1
      features/block08/map_next        (rows, T-1, P, P)   frame t's patches over frame t+1's, t = 0..T-2
      features/block08/q, k            (rows, T, L, H, D)  in place of the maps, with attention=qk
      features/pooled                  (rows, T, E)        the tower's final embedding per frame
      features/frames1/block08/out     (rows, 1, L, C)     the same of rows with another T, here images
      weights/block08/...              with attention=derived: what turns block 7's tokens into q and k
      clips/00000.parquet, .json       listing: which clip owns which rows, and its record
      shards/00042.json, .parquet      commit record of shard 42 and what became of its rows
      lease.json                       who is writing, while somebody is
      progress.json                    how far the last run came, for people

With int8, `out` has `out_token_scale` (rows, T, L) and `out_channel_scale` (rows, C) beside it, a uint8 map
its `map_prev_scale` (rows, T-1, P); see `storage.quantize`.

Inner chunk = one row of one array (what a training step reads). Shard = a fixed run of rows, all of one T:
unit of work, of writing and of commit. Arrays of every T count the same rows, and a shard has files only in
those of its own. The fill value is NaN (of scales, where values are integers), so that even a reader
that knows nothing of commit records sees absent rows as NaN and not as plausible zeros.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from storage.quantize import fine_channels
from storage.spec import BankSpec, Kept

SHARD_BYTES = 64 * 2**20
MAX_ROWS_PER_SHARD = 64
POOLED = "features/pooled"
MAPS = ("map_prev", "map_next")
WEIGHTS = ("ln_weight", "ln_bias", "q_weight", "q_bias", "k_weight", "k_bias")

Shapes = dict[str, tuple[tuple[int, ...], str]]
"""Array name to row shape and type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayLayout:
    """One array of a bank."""

    name: str
    """Path of the array within the bank's group."""
    row_shape: tuple[int, ...]
    """Shape of one row."""
    dtype: str
    """numpy's name of the element type, little-endian on disk."""
    frames: int = 0
    """T, frames of its rows."""
    part: int = 0
    """Which part of the bank keeps it."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, without its checksum."""
        return math.prod(self.row_shape) * np.dtype(self.dtype).itemsize

    @property
    def plain_name(self) -> str:
        """Its name without the folder of rows with another T than the spec's: what it holds."""
        return re.sub(r"^features/frames\d+/", "features/", self.name)

    @property
    def fill_value(self) -> float | int:
        """What stock readers see where there is no row."""
        return 0 if np.dtype(self.dtype).kind in "iu" else math.nan

    def shard_file(self, shard: int) -> str:
        """Path within the bank of the file that holds shard `shard`."""
        return "/".join([self.name, "c", str(shard), *["0"] * len(self.row_shape)])


def array_name(block: int, tap: str, frames: int | None = None) -> str:
    """Name of the array that keeps `tap` (out, q, k, map_prev, map_next) of a block.

    Args:
        frames: T of its rows where it is not the spec's (`Bank.array_name` takes any).
    """
    return f"{folder(frames)}/block{block:02d}/{tap}"


def pooled_name(frames: int | None = None) -> str:
    """Name of the array of embeddings; `frames` as for `array_name`."""
    return f"{folder(frames)}/pooled"


def folder(frames: int | None) -> str:
    """Where arrays lie whose rows have another T than the spec's; None: the spec's."""
    return "features" if frames is None else f"features/frames{frames}"


def weight_name(block: int, which: str) -> str:
    """Name of a frozen weight (see WEIGHTS) that q and k of a block derive with."""
    return f"weights/block{block:02d}/{which}"


def array_layouts(spec: BankSpec, lengths: Iterable[int] = ()) -> tuple[ArrayLayout, ...]:
    """Every array of rows of a bank with this spec; a later part brings only what earlier ones lack.

    Args:
        lengths: T of rows that there are beside the spec's.
    """
    found: dict[str, ArrayLayout] = {}
    for part, kept in enumerate(spec.kept):
        for frames in (spec.frames, *sorted(set(lengths) - {spec.frames})):
            for name, (shape, dtype) in part_shapes(spec, kept, frames).items():
                layout = ArrayLayout(name=name, row_shape=shape, dtype=dtype, frames=frames, part=part)
                found.setdefault(name, layout)
    return tuple(found.values())


def part_shapes(spec: BankSpec, kept: Kept, frames: int) -> Shapes:
    """The arrays that a part needs for rows of some frames, whether or not an earlier part brings them."""
    shapes: Shapes = {}
    for block in kept.token_blocks:
        shapes |= token_shapes(spec, kept, block, frames)
        if block in kept.blocks and frames > 1:  # a single frame has no neighbour
            shapes |= attention_shapes(spec, kept, block, frames)
    return shapes | {pooled_name(spec.other(frames)): ((frames, spec.backbone.embed), "float16")}


def token_shapes(spec: BankSpec, kept: Kept, block: int, frames: int) -> Shapes:
    """A block's tokens, with their scales where they are integers."""
    name, width = array_name(block, "out", spec.other(frames)), spec.backbone.width
    shape = (frames, spec.tokens, width)
    if kept.dtype == "float16":
        return {name: (shape, "float16")}
    return {
        name: ((*shape[:2], width + fine_channels(width)), "int8"),
        f"{name}_token_scale": (shape[:2], "float32"),
        f"{name}_channel_scale": ((width,), "float32"),
    }


def attention_shapes(spec: BankSpec, kept: Kept, block: int, frames: int) -> Shapes:
    """What is kept of a block's attention."""
    if kept.attention == "qk":
        heads = spec.backbone.heads
        shape = (frames, spec.tokens, heads, spec.backbone.width // heads)
        return {array_name(block, tap, spec.other(frames)): (shape, "float16") for tap in ("q", "k")}
    if kept.attention != "maps":
        return {}
    shape = (frames - 1, spec.patches, spec.patches)
    names = [array_name(block, tap, spec.other(frames)) for tap in MAPS]
    if kept.dtype == "float16":
        return {name: (shape, "float16") for name in names}
    return {name: (shape, "uint8") for name in names} | {
        f"{name}_scale": (shape[:2], "float32") for name in names
    }


def weight_shapes(spec: BankSpec) -> dict[str, tuple[int, ...]]:
    """The frozen weights that a bank with derived q and k holds, all fp32."""
    width = spec.backbone.width
    return {
        weight_name(block, which): (width, width) if which in ("q_weight", "k_weight") else (width,)
        for block in derived_blocks(spec)
        for which in WEIGHTS
    }


def derived_blocks(spec: BankSpec) -> tuple[int, ...]:
    """Blocks whose q and k can be recomputed."""
    found = {block for kept in spec.kept if kept.attention == "derived" for block in kept.blocks}
    return tuple(sorted(found))


def part_layouts(spec: BankSpec, part: int, frames: int = 0) -> list[ArrayLayout]:
    """The arrays that a part brought for rows of `frames` frames (0: the spec's)."""
    length = frames or spec.frames
    return [found for found in array_layouts(spec, [length]) if (found.part, found.frames) == (part, length)]


def row_bytes(spec: BankSpec) -> int:
    """Bytes of one row of the spec's T over all arrays."""
    return sum(layout.row_bytes for layout in array_layouts(spec))


def rows_per_shard(spec: BankSpec) -> int:
    """A whole number of clips, with the largest array's file near 64 MiB at the spec's T, at most 64 rows."""
    largest = max(layout.row_bytes for layout in array_layouts(spec))
    rows = min(MAX_ROWS_PER_SHARD, max(1, SHARD_BYTES // largest))
    return max(1, rows // spec.views) * spec.views
