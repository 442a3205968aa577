"""What rivals give back is what their scales can hold."""

import numpy as np
import pytest

from benchmarks import rival_scales as rivals

TOKENS = (
    rivals.two_digits,
    rivals.one_digit,
    rivals.balanced,
    rivals.per_token,
    rivals.per_channel,
    rivals.per_group,
)
MAPS = (rivals.root_map, rivals.linear_map, rivals.logarithmic_map)


@pytest.mark.parametrize("change", TOKENS, ids=lambda change: change.__name__)
def test_plain_tokens_survive_and_zeros_stay(change):
    values = np.random.default_rng(0).standard_normal((2, 3, 5, 64)).astype(np.float16)
    values[1, 2, 3] = 0
    values[1, ..., 9] = 0
    found = change(values)
    assert found.dtype == np.float32
    assert 0 < np.linalg.norm(found - values) / np.linalg.norm(values.astype(np.float32)) < 0.02
    assert not found[values == 0].any()


@pytest.mark.parametrize(
    ("change", "axes"), [(rivals.per_token, -1), (rivals.per_channel, (-3, -2))], ids=["token", "channel"]
)
def test_steps_are_those_of_the_largest_value(change, axes):
    values = np.random.default_rng(1).standard_normal((2, 3, 5, 8)).astype(np.float32)
    steps = abs(values).max(axes, keepdims=True) / 127
    assert (abs(change(values) - values) <= steps * 0.501).all()
    np.testing.assert_allclose(change(values) / steps, np.round(values / steps), atol=1e-3)


def test_a_group_is_blind_to_the_others():
    values = np.random.default_rng(2).standard_normal((1, 1, 1, 64)).astype(np.float32)
    values[..., 0] = 1e4
    error = abs(rivals.per_group(values) - values)[0, 0, 0]
    assert error[:32].max() > 0.5
    assert error[32:].max() < 0.02


def test_two_factors_survive_what_one_does_not():
    values = np.random.default_rng(3).standard_normal((2, 4, 9, 64)).astype(np.float32)
    values[..., 5] *= 100
    values[..., 0, :] *= 50

    def error(change):
        kept = np.arange(64) != 5
        patches = values[:, :, 1:, kept]
        return np.linalg.norm(change(values)[:, :, 1:, kept] - patches) / np.linalg.norm(patches)

    assert max(error(change) for change in (rivals.two_digits, rivals.balanced)) < 0.02
    assert min(error(change) for change in (rivals.per_token, rivals.per_channel)) > 0.1


@pytest.mark.parametrize("change", MAPS, ids=lambda change: change.__name__)
def test_maps_come_back_as_shares(change):
    values = np.random.default_rng(4).dirichlet(np.full(30, 0.3), (2, 3, 30)).astype(np.float16)
    found = change(values)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert abs(found - values).max() < 0.02
