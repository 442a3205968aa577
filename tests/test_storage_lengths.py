"""Rows of several T in one bank: which rows they get, where they lie, what a reader is told."""

import json
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from storage import (
    Bank,
    BankWriter,
    CorruptShard,
    ListingConflict,
    MissingRow,
    RowLoader,
    array_name,
    open_place,
    part_layouts,
    pooled_name,
)
from storage.checks.leftovers import find_leftovers
from storage.checks.survey import take_survey
from storage.checks.verify import check_shards, repair
from storage.commit import FileDigest
from storage.inspect import main as inspect
from storage.sealed import seal, unseal
from storage.summary import summarise
from tests.small_banks import clip_line, frozen_weights, row_values, small_spec, write_bank, write_shard

OUT = array_name(2, "out")
STILL = array_name(2, "out", 1)


def still(number, **changes):
    """A line of the listing of a clip with rows of one frame."""
    return clip_line(number, **changes) | {"frames": 1}


def write_mixed(path, spec=None, *, failed=()):
    """Clips 0 and 3 of the spec's T, 1, 2 and 4 of one frame, 5 of two; shards of two rows."""
    spec = spec or small_spec()
    with BankWriter(path, spec, shard_rows=2, weights=frozen_weights(spec)) as writer:
        lines = [clip_line(0), still(1), still(2), clip_line(3), still(4), clip_line(5) | {"frames": 2}]
        writer.enrol(lines)
        for shard in range(4):
            write_shard(path, shard, writer=writer, failed=failed)
    return spec


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    path = tmp_path_factory.mktemp("mixed") / "bank"
    write_mixed(path)
    return Bank(path)


def test_clips_of_each_length_begin_at_a_shard_of_their_own(mixed):
    assert mixed.listing["row"].to_pylist() == [0, 2, 3, 1, 4, 6]
    assert mixed.listing["frames"].to_pylist() == [3, 1, 1, 3, 1, 2]
    assert mixed.lengths == (1, 2, 3)
    assert mixed.rows().tolist() == [0, 1, 2, 3, 4, 6]
    assert mixed.rows(frames=1).tolist() == [2, 3, 4]
    assert mixed.written(frames=2)["key"].to_pylist() == [clip_line(5)["key"]]
    assert mixed.table["frames"].to_pylist() == [3, 1, 1, 3, 1, 2]
    assert mixed.written(arrays=[STILL])["row"].to_pylist() == [2, 3, 4]
    assert mixed.written(arrays=[OUT])["row"].to_pylist() == [0, 1]
    assert mixed.written(arrays=[OUT, STILL]).num_rows == 0


def test_rows_of_each_length_lie_in_arrays_of_their_own(mixed):
    spec = mixed.spec
    for frames, rows in ((3, [0, 1]), (1, [2, 3, 4]), (2, [6])):
        names = [layout.name for layout in mixed.layouts.values() if layout.frames == frames]
        assert names == [layout.name for layout in part_layouts(spec, 0, frames)]
        for name in names:
            expected = np.stack([row_values(spec, row, frames)[name] for row in rows])
            np.testing.assert_array_equal(mixed.read(name, rows), expected)
    assert {layout.plain_name for layout in mixed.layouts.values() if layout.frames == 1} == {
        "features/block02/out",
        "features/block03/out",
        "features/pooled",
    }
    assert mixed.array_name(2, "out", 3) == mixed.array_name(2, "out") == OUT
    assert mixed.array_name(2, "out", 1) == STILL == "features/frames1/block02/out"
    assert mixed.pooled_name(3) == "features/pooled"
    assert mixed.pooled_name(1) == pooled_name(1) == "features/frames1/pooled"
    np.testing.assert_array_equal(mixed.features(2, "out", [3], frames=1), mixed.values(STILL, [3]))


def test_a_shard_has_files_in_the_arrays_of_its_length_alone(mixed):
    for shard, folder in enumerate(["block", "frames1/", "frames1/", "frames2/"]):
        names = [name for name in mixed.records[0, shard].files if name.startswith("features/")]
        assert all(name.removeprefix("features/").startswith((folder, "pooled")) for name in names)


def test_a_row_of_another_length_says_where_it_lies(mixed):
    with pytest.raises(MissingRow, match=r"row 3 .* has 1 frame, read features/frames1/block02/out$"):
        mixed.read(OUT, [3])
    with pytest.raises(MissingRow, match=r"row 6 .* has 2 frames, read features/frames2/pooled$"):
        mixed.read("features/pooled", [6])
    with pytest.raises(MissingRow, match=r"row 0 .* has 3 frames, read features/block02/out$"):
        mixed.read(STILL, [0])
    with pytest.raises(MissingRow, match="has 1 frame, and such rows have no features/block02/map_prev"):
        mixed.read("features/block02/map_prev", [4])
    with pytest.raises(MissingRow, match="no committed row 5"):
        mixed.read(STILL, [5])


def test_stock_zarr_reads_it(mixed):
    group = zarr.open_group(mixed.path, mode="r")
    np.testing.assert_array_equal(group[STILL][4], mixed.read(STILL, [4])[0])
    assert group[STILL].shape == (7, 1, 7, 16)
    assert group[OUT].shape == (7, 3, 7, 16)
    assert np.isnan(group[STILL][0]).all()
    assert np.isnan(group[OUT][4]).all()
    assert "map_prev" not in group["features/frames1/block02"]
    assert "map_prev" in group["features/frames2/block02"]


def test_a_loader_reads_rows_of_one_length(mixed):
    (batch,) = RowLoader(mixed, [STILL, pooled_name(1)]).batches([[4, 2]])
    assert batch[STILL].shape == (2, 1, 7, 16)
    assert batch[pooled_name(1)].shape == (2, 1, 8)
    with pytest.raises(MissingRow, match="has 3 frames"):
        list(RowLoader(mixed, [STILL]).batches([[0]]))


def test_images_are_added_to_a_bank_of_videos_that_stays_as_it_is(tmp_path):
    path = tmp_path / "bank"
    spec = write_bank(path, 3, shard_rows=2)
    before, files = Bank(path), every_file(path)
    digests = [record.digest for record in before.records.values()]
    assert "frames" not in pq.read_table(path / "clips/00000.parquet").column_names
    assert set(json.loads((path / "clips/00000.json").read_bytes())) == {"check", "clips", "file"}
    assert before.lengths == (3,)
    assert not list((path / "features").glob("frames*"))
    with BankWriter(path, spec) as writer:
        assert writer.enrol([clip_line(0), still(7), still(8), still(9)]) == 3
        for shard in (2, 3):
            write_shard(path, shard, writer=writer)
    after, now = Bank(path), every_file(path)
    assert after.rows().tolist() == [0, 1, 2, 4, 5, 6]
    assert after.fingerprint == before.fingerprint
    assert [after.records[0, shard].digest for shard in (0, 1)] == digests
    changed = {name for name, data in files.items() if now[name] != data}
    assert changed == {f"{name}/zarr.json" for name in before.layouts}
    with BankWriter(path, spec) as writer:
        assert writer.enrol([clip_line(11)]) == 1  # a listing of videos alone after one with images
        assert writer.lengths == [1, 3]
        assert writer.listing["row"].to_pylist()[-1] == 8


def test_a_bank_of_one_frame_has_images_in_its_plain_arrays(tmp_path):
    path, spec = tmp_path / "bank", small_spec(frames=1)
    with BankWriter(path, spec, shard_rows=2) as writer:
        writer.enrol([still(0), clip_line(1)])
        write_shard(path, 0, writer=writer)
    bank = Bank(path)
    assert bank.rows(frames=1).tolist() == [0, 1]
    assert bank.lengths == (1,)
    assert bank.array_name(2, "out", 1) == OUT
    assert OUT in bank.layouts
    assert "frames" not in pq.read_table(path / "clips/00000.parquet").column_names


def test_a_bank_of_images_alone_may_have_a_spec_of_more_frames(tmp_path):
    path = tmp_path / "bank"
    with BankWriter(path, small_spec(), shard_rows=2) as writer:
        writer.enrol([still(0), still(1)])
        write_shard(path, 0, writer=writer)
    bank = Bank(path)
    assert bank.lengths == (1, 3)
    assert bank.rows(frames=3).tolist() == []
    assert bank.rows().tolist() == bank.rows(frames=1).tolist() == [0, 1]


def test_twins_share_rows_of_one_length(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec(views=2), shard_rows=4) as writer:
        first, second, third = still(0), clip_line(1), still(2)
        writer.enrol([first, second, third], {third["key"]: first["key"]})
        assert writer.listing["row"].to_pylist() == [4, 0, 4]
        with pytest.raises(ListingConflict, match=r"has rows of 1 frames and cannot share .* which have 3"):
            writer.enrol([still(5)], {still(5)["key"]: second["key"]})


def test_a_clip_keeps_its_length(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec(), shard_rows=2) as writer:
        writer.enrol([clip_line(0), still(1), clip_line(2) | {"frames": 2}])
        assert writer.enrol([still(0), still(1), clip_line(2) | {"frames": 2}]) == 0  # an image of old stays
        with pytest.raises(ListingConflict, match=r"0002.* 'train', 2\) in the bank but .* 'train', 3\)"):
            writer.enrol([clip_line(2)])


def test_impossible_lengths_are_refused(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec(), shard_rows=2) as writer:
        with pytest.raises(ListingConflict, match="from 1 to 65536 frames, a clip is listed with 0"):
            writer.enrol([clip_line(0) | {"frames": 0}])
        with pytest.raises(ListingConflict, match="at most 64 different numbers of frames"):
            writer.enrol([clip_line(number) | {"frames": number + 1} for number in range(65)])
        assert writer.listing.num_rows == 0


def test_growth_serves_all_lengths(tmp_path):
    path = tmp_path / "bank"
    write_mixed(path)
    with BankWriter(path, small_spec(blocks=(1,), attention="qk"), grow=True) as writer:
        assert writer.parts == (0, 1)
        for shard in range(4):
            write_shard(path, shard, writer=writer, part=1)
    bank = Bank(path)
    added = {name for name, layout in bank.layouts.items() if layout.part == 1}
    places = {"features": 3, "features/frames1": 1, "features/frames2": 2}
    taps = {
        "features": ("out", "q", "k"),
        "features/frames1": ("out",),
        "features/frames2": ("out", "q", "k"),
    }
    assert added == {f"{place}/block01/{tap}" for place in places for tap in taps[place]}
    assert bank.written(arrays=[array_name(1, "out", 1)])["row"].to_pylist() == [2, 3, 4]
    assert not list(check_shards(take_survey(bank.place)))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_mixed_bank_is_sound_and_shown(tmp_path, dtype, capsys):
    path = tmp_path / "bank"
    write_mixed(path, small_spec(dtype=dtype, attention="maps"), failed=(4,))
    survey = take_survey(open_place(path))
    assert not survey.findings
    assert survey.frames == {0: 3, 1: 1, 2: 1, 3: 2}
    assert not list(check_shards(survey))
    assert find_leftovers(open_place(path)).count == 0
    summary = summarise(Bank(path))
    assert {frames: found["rows"] for frames, found in summary["lengths"].items()} == {"1": 2, "2": 1, "3": 2}
    assert summary["lengths"]["1"]["clips"] == 3
    assert summary["arrays"][pooled_name(1)]["statistics"]["shards"] == 1
    assert inspect([str(path)]) == 0
    shown = capsys.readouterr().out
    assert "frames a row" in shown
    assert "frames1/" in shown


def test_damage_in_rows_of_another_length_is_found_and_cleared_away(tmp_path):
    path = tmp_path / "bank"
    write_mixed(path)
    file = path / "features/frames1/block02/out/c/1/0/0/0"
    data = bytearray(file.read_bytes())
    data[9] ^= 4
    file.write_bytes(data)
    with pytest.raises(CorruptShard, match="frames1"):
        Bank(path).read(STILL, [2])
    (found,) = check_shards(take_survey(open_place(path)))
    assert found.shard == (0, 1)
    assert repair(open_place(path), [found.shard]) == [(0, 1)]
    left = find_leftovers(open_place(path))
    assert len(left.orphans["file of a shard that was not committed"]) == 4
    assert not left.unknown
    with BankWriter(path, small_spec()) as writer:
        write_shard(path, 1, writer=writer)
    assert Bank(path).rows(frames=1).tolist() == [2, 3, 4]


def test_a_record_of_another_length_than_the_listing_has_is_damage(tmp_path):
    path = tmp_path / "bank"
    write_mixed(path)
    record = path / "clips/00000.json"
    values = unseal(record.read_bytes())
    values.pop("check", None)
    record.write_bytes(seal(values | {"frames": [1, 3]}))
    (found,) = take_survey(open_place(path)).findings
    assert found.remedy == "copy"
    assert "other numbers of frames than its record says" in found.what
    record.write_bytes(seal(values | {"frames": [0]}))
    with pytest.raises(CorruptShard, match="its numbers of frames are none"):
        _ = Bank(path).layouts


def test_the_digest_counts_what_is_listed(tmp_path):
    for name in ("one", "two"):
        write_mixed(tmp_path / name)
    one, two = Bank(tmp_path / "one"), Bank(tmp_path / "two")
    assert one.digest == two.digest
    data = (tmp_path / "one/clips/00000.parquet").read_bytes()
    assert asdict(FileDigest.of(data)) == json.loads((tmp_path / "one/clips/00000.json").read_bytes())["file"]


def every_file(path):
    """Name to bytes of all files of a bank."""
    return {
        str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()
    }
