"""Integers and scales give back tokens and maps, whatever the outliers, alike in numpy and torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import dequantize_map, dequantize_tokens, quantize_map, quantize_tokens
from storage.quantize import LEAST_SHARE, fine_channels

HALF = 0.5 * (1 + 1e-4)


@st.composite
def token_rows(draw):
    """Rows as float16 has them: outlier channels, a large CLS, zeros, from subnormal to near overflow."""
    shape = [draw(st.integers(1, largest)) for largest in (5, 5, 5, 40)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.standard_normal(shape) * 10.0 ** draw(st.integers(-8, 3))
    values[..., rng.integers(0, shape[-1], draw(st.integers(0, 3)))] *= draw(st.sampled_from([1, 100, 1e4]))
    values[..., 0, :] *= draw(st.sampled_from([0, 1, 50, 1e3]))
    values[..., rng.integers(0, shape[-1], draw(st.integers(0, 2)))] = 0
    return np.clip(values, -65504, 65504).astype(np.float16)


@st.composite
def map_rows(draw):
    """Maps from uniform ones to those that look at one patch."""
    patches = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = rng.standard_normal((2, 3, patches, patches)) * draw(st.sampled_from([0.0, 1.0, 5.0, 30.0]))
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return (shares / shares.sum(-1, keepdims=True)).astype(np.float32)


def relative(found, values):
    """(C,) length of the error of each channel over that of the channel."""
    axes = tuple(range(values.ndim - 1))
    return np.sqrt(((found - values) ** 2).sum(axes) / (values**2).sum(axes))


def as_numpy(arrays):
    return [array.numpy() for array in arrays]


@settings(deadline=None)
@given(token_rows())
def test_no_value_is_further_off_than_half_a_step(values):
    levels, token_scale, channel_scale = quantize_tokens(values)
    width, fine = values.shape[-1], fine_channels(values.shape[-1])
    assert (levels.dtype, levels.shape) == (np.int8, (*values.shape[:-1], width + fine))
    assert (token_scale.dtype, token_scale.shape) == (np.float32, values.shape[:-1])
    assert (channel_scale.dtype, channel_scale.shape) == (np.float32, (len(values), width))
    found = dequantize_tokens(levels, token_scale, channel_scale)
    step = token_scale[..., None].astype(np.float64) * channel_scale[:, None, None]
    largest = np.argsort(-channel_scale, axis=-1, kind="stable")[:, None, None, :fine]
    finer = np.ones_like(step)
    np.put_along_axis(finer, np.broadcast_to(largest, (*step.shape[:-1], fine)), 1 / 200, axis=-1)
    assert found.dtype == np.float32
    assert (abs(found - values.astype(np.float64)) <= step * finer * HALF).all()


@settings(deadline=None)
@given(token_rows())
def test_steps_are_no_larger_than_tokens_and_channels_need(values):
    levels, token_scale, channel_scale = quantize_tokens(values)
    lengths = np.linalg.norm(values.astype(np.float64), axis=-1)
    assert (token_scale <= lengths * 1.02 / 127).all()
    assert (channel_scale <= 1.02 / LEAST_SHARE).all()
    largest = abs(levels[..., : values.shape[-1]].astype(int))
    assert (largest.max(-1)[lengths > 0] == 127).all()
    assert (largest.max((1, 2))[channel_scale > 0] == 127).all()


@settings(deadline=None)
@given(token_rows())
def test_zeros_stay_zeros_with_scales_of_zero(values):
    levels, token_scale, channel_scale = quantize_tokens(values)
    found = dequantize_tokens(levels, token_scale, channel_scale)
    assert not found[values == 0].any()
    np.testing.assert_array_equal(token_scale == 0, ~values.any(-1))
    np.testing.assert_array_equal(channel_scale == 0, ~values.any((1, 2)))


@settings(deadline=None)
@given(token_rows())
def test_numpy_and_torch_give_the_same_bytes_for_tokens(values):
    stored = quantize_tokens(values)
    other = quantize_tokens(torch.from_numpy(values))
    for one, two in zip(stored, as_numpy(other), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(dequantize_tokens(*stored), dequantize_tokens(*other).numpy())


def test_outlier_channels_and_a_large_class_token_leave_the_rest_its_precision():
    values = np.random.default_rng(0).standard_normal((2, 8, 50, 64)).astype(np.float32)
    values[..., [3, 30, 60]] *= 100
    values[..., 0, :] *= 50
    found = dequantize_tokens(*quantize_tokens(values))
    patches = values[:, :, 1:]
    steps = abs(values).max(-1, keepdims=True) / 127
    per_token = (np.round(values / steps) * steps)[:, :, 1:]
    assert relative(found[:, :, 1:], patches).max() < 0.02
    assert relative(found[:, :, 1:], patches)[[3, 30, 60]].max() < 1e-4
    assert relative(per_token, patches).max() > 0.2


def test_first_digits_alone_are_off_by_half_a_step():
    values = np.random.default_rng(4).standard_normal((2, 3, 5, 24)).astype(np.float32)
    levels, token_scale, channel_scale = quantize_tokens(values)
    found = dequantize_tokens(levels[..., :24], token_scale, channel_scale)
    step = token_scale[..., None] * channel_scale[:, None, None]
    assert (abs(found - values) <= step * HALF).all()
    np.testing.assert_allclose(found, levels[..., :24] * step, rtol=1e-6)


def test_a_batch_is_quantised_row_by_row():
    values = np.random.default_rng(1).standard_normal((2, 3, 4, 5, 6)).astype(np.float32)
    whole = quantize_tokens(values)
    for place in np.ndindex(2, 3):
        for one, two in zip(whole, quantize_tokens(values[place]), strict=True):
            np.testing.assert_array_equal(one[place], two)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_token_that_is_not_finite_becomes_nan_and_no_other(bad):
    values = np.random.default_rng(2).standard_normal((2, 3, 4, 5)).astype(np.float32)
    values[0, 1, 2, 3] = bad
    for given_as in (values, torch.from_numpy(values)):
        levels, token_scale, channel_scale = quantize_tokens(given_as)
        found = np.asarray(dequantize_tokens(levels, token_scale, channel_scale))
        assert np.isnan(found[0, 1, 2]).all()
        assert np.isnan(found).sum() == 5
        assert np.isfinite(np.asarray(channel_scale)).all()


def test_absent_rows_are_nan():
    levels, scales = np.zeros((2, 3, 8), np.int8), np.full((2, 3), np.nan, np.float32)
    assert np.isnan(dequantize_tokens(levels, scales, np.full(4, np.nan, np.float32))).all()
    assert np.isnan(dequantize_map(np.zeros((2, 3, 3), np.uint8), scales)).all()


def test_no_rows_are_no_error():
    stored = quantize_tokens(np.zeros((0, 2, 3, 4), np.float32))
    assert dequantize_tokens(*stored).shape == (0, 2, 3, 4)
    assert dequantize_map(*quantize_map(np.zeros((0, 2, 3, 3), np.float32))).shape == (0, 2, 3, 3)


def test_inputs_are_left_alone():
    values = np.random.default_rng(3).random((2, 3, 4, 4)).astype(np.float32)
    before = values.copy()
    levels, *scales = quantize_tokens(values)
    shares, scale = quantize_map(values)
    kept = [array.copy() for array in (levels, *scales, shares, scale)]
    dequantize_tokens(levels, *scales)
    dequantize_map(shares, scale)
    np.testing.assert_array_equal(values, before)
    for one, two in zip((levels, *scales, shares, scale), kept, strict=True):
        np.testing.assert_array_equal(one, two)


@settings(deadline=None)
@given(map_rows())
def test_maps_come_back_as_shares_of_one(values):
    stored, scale = quantize_map(values)
    found = dequantize_map(stored, scale)
    assert (stored.dtype, scale.dtype, found.dtype) == (np.uint8, np.float32, np.float32)
    assert (stored.shape, scale.shape) == (values.shape, values.shape[:-1])
    np.testing.assert_allclose(found.astype(np.float64).sum(-1), 1, atol=1e-6)
    assert (stored.max(-1) == 255).all()


@settings(deadline=None)
@given(map_rows())
def test_roots_of_shares_are_no_further_off_than_half_a_step(values):
    stored, scale = quantize_map(values)
    top = values.max(-1, keepdims=True).astype(np.float64)
    undone = (stored / 255.0) ** 2 * top
    assert (abs(np.sqrt(undone) - np.sqrt(values)) <= np.sqrt(top) / 255 * HALF).all()
    drift = dequantize_map(stored, scale).astype(np.float64) * undone.sum(-1, keepdims=True) - undone
    assert abs(drift).max() < 1e-6


@settings(deadline=None)
@given(map_rows())
def test_numpy_and_torch_give_the_same_bytes_for_maps(values):
    stored = quantize_map(values)
    other = quantize_map(torch.from_numpy(values))
    for one, two in zip(stored, as_numpy(other), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(dequantize_map(*stored), dequantize_map(*other).numpy())


@pytest.mark.parametrize(("bad", "expected"), [(np.nan, np.nan), (np.inf, np.nan), (0.0, 0.0)])
def test_a_map_row_without_shares(bad, expected):
    values = np.full((2, 4, 4), 0.25, np.float32)
    values[1, 2] = bad
    for given_as in (values, torch.from_numpy(values)):
        stored, scale = quantize_map(given_as)
        found = np.asarray(dequantize_map(stored, scale))
        np.testing.assert_array_equal(found[1, 2], expected)
        np.testing.assert_array_equal(found[0], 0.25)
        np.testing.assert_array_equal(found[1, [0, 1, 3]], 0.25)
