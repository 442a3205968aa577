"""The benchmark of the engine, run small; and its one formula on stays made by hand."""

import pytest

from benchmarks.engine import busy_share, measure


def test_measures_all(ray_cluster):
    figures = measure(((2, 0.05, 40),), (1, 40))
    assert figures["busy"].keys() == {"2"}
    assert 0.1 < figures["busy"]["2"] <= 1
    assert figures["limit_shards_per_second"] > 1
    assert figures["engine_ms_per_shard"] == pytest.approx(1e3 / figures["limit_shards_per_second"], rel=0.02)


def test_the_share_counts_from_the_last_start_to_the_first_end():
    stays = [(1, 0.0, 4.0), (1, 5.0, 9.0), (2, 3.0, 6.0), (2, 6.0, 8.0)]
    assert busy_share(stays) == pytest.approx((1 + 3 + 5) / 10)


def test_encoders_that_were_never_all_at_work():
    with pytest.raises(ValueError, match="never all at work"):
        busy_share([(1, 0.0, 1.0), (2, 2.0, 3.0)])
