"""Statistics of values, of numpy and torch alike, and merged over rows."""

import numpy as np
import pytest
import torch

from storage.statistics import merged, row_statistics


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_they_are_those_of_the_values(library):
    values = np.random.default_rng(0).normal(3, 2, (4, 5, 6)).astype(np.float32)
    for found, row in zip(row_statistics(library(values)), values, strict=True):
        assert found.count == 30
        assert found.mean == pytest.approx(row.mean(), rel=1e-5)
        assert found.deviation == pytest.approx(row.std(), rel=1e-4)
        assert (found.low, found.high) == (row.min(), row.max())


def test_merged_they_are_those_of_all_values():
    parts = [np.random.default_rng(i).normal(i, 1, (1, 10 + i)).astype(np.float32) for i in range(3)]
    found = merged([row_statistics(part)[0] for part in parts])
    whole = np.concatenate([part.reshape(-1) for part in parts])
    assert found.count == whole.size
    assert found.mean == pytest.approx(whole.mean(), rel=1e-5)
    assert found.deviation == pytest.approx(whole.std(), rel=1e-4)
    assert found.to_json().keys() == {"count", "mean", "square", "low", "high"}


def test_equal_values_have_no_deviation():
    assert row_statistics(np.full((1, 9), 0.1, np.float32))[0].deviation == pytest.approx(0, abs=1e-4)
