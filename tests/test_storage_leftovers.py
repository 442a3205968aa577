"""Which files of a bank are its own, which are left over, and which are nobody's business."""

import pytest

from storage import BankWriter, NotABank, open_place
from storage.checks.leftovers import find_leftovers, kind_of
from storage.places.names import temporary_name
from tests.small_banks import frozen_weights, small_spec, write_bank, write_shard


@pytest.fixture
def bank(tmp_path):
    write_bank(tmp_path / "bank", 3)
    return tmp_path / "bank"


def test_every_file_of_a_sound_bank_is_vouched_for(bank):
    more = small_spec(blocks=(1, 2), attention="derived")
    with BankWriter(bank, more, grow=True, weights=frozen_weights(more)) as writer:
        write_shard(bank, 0, writer=writer, part=1)
        found = find_leftovers(open_place(bank))
    assert (found.count, found.bytes, found.unknown) == (0, 0, [])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (temporary_name("zarr.json"), "temporary file"),
        (temporary_name("features/block02/out/c/0/0/0/0"), "temporary file"),
        ("features/pooled/c/12/0/0", "file of a shard that was not committed"),
        ("features/block11/map_prev_scale/c/12/0/0", "file of a shard that was not committed"),
        ("shards/00012.parquet", "file of a shard that was not committed"),
        ("shards/123456.3.parquet", "file of a shard that was not committed"),
        ("features/block11/q/zarr.json", "metadata of an array that was not added"),
        ("weights/block11/k_bias/c/0", "weight that was not added"),
        ("clips/00003.parquet", "listing that was not completed"),
    ],
)
def test_leftovers_are_told_by_their_names(bank, name, kind):
    assert kind_of(name) == kind
    (bank / name).parent.mkdir(parents=True, exist_ok=True)
    (bank / name).write_bytes(b"four")
    found = find_leftovers(open_place(bank))
    assert [(what, entries[0].name) for what, entries in found.orphans.items()] == [(kind, name)]
    assert (found.count, found.bytes) == (1, 4)


@pytest.mark.parametrize(
    "name",
    [
        "readme.txt",
        ".nfs0123",
        ".zarr.json.tmp",
        "notes/.draft.0123456789ab.txt",
        "features/notes.txt",
        "features/pooled/c/zarr.txt",
        "features/pooled/c/1/0/1",
        "features/block02/out/extra/c/1/0",
        "shards/backup.json",
        "shards/1.parquet",
        "shards/00001.json.bak",
        "clips/labels.csv",
        "weights/mine.pt",
        "zarr.json.old",
        "other/zarr.json",
    ],
)
def test_what_is_not_named_as_a_banks_own_is_no_leftover(bank, name):
    assert kind_of(name) == ""
    (bank / name).parent.mkdir(parents=True, exist_ok=True)
    (bank / name).write_text("mine")
    found = find_leftovers(open_place(bank))
    assert found.count == 0
    assert [entry.name for entry in found.unknown] == [name]
    assert (bank / name).read_text() == "mine"


def test_no_bank_has_no_leftovers(tmp_path):
    with pytest.raises(NotABank):
        find_leftovers(open_place(tmp_path))
