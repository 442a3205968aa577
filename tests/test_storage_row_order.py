"""The order is a function of seed and step, whole, and the same for any number of ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import RowOrder


@given(count=st.integers(1, 40), size=st.integers(1, 17), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_every_row_once_an_epoch(count, size, seed):
    rows = np.arange(count) * 3 + 1
    order = RowOrder(rows, seed)
    seen = np.concatenate(list(order.batches(range(4 * count), size)))
    for epoch in seen[: 4 * count].reshape(4, count):
        assert sorted(epoch) == rows.tolist()


@given(count=st.integers(1, 40), size=st.integers(1, 9), world=st.integers(1, 5), start=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_any_number_of_ranks_sees_the_same_batches(count, size, world, start):
    rows = np.arange(count)
    ranks = [RowOrder(rows, 7, rank=rank, world=world) for rank in range(world)]
    alone = RowOrder(rows, 7)
    for step in range(start, start + 6):
        shares = [order.batch(step, size) for order in ranks]
        assert np.concatenate(shares).tolist() == alone.batch(step, world * size).tolist()


@given(at=st.integers(0, 30), size=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_going_on_in_the_middle_of_an_epoch(at, size):
    rows = np.arange(23)
    whole = list(RowOrder(rows, 1).batches(range(40), size))
    rest = list(RowOrder(rows, 1).batches(range(at, 40), size))
    assert np.array_equal(np.array(whole[at:]), np.array(rest))


def test_epochs_and_seeds_differ():
    epochs = [RowOrder(np.arange(50), seed).batch(epoch, 50) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_each_epoch_draws_one_row_of_a_line():
    rows = np.arange(30).reshape(10, 3)
    order = RowOrder(rows, 0)
    drawn = np.zeros(30, int)
    for epoch in range(60):
        lines, found = order.drawn(epoch, 10)
        assert sorted(lines) == list(range(10))
        assert (found // 3 == lines).all()
        np.add.at(drawn, found, 1)
    assert drawn.min() > 5


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="found none"):
        RowOrder(np.array([], np.int64), 0)
    with pytest.raises(ValueError, match="a rank from 0 to 1 in a world of 2, found 2"):
        RowOrder(np.arange(3), 0, rank=2, world=2)
