"""What is asked for against what is kept."""

import pytest

from storage import Bank, BankWriter, CorruptShard, Kept, SpecMismatch, array_layouts, part_layouts
from storage.growth import grown, needed_parts
from storage.places.local_place import LocalPlace
from tests.small_banks import clip_line, frozen_weights, row_values, small_spec, write_bank, write_shard

HERE = LocalPlace("/nowhere")


def names(spec, part):
    return {layout.name.removeprefix("features/") for layout in part_layouts(spec, part)}


def test_what_is_there_already_changes_nothing():
    have = small_spec(blocks=(1, 2, 3))
    for asked in (small_spec(blocks=(2, 3)), small_spec(blocks=(1,), attention="none"), have):
        assert grown(HERE, have, asked, grow=True) is have
        assert needed_parts(have, asked) == (0,)


def test_a_part_brings_only_what_is_missing():
    have = small_spec(blocks=(2, 3))
    found = grown(HERE, have, small_spec(blocks=(1, 2, 3)), grow=True)
    assert names(found, 1) == {"block01/out", "block01/map_prev", "block01/map_next"}
    assert found.blocks == (1, 2, 3)
    found = grown(HERE, found, small_spec(blocks=(3,), attention="qk"), grow=True)
    assert names(found, 2) == {"block03/q", "block03/k"}
    assert needed_parts(found, small_spec(blocks=(3,), attention="qk")) == (0, 2)


def test_derived_needs_weights_even_where_all_tokens_are_there():
    have = small_spec(blocks=(1, 2, 3))
    asked = small_spec(blocks=(2, 3), attention="derived")
    with pytest.raises(SpecMismatch, match="weights that q and k derive with"):
        grown(HERE, have, asked, grow=False)
    found = grown(HERE, have, asked, grow=True)
    assert names(found, 1) == set()
    assert found.attention(2) == "maps"


def test_another_type_is_refused():
    with pytest.raises(SpecMismatch, match=r"keeps features/block02/out as float16 for good, asked for int8"):
        grown(HERE, small_spec(), small_spec(dtype="int8"), grow=True)


def test_a_bank_grows_and_readers_of_before_go_on(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 3)
    old = Bank(path)
    before = old.read("features/block03/out", [0, 1, 2])
    more = small_spec(blocks=(1, 2, 3), attention="derived")
    with BankWriter(path, more, grow=True, weights=frozen_weights(more)) as writer:
        assert writer.parts == (0, 1)
        write_shard(path, 0, writer=writer, part=1)
    assert (old.read("features/block03/out", [0, 1, 2]) == before).all()
    bank = Bank(path)
    assert bank.spec.kept == (small_spec().kept[0], more.kept[0])
    for layout in array_layouts(bank.spec):
        assert (bank.read(layout.name, [2])[0] == row_values(bank.spec, 2)[layout.name]).all()
    assert bank.features(1, "k", [1]).shape == (1, 3, 7, 2, 8)


def test_a_record_is_of_its_part(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 1)
    (path / "shards/00000.1.json").write_bytes((path / "shards/00000.json").read_bytes())
    more = small_spec(attention="qk")
    with BankWriter(path, more, grow=True) as writer, pytest.raises(CorruptShard, match="shard 0 of part 0"):
        _ = writer.records


def test_block_zero_has_nothing_to_derive_from():
    with pytest.raises(ValueError, match="block 0 has none before it"):
        Kept(blocks=(0, 1), attention="derived")


def test_a_run_that_may_not_grow_leaves_the_bank_alone(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 1)
    before = (path / "zarr.json").read_bytes()
    with pytest.raises(SpecMismatch, match="--grow"):
        BankWriter(path, small_spec(attention="qk"))
    with BankWriter(path, small_spec()) as writer:
        assert writer.enrol([clip_line(9)]) == 1
    assert (path / "zarr.json").read_bytes() == before
