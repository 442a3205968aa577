"""The benchmark of reading, run small: every format gives the rows back, and the figures are there."""

import os
from collections.abc import Iterable

import numpy as np
import pytest

from benchmarks.bank_read import FORMATS, check_all, cold_rounds, measure, only_if_cold, timed, warm_figures
from benchmarks.disk import evict, read_through, work_folder
from benchmarks.rounds import ratio
from benchmarks.sample_rows import SampleRows, write_bank

SMALL = SampleRows(clips=16, blocks=(1, 2), frames=2, grid=(2, 3), width=64)
LEAVES_FILES_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ALL = [
    pytest.param(form, marks=LEAVES_FILES_OPEN if form.name == "webdataset" else (), id=form.name)
    for form in FORMATS
]
LIGHT = [form for form in FORMATS if form.name not in ("litdata", "tensorstore", "webdataset")]


@pytest.mark.parametrize("form", ALL)
def test_every_format_gives_back_what_was_written(form, tmp_path):
    if not form.installed:
        pytest.skip(f"{form.needs} is not installed")
    form.write(tmp_path / "files", SMALL)
    reader = form.open(tmp_path / "files", SMALL)
    orders = SMALL.orders(0)
    check_all(reader, next(orders), SMALL)
    assert timed(reader, next(orders), SMALL) > 0


def test_measures_all_and_cleans_up(tmp_path):
    figures = measure(SMALL, rounds=2, folder=tmp_path, formats=LIGHT)
    assert list(tmp_path.iterdir()) == []
    speeds = figures["gb_per_second"]
    assert speeds.keys() | figures["left_out"].keys() - {"cold"} == {form.name for form in LIGHT}
    assert {"framebank", "npy", "safetensors", "zarr"} <= speeds.keys()
    assert all(value > 0 for value in speeds.values())
    for name in ("npy", "safetensors", "zarr"):
        assert figures[f"over_{name}"] == pytest.approx(speeds["framebank"] / speeds[name], rel=1)
    assert figures["of_memory"] == pytest.approx(speeds["framebank"] / speeds["memory"], rel=1)
    assert ("cold_over_sequential" in figures) != ("cold" in figures["left_out"])


def test_the_first_pass_counts_in_the_ratios():
    seconds = {"framebank": [[4.0, 1.0, 1.0]] * 3, "npy": [[3.0], [6.0], [3.0]]}
    figures = warm_figures(seconds, 6 * 10**9)
    assert figures["over_npy"] == 1.5
    assert figures["first_over_npy"] == 0.75
    assert figures["later_over_npy"] == 3.0
    assert figures["gb_per_second"] == {"framebank": 3.0, "npy": 2.0}


def batch_of(clips: Iterable[int]) -> list[np.ndarray]:
    return [np.stack([SMALL.row(clip, place) for clip in clips]) for place in (0, 1)]


def test_a_wrong_value_is_noticed():
    values = batch_of(range(8))
    SMALL.check((range(8), values))
    values[1][7, 1, 3, 5] += 1
    with pytest.raises(ValueError, match="clip 7, block 2"):
        SMALL.check((range(8), values))


def test_a_wrong_row_is_noticed_while_timing():
    def shifted(order):
        for clips in (range(8), range(8, 16)):
            yield [(clip + 1) % 16 for clip in clips], batch_of(clips)

    with pytest.raises(ValueError, match="clip 1, block 1"):
        timed(shifted, next(SMALL.orders(0)), SMALL)


def test_a_pass_that_leaves_a_clip_out_is_noticed():
    def twice_the_same(order):
        for _ in order:
            yield range(8), batch_of(range(8))

    with pytest.raises(ValueError, match="every clip once"):
        timed(twice_the_same, next(SMALL.orders(0)), SMALL)


def test_cold_reads_are_of_as_many_bytes(tmp_path):
    write_bank(tmp_path / "bank", SMALL)
    figures = cold_rounds(tmp_path, SMALL, 2)
    speeds = figures["cold"]
    expected = speeds["gb_per_second"] / speeds["sequential_gb_per_second"]
    assert figures["cold_over_sequential"] == pytest.approx(expected, rel=0.9)
    assert (tmp_path / "sequential").stat().st_size == SMALL.bytes


def test_cold_figures_are_left_out_where_the_disk_was_not_read():
    figures = {"cold_over_sequential": 1.0, "cold": {"share_read_from_disk": 0.95}}
    assert only_if_cold(figures) == (figures, {})
    figures["cold"]["share_read_from_disk"] = 0.3
    assert only_if_cold(figures) == ({}, {"cold": "only 30% of the bytes came from the disk"})


def test_ratio_is_the_median_of_rounds():
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == 2.0


def test_no_room_is_said_at_once(tmp_path):
    with pytest.raises(OSError, match="the benchmark needs"), work_folder(tmp_path, 10**18):
        pass
    assert list(tmp_path.iterdir()) == []


def test_evicting_keeps_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(10_000))
    before = path.read_bytes()
    evict([path])
    assert path.read_bytes() == before
    assert read_through(path, block=4096) == 10_000
