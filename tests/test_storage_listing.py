"""Listings: written once, vouched for by a record, rows shared by twins."""

import pytest

from storage import Bank, BankWriter, CorruptShard
from storage.listing import listing_files, read_listing
from storage.places.local_place import LocalPlace
from tests.small_banks import clip_line, small_spec, write_bank, write_shard


def test_a_table_without_its_record_does_not_count(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 2)
    (path / "clips/00001.parquet").write_bytes(b"a run died here")
    assert read_listing(LocalPlace(path), 3).num_rows == 2
    with BankWriter(path, small_spec()) as writer:
        assert writer.enrol([clip_line(7)]) == 1
    assert read_listing(LocalPlace(path), 3).num_rows == 3
    assert len(listing_files(LocalPlace(path))) == 2


@pytest.mark.parametrize("name", ["clips/00000.parquet", "clips/00000.json"])
def test_damage_is_refused(tmp_path, name):
    path = tmp_path / "bank"
    write_bank(path, 2)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 8
    (path / name).write_bytes(data)
    with pytest.raises(CorruptShard, match="restore it from a copy"):
        _ = Bank(path).listing


def test_twins_share_rows_across_listings_and_views(tmp_path):
    path, spec = tmp_path / "bank", small_spec(views=2)
    with BankWriter(path, spec, shard_rows=4) as writer:
        first, second, third = (clip_line(number) for number in range(3))
        writer.enrol([first, second, third], {third["key"]: first["key"]})
        assert writer.listing["row"].to_pylist() == [0, 2, 0]
        later = clip_line(3, split="test")
        writer.enrol([later, clip_line(4)], {later["key"]: second["key"]})
        assert writer.listing["row"].to_pylist() == [0, 2, 0, 2, 4]
        for shard in range(2):
            write_shard(path, shard, writer=writer)
    bank = Bank(path)
    assert bank.rows().tolist() == [0, 1, 2, 3, 4, 5]
    assert bank.rows(split="test").tolist() == [2, 3]
    assert bank.table["row"].to_pylist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    assert bank.table["key"].to_pylist()[6:8] == [later["key"]] * 2
