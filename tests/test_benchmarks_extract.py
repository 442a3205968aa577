"""The parts of the benchmark of whole extractions, on a small bank."""

from pathlib import Path

import pytest

from benchmarks.extract import (
    SHARD_ROWS,
    config_of,
    decode_seconds,
    draw_video,
    extraction_seconds,
    write_seconds,
)
from storage import Bank
from tests.small_clips import write_config


@pytest.fixture
def config(tmp_path):
    (tmp_path / "videos").mkdir()
    for number in range(2 * SHARD_ROWS):
        draw_video(tmp_path / f"videos/{number}.mp4", number)
    return config_of(tmp_path, str(write_config(tmp_path / "tiny.json")), "fp32", size=64)


def test_the_first_shards_are_left_out_and_the_rest_is_counted(config, without_ray):
    seconds, clips = extraction_seconds(config, 1)
    assert clips == SHARD_ROWS
    assert 0 < seconds < 60


def test_a_bank_that_lacks_clips_is_no_measurement(config, without_ray):
    next(Path(config.source).iterdir()).write_bytes(b"")
    with pytest.raises(ValueError, match="not every clip was written"):
        extraction_seconds(config, 1)


def test_what_else_takes_time_is_measured_alone(config, without_ray, tmp_path):
    extraction_seconds(config, 1)
    assert 0 < decode_seconds(config) < 10
    assert 0 < write_seconds(config, tmp_path / "again") < 10
    assert sorted(Bank(tmp_path / "again").records) == [(0, 0), (0, 1)]
