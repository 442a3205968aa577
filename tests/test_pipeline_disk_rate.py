"""The disk's rate: measured where the bank will lie, and nothing is left there."""

import os

import pytest

from pipeline import disk_rate
from pipeline.disk_rate import BLOCK, existing, measure_disk, probe_place
from tests import s3_server
from tests.s3_server import fresh_url

server, front = s3_server.server, s3_server.front


def test_a_folder_is_measured_and_left_as_it_was(tmp_path):
    told = []
    with probe_place(str(tmp_path / "not" / "yet")) as place:
        assert str(place).startswith(str(tmp_path))
        rate = measure_disk(place, 2 * BLOCK, told.append)
    assert rate.write > 0
    assert rate.read > 0
    assert sum(told) == 4 * BLOCK
    assert os.listdir(tmp_path) == []


def test_the_nearest_folder_that_exists(tmp_path):
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path) == tmp_path


def test_a_cache_that_answers_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_rate, "bytes_fetched", lambda: 0)
    with probe_place(str(tmp_path)) as place:
        assert not measure_disk(place, BLOCK).cold


def test_a_disk_that_answers_is_believed(tmp_path, monkeypatch):
    counts = iter([0, BLOCK])
    monkeypatch.setattr(disk_rate, "bytes_fetched", lambda: next(counts))
    with probe_place(str(tmp_path)) as place:
        assert measure_disk(place, BLOCK).cold


def test_nothing_is_left_of_a_failure(tmp_path):
    with pytest.raises(ZeroDivisionError), probe_place(str(tmp_path)) as place:
        measure_disk(place, BLOCK, lambda count: 1 // 0)
    assert os.listdir(tmp_path) == []


def test_a_bucket_is_measured_and_left_as_it_was(front):
    from storage import open_place

    url = fresh_url()
    with probe_place(url) as place:
        assert str(place).startswith(f"{url}/")
        assert measure_disk(place, 2 * BLOCK).cold
    assert open_place(url).entries() == []
