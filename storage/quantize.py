"""Tokens as int8 and attention maps as uint8, with their scales as plain arrays.

A CLIP tower has a few channels that are 50 to 100 times larger than the rest, and a CLS token that is larger
than the patches. One scale per token drowns the small channels, one per channel drowns the patches. So a value
has two scales, token_scale[t, l] * channel_scale[c]: a channel's is its largest value over the lengths of the
tokens, a token's its largest value over the scales of the channels, and no value is clipped.

A map's row is mostly small shares beside a few large ones, so what is stored is the root of a share over the
row's largest, and the scale makes a row sum to 1 exactly.

The functions take numpy arrays and torch tensors, on any device, and give the same bytes for both: scales come
from maxima and from sums of whole numbers, which do not depend on the order of summation.
"""

from typing import Any

from array_api_compat import array_namespace

TOKEN_LEVELS = 127
MAP_LEVELS = 255
LENGTH_LEVELS = 64


def quantize_tokens(values: Any) -> tuple[Any, Any, Any]:
    """Tokens of whole rows as int8 with a scale per token and one per channel.

    Args:
        values: floats (..., T, L, C), numpy or torch, of magnitudes that float16 can hold.

    Returns:
        int8 (..., T, L, C), token scales (..., T, L) and channel scales (..., C), both float32. Scales are 0
        where all that they scale is 0. A token with a value that is not finite has the scale NaN, and the
        rest of its row is as if that token were 0.
    """
    xp = array_namespace(values)
    values = xp.astype(values, xp.float32, copy=False)
    finite = xp.isfinite(_largest(values, -1))
    values = xp.where(finite[..., None], values, xp.zeros_like(values[..., :1]))
    channel_scale = _largest(values / _divisor(_lengths(values))[..., None], (-3, -2))
    values /= _divisor(channel_scale)[..., None, None, :]
    token_scale = _largest(values, -1) * (1 / TOKEN_LEVELS)
    values /= _divisor(token_scale)[..., None]
    nan = xp.full_like(token_scale, float("nan"))
    return xp.astype(xp.round(values), xp.int8), xp.where(finite, token_scale, nan), channel_scale


def dequantize_tokens(values: Any, token_scale: Any, channel_scale: Any) -> Any:
    """Tokens (..., T, L, C), float32, of what `quantize_tokens` returned; NaN where a scale is NaN."""
    xp = array_namespace(token_scale)
    tokens = xp.astype(values, xp.float32)
    tokens *= token_scale[..., None]
    tokens *= channel_scale[..., None, None, :]
    return tokens


def quantize_map(values: Any) -> tuple[Any, Any]:
    """Attention maps as uint8 with a scale per query.

    Args:
        values: floats (..., P, P), numpy or torch, none below 0; a row's sum is taken for 1.

    Returns:
        uint8 (..., P, P) and scales (..., P), float32: 0 for a row of zeros, NaN for a row with a value that
        is not finite.
    """
    xp = array_namespace(values)
    values = xp.astype(values, xp.float32, copy=False)
    top = xp.max(values, axis=-1)
    finite = xp.isfinite(top)
    shares = xp.where(finite[..., None], values, xp.zeros_like(values[..., :1])) / _divisor(top)[..., None]
    roots = xp.round(xp.sqrt(xp.astype(shares, xp.float64)) * MAP_LEVELS)
    squares = xp.astype(roots, xp.int32) ** 2
    total = xp.astype(xp.sum(squares, axis=-1, dtype=xp.int64), xp.float32)
    scale = xp.where(total > 0, 1 / _divisor(total), total)
    return xp.astype(roots, xp.uint8), xp.where(finite, scale, xp.full_like(scale, float("nan")))


def dequantize_map(values: Any, scale: Any) -> Any:
    """Maps (..., P, P), float32, of what `quantize_map` returned: rows sum to 1, and are NaN where the scale
    is.
    """
    xp = array_namespace(scale)
    shares = xp.astype(values, xp.float32)
    shares *= shares
    shares *= scale[..., None]
    return shares


def _lengths(values: Any) -> Any:
    """Euclidean lengths (..., L) of tokens (..., L, C), to about a thousandth, but the same to the bit in
    whatever order they are summed: what is summed are whole numbers.
    """
    xp = array_namespace(values)
    unit = _largest(values, -1) * (1 / LENGTH_LEVELS)
    levels = xp.round(values / _divisor(unit)[..., None])
    levels *= levels
    squares = xp.astype(xp.sum(levels, axis=-1), xp.float64)
    return xp.astype(xp.sqrt(squares), xp.float32) * unit


def _largest(values: Any, axis: int | tuple[int, ...]) -> Any:
    """The largest magnitude along `axis`; NaN where there is one."""
    xp = array_namespace(values)
    return xp.maximum(xp.max(values, axis=axis), -xp.min(values, axis=axis))


def _divisor(values: Any) -> Any:
    """The same with 1 in place of all that one cannot divide by."""
    xp = array_namespace(values)
    return xp.where(values > 0, values, xp.ones_like(values))
