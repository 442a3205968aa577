"""A folder as a place: the checks that every place passes."""

from pathlib import Path

import pytest

from storage.places.local_place import LocalPlace
from storage.places.place import open_place
from tests.place_contract import CHECKS


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_contract(tmp_path, check):
    check(LocalPlace(tmp_path / "bank"))


def test_which_place_a_location_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for location in ("bank", Path("bank"), tmp_path / "bank", f"file://{tmp_path}/bank"):
        assert str(open_place(location)) == str(tmp_path / "bank")
    with pytest.raises(ValueError, match=r"expected a folder or a URL that begins with file://, s3://"):
        open_place("ftp://somewhere/bank")


def test_a_place_may_not_exist_yet(tmp_path):
    place = LocalPlace(tmp_path / "not" / "yet")
    assert place.entries() == place.folders() == []
    assert place.free_bytes() > 0
    assert not (tmp_path / "not").exists()


def test_an_unpublished_file_is_seen_by_nobody(tmp_path):
    place = LocalPlace(tmp_path)
    writer = place.writer("folder/file")
    writer.write(b"data")
    with pytest.raises(FileNotFoundError):
        place.read("folder/file")
    writer.discard()
    assert place.entries() == []
