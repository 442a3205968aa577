"""Ways to keep tokens and maps in a byte a value: the bank's own (`storage.quantize`) and what it is held
against.

Each function takes values as float16 has them and returns what comes back, in fp32.
"""

import numpy as np

from storage import dequantize_map, dequantize_tokens, quantize_map, quantize_tokens

LEVELS = 127
ROW = (-3, -2)
"""Axes of a row's tokens."""


def two_digits(values: np.ndarray) -> np.ndarray:
    """The bank's: a scale per token, one per channel, and a second digit for the largest channels."""
    return dequantize_tokens(*quantize_tokens(values))


def one_digit(values: np.ndarray) -> np.ndarray:
    """A scale per token and one per channel: its largest value over the lengths of the tokens."""
    values = values.astype(np.float32)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    channels = nonzero(abs(values / nonzero(lengths)).max(ROW, keepdims=True))
    return per_token(values / channels) * channels


def balanced(values: np.ndarray) -> np.ndarray:
    """A scale per token and one per channel that give each the same mean square, in two sweeps."""
    values = values.astype(np.float32)
    tokens, channels = np.float32(1), np.float32(1)
    for _ in range(2):
        tokens = nonzero(np.sqrt(((values / channels) ** 2).mean(-1, keepdims=True)))
        channels = nonzero(np.sqrt(((values / tokens) ** 2).mean(ROW, keepdims=True)))
    return per_token(values / channels) * channels


def per_token(values: np.ndarray) -> np.ndarray:
    """A scale per token."""
    return rounded(values, axis=-1)


def per_channel(values: np.ndarray) -> np.ndarray:
    """A scale per channel of a row."""
    return rounded(values, axis=ROW)


def per_group(values: np.ndarray, size: int = 32) -> np.ndarray:
    """A scale per group of `size` neighbouring channels of a token."""
    groups = values.reshape(*values.shape[:-1], -1, size)
    return rounded(groups, axis=-1).reshape(values.shape)


def rounded(values: np.ndarray, axis: int | tuple[int, ...]) -> np.ndarray:
    """To 255 levels between plus and minus the largest value along `axis`."""
    values = values.astype(np.float32)
    steps = nonzero(abs(values).max(axis, keepdims=True) / LEVELS)
    return np.round(values / steps) * steps


def nonzero(values: np.ndarray) -> np.ndarray:
    """The same with 1 in place of 0."""
    return np.where(values > 0, values, np.float32(1))


def root_map(values: np.ndarray) -> np.ndarray:
    """The bank's: roots of shares over the row's largest, decoded so that a row sums to 1."""
    return dequantize_map(*quantize_map(values))


def linear_map(values: np.ndarray) -> np.ndarray:
    """Shares over the row's largest, decoded so that a row sums to 1."""
    return as_shares(np.round(255 * over_top(values)))


def logarithmic_map(values: np.ndarray, octaves: int = 12) -> np.ndarray:
    """Logarithms over so many octaves below the row's largest, 0 for less; a row sums to 1."""
    depth = np.log2(np.maximum(over_top(values), 2.0**-30))
    levels = np.clip(np.round(255 + 255 / octaves * depth), 0, 255)
    return as_shares(np.where(levels > 0, np.exp2((levels - 255) * octaves / 255), 0))


def over_top(values: np.ndarray) -> np.ndarray:
    """Shares over the largest of their row."""
    values = values.astype(np.float32)
    return values / values.max(-1, keepdims=True)


def as_shares(values: np.ndarray) -> np.ndarray:
    """Rows that sum to 1."""
    return (values / values.sum(-1, keepdims=True)).astype(np.float32)
