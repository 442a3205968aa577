"""Tokens as int8 and attention maps as uint8, with their scales as plain arrays.

A CLIP tower has a few channels that are 50 to 100 times larger than the rest, and a CLS token that is larger
than the patches. One scale per token drowns the small channels, one per channel drowns the patches. So a
value has two, token_scale[t, l] * channel_scale[c]: a channel's is its largest value over the lengths of the
tokens, a token's its largest value over the scales of the channels, and no value is clipped. Few as they are,
the largest channels make up most of what a LayerNorm leaves of a token, so the 8 with the largest scales have
a second digit, another int8 that divides a step into 254: that makes them as good as float16 for 1 % more
bytes. They do not count in the lengths, as long as there is anything else.

How far logits move from those of float16, and how many of 600 held-out clips keep their top-1, on a tiny
CLIP's tokens and on the same with outliers injected (3 channels times 100, CLS times 50); the worse of a
decoder of appearance and one of motion, both trained on float16. MB are a clip's of ViT-B/16, 8 frames and 4
blocks, maps included:

    scales per                         MB    real              injected
    token and channel, second digits   7.13  0.40 %   99.8 %    0.11 %   99.7 %
    token and channel                  7.08  0.43 %  100.0 %    0.39 %   99.3 %
    the same, equal mean squares       7.08  0.85 %  100.0 %    1.13 %   99.3 %
    32 channels of a token             7.65  0.50 %   99.7 %    1.97 %   97.0 %
    64 channels of a token             7.35  0.57 %   99.7 %    2.37 %   96.3 %
    token                              7.07  0.58 %   99.8 %    3.74 %   95.8 %
    channel                            7.06  0.48 %   99.8 %    28.0 %   75.0 %

Decoders that are trained on int8 reach the accuracy of those trained on float16: over 3 seeds the means
differ by 0.0 points for appearance and 0.3 for motion. Scales that clip gained nothing; further sweeps over
both factors, error diffusion over patches or frames, and logarithmic levels lost. (`python -m
benchmarks.bank_bytes` measures all this.)

A map's row is mostly small shares beside a few large ones. What is stored is the root of a share over the
row's largest, and the scale makes a row sum to 1. The logits move by 0.002 %, with shares instead of roots by
0.004 %, with logarithms by 0.006 %: next to the tokens' all the same.

The functions take numpy arrays and torch tensors, on any device, and give the same bytes for both: scales
come from maxima and from sums of whole numbers, which do not depend on the order of summation. Decoding a
block of a ViT-B/16 row takes 3.9 ms on one core, casting it from float16 5.0 ms.
"""

import math
from collections.abc import Container, Mapping
from typing import Any

from array_api_compat import array_namespace, device

TOKEN_LEVELS = 127
DIGIT = 2 * TOKEN_LEVELS
"""A second digit's steps within one of the first."""
MAP_LEVELS = 255
FINE_CHANNELS = 8
"""Channels with a second digit; fewer where a token has fewer channels."""
LENGTH_LEVELS = 64
LEAST_SHARE = 1 / 64
"""Of a token's length, the least that its channels of one digit count for."""


def is_scale(name: str) -> bool:
    """Whether an array of this name holds scales of another."""
    return name.endswith("_scale")


def scales_of(name: str, names: Container[str]) -> list[str]:
    """The arrays of scales that belong to an array, among those there are; none where it holds floats."""
    scales = [f"{name}_{kind}" for kind in ("token_scale", "channel_scale", "scale")]
    return [scale for scale in scales if scale in names]


def decoded(name: str, arrays: Mapping[str, Any]) -> Any:
    """An array's values from what is stored of it and of its scales; one without scales as it is.

    Args:
        name: the array.
        arrays: (n, *row shape) by name, numpy or torch, the scales among them.
    """
    scales = [arrays[scale] for scale in scales_of(name, arrays)]
    if not scales:
        return arrays[name]
    return (dequantize_tokens if len(scales) == 2 else dequantize_map)(arrays[name], *scales)


def quantize_tokens(values: Any) -> tuple[Any, Any, Any]:
    """Tokens of whole rows as int8 with a scale per token and one per channel.

    Args:
        values: floats (..., T, L, C), numpy or torch, of magnitudes that float16 can hold.

    Returns:
        int8 (..., T, L, C + K): first digits of all channels, then second digits of the K largest; token
        scales (..., T, L) and channel scales (..., C), float32. Scales are 0 where all that they scale is 0.
        A token with a value that is not finite has the scale NaN, and the rest of its row is as if that token
        were 0.
    """
    xp = array_namespace(values)
    values = xp.astype(values, xp.float32, copy=False)
    finite = xp.isfinite(_largest(values, -1))
    values = xp.where(finite[..., None], values, xp.zeros_like(values[..., :1]))
    channel_scale = _channel_scales(values)
    values /= _divisor(channel_scale)[..., None, None, :]
    token_scale = _largest(values, -1) * (1 / TOKEN_LEVELS)
    values /= _divisor(token_scale)[..., None]
    first = xp.round(values)
    places = _fine_channels(channel_scale, fine_channels(values.shape[-1]))[..., None, None, :]
    second = xp.round(DIGIT * xp.take_along_axis(values - first, places, axis=-1))
    nan = xp.full_like(token_scale, float("nan"))
    levels = xp.astype(xp.concat([first, second], axis=-1), xp.int8)
    return levels, xp.where(finite, token_scale, nan), channel_scale


def dequantize_tokens(values: Any, token_scale: Any, channel_scale: Any) -> Any:
    """Tokens (..., T, L, C), float32, of what `quantize_tokens` returned; NaN where a scale is NaN."""
    xp = array_namespace(token_scale)
    width = channel_scale.shape[-1]
    tokens = xp.astype(values[..., :width], xp.float32)
    tokens *= token_scale[..., None]
    tokens *= channel_scale[..., None, None, :]
    places = _fine_channels(channel_scale, values.shape[-1] - width)
    fine = xp.astype(values[..., width:], xp.float32) * token_scale[..., None]
    fine *= (xp.take_along_axis(channel_scale, places, axis=-1) * (1 / DIGIT))[..., None, None, :]
    _add_to_channels(tokens, places, fine)
    return tokens


def fine_channels(width: int) -> int:
    """How many of a token's C channels have a second digit."""
    return min(FINE_CHANNELS, width)


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


def _channel_scales(values: Any) -> Any:
    """(..., C): each channel's largest value over the lengths of tokens, their largest channels left out."""
    xp = array_namespace(values)
    lengths = _lengths(values)
    peaks = _largest(values / _divisor(lengths)[..., None], (-3, -2))
    places = _fine_channels(peaks, fine_channels(values.shape[-1]))
    largest = xp.any(places[..., None] == xp.arange(values.shape[-1], device=device(values)), axis=-2)
    rest = _lengths(xp.where(largest[..., None, None, :], xp.zeros_like(values[..., :1]), values))
    return _largest(values / _divisor(xp.maximum(rest, lengths * LEAST_SHARE))[..., None], (-3, -2))


def _fine_channels(channel_scale: Any, count: int) -> Any:
    """(..., K) numbers of the channels of the largest scales, of equal ones the first."""
    xp = array_namespace(channel_scale)
    return xp.argsort(channel_scale, axis=-1, descending=True, stable=True)[..., :count]


def _add_to_channels(tokens: Any, places: Any, values: Any) -> None:
    """Add values (..., T, L, K) to the channels `places` (..., K) of tokens (..., T, L, C), in place."""
    xp = array_namespace(tokens)
    count = math.prod(tokens.shape[:-3])
    rows = xp.reshape(tokens, (count, *tokens.shape[-3:]), copy=False)
    row = xp.arange(count, device=device(tokens))[:, None]
    added = xp.permute_dims(xp.reshape(values, (count, *values.shape[-3:])), (0, 3, 1, 2))
    rows[row, :, :, xp.reshape(places, (count, places.shape[-1]))] += added


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
