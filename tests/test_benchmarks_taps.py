"""The benchmark of the taps, run small."""

from benchmarks.taps import measure
from tests.small_clips import write_config


def test_measures_both_and_their_ratio(tmp_path):
    figures = measure(str(write_config(tmp_path / "small.json")), pairs=2)
    assert figures["taps_seconds"] > 0
    assert figures["encode_image_seconds"] > 0
    assert 0.1 < figures["taps_over_encode_image"] < 10
