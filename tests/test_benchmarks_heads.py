"""The benchmark of heads on one read, run small."""

import time

from benchmarks.heads import LIMITS, Network, Size, measure
from benchmarks.sample_rows import SampleRows

SMALL = Size(SampleRows(clips=16, blocks=(0, 1), frames=2, grid=(2, 2), width=64), 3, 1, heads=2, waits=0.5)


def test_measures_both_kinds_and_compares_losses(tmp_path):
    figures = measure(SMALL, dtype="int8", folder=tmp_path)
    assert figures["losses_equal"]
    assert figures["kinds"].keys() == LIMITS.keys()
    assert figures["bars"]["eight_over_sequential"] == LIMITS[figures["eight_over_sequential_kind"]]
    assert 0 < figures["eight_over_sequential"] < 10
    assert 0.5 <= figures["one_waits"] < 1
    assert 0.5 < figures["eight_over_one"] < 8
    assert not list(tmp_path.iterdir())


def test_a_network_keeps_its_rate():
    network, begun = Network(1000.0), time.perf_counter()
    for _ in range(3):
        network.wait(50)
    assert 0.15 <= time.perf_counter() - begun < 1
