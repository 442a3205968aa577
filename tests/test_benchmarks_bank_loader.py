"""The benchmark of the batch loader, run small, and what interrupted children leave."""

import signal

import numpy as np
import pytest

from benchmarks.bank_loader import largest, measure
from benchmarks.interrupted import left_by, more
from benchmarks.sample_rows import SampleRows, write_bank

SMALL = SampleRows(clips=24, blocks=(0, 1), frames=2, grid=(2, 2), width=64)
NOTHING = {"threads": 0, "descriptors": 0, "children": 0}


def test_measures_both_and_what_is_left(tmp_path):
    figures = measure(SMALL, rounds=3, folder=tmp_path)
    assert 0.01 < figures["over_reader"] < 10
    assert 0 < figures["step_share"] < 1
    assert figures["growth_mb"] < 5
    assert figures["left"].items() >= NOTHING.items()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -9)])
def test_a_child_that_was_reading_leaves_nothing(tmp_path, sign, code):
    write_bank(tmp_path / "bank", SMALL)
    left = left_by(tmp_path / "bank", sign)
    assert left["exit_code"] == code
    assert left["processes"] == left["temporary_files"] == 0
    if sign == signal.SIGINT:
        assert left.items() >= NOTHING.items()
        assert left["seconds"] < 20


def test_a_child_that_does_not_read_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="to read, but it ended"):
        left_by(tmp_path, signal.SIGINT)


def test_more_is_what_was_added():
    assert more({"threads": 2, "children": 1}, {"threads": 5, "children": 1}) == {"threads": 3, "children": 0}


def test_largest_value_of_each_channel():
    tokens = np.random.default_rng(0).standard_normal((3, 2, 5, 8)).astype(np.float16)
    tokens[0, ..., 1] = -1
    tokens[1, 0, 0, 2] = np.inf
    np.testing.assert_array_equal(largest(tokens), np.maximum(tokens.max(axis=(1, 2)), 0).astype(np.float32))
