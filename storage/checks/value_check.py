"""Whether values that passed their checksums are values that an array may hold.

Checksums prove that bytes are those that were written, not that what was written makes sense. Here rows are
held to what their arrays mean: numbers that are finite, maps whose rows are shares of one, scales that scale
something.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from storage.layout import MAPS, ArrayLayout
from storage.quantize import dequantize_map

FLOAT16_ONE, FLOAT16_INFINITY = 0x3C00, 0x7C00
"""Bits of float16: among numbers without a sign the order of the bits is that of the values."""
SUM_TOLERANCE = {"float16": 2e-3, "uint8": 1e-2}
"""By how much a map's row may miss 1: rounding to float16 moves the sum by 2^-11 at most."""

Faults = Iterator[tuple[Any, str]]
"""Which of n rows have a fault, as (n,) booleans, and what it is."""


def first_fault(
    layout: ArrayLayout, values: np.ndarray, scales: Mapping[str, np.ndarray]
) -> tuple[int, str] | None:
    """The first fault among some rows of an array: which of the rows, and what is wrong; None without one.

    Args:
        layout: the array.
        values: (n, *row shape) as stored.
        scales: name of an array of scales to its values for the same n rows; without an array's scales only
            its own values are looked at.
    """
    for rows, what in faults(layout, values, scales):
        if rows.any():
            return int(np.argmax(rows)), what
    return None


def faults(layout: ArrayLayout, values: np.ndarray, scales: Mapping[str, np.ndarray]) -> Faults:
    """Every rule that the array is under, with the rows that break it."""
    if layout.dtype == "float16":
        bits = flat(values.view(np.uint16))
        yield (bits & 0x7FFF).max(1) >= FLOAT16_INFINITY, "has values that are not finite"
        if layout.name.endswith(MAPS):
            yield bits.max(1) > FLOAT16_ONE, "has shares of attention that are not between 0 and 1"
            shares = values.astype(np.float32)
            yield uneven(shares, layout.dtype), "has shares of attention that do not sum to 1"
    elif layout.dtype == "float32":
        yield ~np.isfinite(flat(values)).all(1), "has values that are not finite"
        yield (flat(values) < 0).any(1), "has negative scales"
    elif layout.dtype == "int8":
        yield from token_faults(layout.name, values, scales)
    elif f"{layout.name}_scale" in scales:
        shares = dequantize_map(values, scales[f"{layout.name}_scale"])
        yield uneven(shares, layout.dtype), "has shares of attention that, scaled, do not sum to 1"


def token_faults(name: str, values: np.ndarray, scales: Mapping[str, np.ndarray]) -> Faults:
    """A scale of zero is right where all that it scales is zero, and nowhere else."""
    for kind, axes in (("token_scale", (-1,)), ("channel_scale", (-3, -2))):
        found = scales.get(f"{name}_{kind}")
        if found is not None and not found.all():
            first = values if kind == "token_scale" else values[..., : found.shape[-1]]
            lost = (found == 0) & first.any(axis=axes)
            yield flat(lost).any(1), f"has values whose {kind.replace('_', ' ')} is 0"


def uneven(shares: np.ndarray, dtype: str) -> Any:
    """Whether in each row of (n, T-1, P, P) some patch's shares do not sum to 1."""
    return flat(abs(shares.sum(-1) - 1) > SUM_TOLERANCE[dtype]).any(1)


def flat(values: np.ndarray) -> np.ndarray:
    """(n, ...) as (n, everything else)."""
    return values.reshape(len(values), -1)
