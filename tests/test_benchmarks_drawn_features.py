"""Drawn clips come with the right classes, decoders learn from what they are given."""

import numpy as np
import pytest
import torch

from benchmarks.drawn_features import LARGEST, draw_world, fit, logits, with_outliers


@pytest.fixture(scope="module")
def world():
    return draw_world(24, 12)


def test_shapes_and_classes(world):
    assert world.features.out.shape == (36, 8, 65, 128)
    assert world.features.map_prev.shape == world.features.map_next.shape == (36, 7, 64, 64)
    assert {world.features.out.dtype, world.features.map_prev.dtype} == {np.dtype(np.float16)}
    assert np.bincount(world.targets["motion"][:24]).tolist() == [2] * 12
    assert np.bincount(world.targets["motion"][24:]).tolist() == [1] * 12
    np.testing.assert_array_equal(world.held_out, np.arange(24, 36))
    np.testing.assert_array_equal(world.clips("motion").targets, world.targets["motion"][:24])


def test_outliers_are_where_they_are_said_to_be(world):
    found = with_outliers(world.features, seed=3).out.astype(np.float64)
    before = world.features.out.astype(np.float64)
    factors = np.median(found / np.where(before == 0, np.nan, before), axis=(0, 1))
    unit = np.median(factors[1:])
    assert abs(found).max() <= LARGEST
    assert np.log2(unit) == int(np.log2(unit))
    assert ((factors[1:] / unit).round(1) == 100).all(axis=0).sum() == 3
    assert ((factors[1:] / unit).round(1) == 1).all(axis=0).sum() == 125
    np.testing.assert_allclose(factors[0] / factors[1], 50, rtol=1e-2)


def test_a_change_is_made_of_every_row_and_of_what_was_asked(world):
    changed = world.features.changed(maps=lambda values: values.astype(np.float32) + 1)
    np.testing.assert_array_equal(changed.out, world.features.out)
    np.testing.assert_array_equal(changed.map_prev, world.features.map_prev.astype(np.float32) + 1)
    np.testing.assert_array_equal(changed.map_next, world.features.map_next.astype(np.float32) + 1)


def test_a_decoder_learns_and_the_seed_decides(world):
    rows = np.arange(24)
    one, two, other = (fit(world, "appearance", steps=25, seed=seed) for seed in (0, 0, 1))
    found = logits(one, world.features, rows)
    np.testing.assert_array_equal(found, logits(two, world.features, rows))
    assert not np.array_equal(found, logits(other, world.features, rows))
    targets = torch.from_numpy(world.targets["appearance"][rows])
    assert (found.argmax(1) == targets.numpy()).mean() > 0.5
    np.testing.assert_allclose(logits(one, world.features, rows[3:5]), found[3:5], atol=1e-4)
