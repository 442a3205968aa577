"""What the doctor says of a bank's place: folders and buckets, good, slow, full, closed and misbehaving."""

import time
from types import SimpleNamespace

import pytest

from pipeline import doctor, place_checks
from pipeline.disk_rate import DiskRate
from storage import open_place
from storage.places.local_place import LocalPlace
from tests import s3_server
from tests.s3_server import clear_credentials, fresh_url
from tests.told_findings import only, told

server, front = s3_server.server, s3_server.front


def test_a_folder_can_be_used_and_is_left_as_it_was(tmp_path):
    found = place_checks.place_findings(str(tmp_path / "bank"), quick=True)
    assert [finding.check for finding in found] == ["access", "room", "disk rate", "clocks"]
    told(found[0], "PASS", "exchanged under a condition")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written():
    found = only(place_checks.place_findings("/proc/nowhere/bank", quick=True))
    told(found, "FAIL", "/proc/", "ls -ld")


def test_a_bucket_can_be_used_and_is_left_as_it_was(front):
    url = fresh_url()
    found = place_checks.place_findings(url, quick=True)
    assert [finding.check for finding in found] == ["access", "room", "disk rate", "clocks"]
    told(found[0], "PASS", url)
    told(found[1], "PASS", "no bound")
    assert open_place(url).entries() == []


def test_a_bucket_that_refuses(front, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    told(only(place_checks.place_findings(fresh_url(), quick=True)), "FAIL", "403", "AWS_PROFILE")


def test_a_bucket_without_credentials(monkeypatch, capsys):
    clear_credentials(monkeypatch)
    told(only(place_checks.place_findings(fresh_url(), quick=True)), "FAIL", "no credentials were found")
    doctor.refuse_unknown(fresh_url())  # a finding, not a wrong request


@pytest.mark.parametrize(
    ("method", "does", "words"),
    [
        ("read", lambda self, name: b"other", "not what is read back"),
        ("swap", lambda self, name, expected, data: False, "refused although its condition held"),
        ("remove", lambda self, names: None, "still there"),
    ],
)
def test_places_that_misbehave(monkeypatch, tmp_path, method, does, words):
    monkeypatch.setattr(LocalPlace, method, does)
    told(only(place_checks.allowed(str(tmp_path))), "FAIL", words, "conditional exchanges")


def test_a_place_without_conditions(monkeypatch, tmp_path):
    def swap(self, name, expected, data):
        self.write(name, data)
        return True

    monkeypatch.setattr(LocalPlace, "swap", swap)
    told(only(place_checks.allowed(str(tmp_path))), "FAIL", "although its condition did not hold")


@pytest.mark.parametrize(
    ("write", "read", "status"), [(5e8, 7e8, "PASS"), (5e7, 7e8, "WARN"), (5e8, 7e7, "WARN")]
)
def test_the_disks_rate(monkeypatch, tmp_path, write, read, status):
    rate = DiskRate(write=write, read=read, cold=False)
    monkeypatch.setattr(place_checks, "measure_disk", lambda place, size: rate)
    said = f"write {write / 1e6:.0f} MB/s synced, read {read / 1e6:.0f} MB/s (from a cache, as it seems)"
    told(only(place_checks.disk(str(tmp_path), quick=True)), status, said, f"{read / 14e6:.0f} clips/s")


@pytest.mark.parametrize(("free", "status"), [(10**11, "PASS"), (10**10, "WARN"), (10**8, "FAIL")])
def test_room(monkeypatch, tmp_path, free, status):
    monkeypatch.setattr(LocalPlace, "free_bytes", lambda self: free)
    told(only(place_checks.room(str(tmp_path))), status, f"{free / 1e9:.1f} GB free at {tmp_path}")


@pytest.mark.parametrize(("skew", "status"), [(0, "PASS"), (60, "WARN"), (-60, "WARN"), (1000, "FAIL")])
def test_clocks(monkeypatch, tmp_path, skew, status):
    now = time.time
    monkeypatch.setattr(place_checks, "time", SimpleNamespace(time=lambda: now() + skew))
    told(only(place_checks.clock(str(tmp_path))), status, f"{abs(skew) - 1} s" if skew else "agree")
