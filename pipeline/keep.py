"""What of a batch's taps is kept, in the types that the bank stores, ready on the CPU.

Casting and quantising happen on the tower's device, so what crosses to the CPU is a half or a quarter of what
the tower computed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backbones.maps import cross_frame_maps
from backbones.taps import Taps
from storage import (
    MAPS,
    POOLED,
    ArrayLayout,
    Statistics,
    array_name,
    quantize_map,
    quantize_tokens,
    row_statistics,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """N rows as a shard takes them."""

    values: dict[str, np.ndarray]
    """Array name to (N, *row shape) in the storage type."""
    statistics: dict[str, list[Statistics]]
    """Array name to one entry per row, of the values before they were stored; not for scales."""

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def row(self, place: int) -> "KeptRow":
        """One row of them."""
        return KeptRow(
            values={name: values[place] for name, values in self.values.items()},
            statistics={name: found[place] for name, found in self.statistics.items()},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRow:
    """One row as a shard takes it."""

    values: dict[str, np.ndarray]
    statistics: dict[str, Statistics]


def keep(taps: Taps, rows: int, layouts: Sequence[ArrayLayout]) -> Kept:
    """The arrays of some rows from the tower's taps of their frames.

    Args:
        taps: of rows · T frames, frames of a row side by side.
        rows: N.
        layouts: the arrays to keep, of rows with T; arrays of scales come with those that they scale.
    """
    dtypes = {layout.name: layout.dtype for layout in layouts}
    names = {layout.plain_name: layout.name for layout in layouts}
    taken = kept_taps(taps, rows, names.keys())
    found = {names[name]: values.float() for name, values in taken.items() if name in names}
    statistics = {name: row_statistics(values) for name, values in found.items()}
    values: dict[str, np.ndarray] = {}
    for name, tensor in found.items():
        values |= {
            full: stored.cpu().numpy() for full, stored in as_stored(name, tensor, dtypes[name]).items()
        }
    return Kept(values=values, statistics=statistics)


def kept_taps(taps: Taps, rows: int, names: Collection[str]) -> dict[str, torch.Tensor]:
    """Tokens, attention and embedding by plain array name, (N, T, ...) each; maps only where they are
    wanted.
    """

    def by_row(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(0, (rows, -1))

    found = {POOLED: by_row(taps.pooled)}
    for block in taps.out:
        q, k = by_row(taps.q[block]), by_row(taps.k[block])
        found |= {array_name(block, "out"): by_row(taps.out[block])}
        found |= {array_name(block, "q"): q, array_name(block, "k"): k}
        maps = [array_name(block, tap) for tap in MAPS]
        if set(names) & set(maps):
            found |= dict(zip(maps, cross_frame_maps(q, k), strict=True))
    return found


def as_stored(name: str, values: torch.Tensor, dtype: str) -> dict[str, torch.Tensor]:
    """An array in its storage type, with its scales where it has any."""
    if dtype == "int8":
        integers, tokens, channels = quantize_tokens(values)
        return {name: integers, f"{name}_token_scale": tokens, f"{name}_channel_scale": channels}
    if dtype == "uint8":
        integers, scale = quantize_map(values)
        return {name: integers, f"{name}_scale": scale}
    return {name: values.half()}
