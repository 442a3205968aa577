"""What dead runs left goes; what is vouched for, unknown or in the making stays."""

import os
import subprocess
import sys

import pytest

import framebank
from storage import Bank, BankBusy, BankWriter, CorruptShard, open_place
from storage.checks.leftovers import find_leftovers
from storage.checks.survey import take_survey
from storage.checks.verify import check_shards
from storage.gc import collect
from storage.places.names import temporary_name
from tests.small_banks import clip_line, frozen_weights, small_spec, write_bank, write_shard

DEAD = """
import os, sys
from tests.small_banks import *
from storage import ShardWriter
writer = BankWriter(sys.argv[1], small_spec())
writer.enrol([clip_line(number) for number in range(6)])
shard = ShardWriter(sys.argv[1], 1, run=writer.run)
shard.append(64, row_values(writer.spec, 64))
os._exit(1)
"""


def files_of(path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def sound(path) -> bool:
    survey = take_survey(open_place(path))
    return not [found for found in (*survey.findings, *check_shards(survey)) if found.damage]


@pytest.fixture
def bank(tmp_path):
    write_bank(tmp_path / "bank", 3)
    return tmp_path / "bank"


def leave_things(bank) -> set[str]:
    """Everything that a dead run can leave, but for its lease; the names."""
    names = {
        temporary_name("features/block02/out/c/0/0/0/0"),
        temporary_name("shards/00000.json"),
        temporary_name("lease.json"),
        "features/block02/out/c/7/0/0/0",
        "features/pooled/c/7/0/0",
        "shards/00007.parquet",
        "shards/00000.1.parquet",
        "clips/00001.parquet",
        "features/block01/zarr.json",
        "features/block01/out/zarr.json",
        "weights/zarr.json",
        "weights/block01/zarr.json",
        "weights/block01/q_weight/zarr.json",
        "weights/block01/q_weight/c/0/0",
    }
    for name in names:
        (bank / name).parent.mkdir(parents=True, exist_ok=True)
        (bank / name).write_bytes(b"x" * 10)
    return names


def test_a_sound_bank_has_no_leftovers(bank):
    more = small_spec(blocks=(1, 2), attention="derived")
    with BankWriter(bank, more, grow=True, weights=frozen_weights(more)) as writer:
        write_shard(bank, 0, writer=writer, part=1)
    before = files_of(bank)
    found = collect(open_place(bank), dry_run=False)
    assert (found.count, found.bytes, found.unknown) == (0, 0, [])
    assert files_of(bank) == before


def test_leftovers_are_found_and_removed_and_nothing_else(bank):
    before = files_of(bank)
    left = leave_things(bank)
    found = collect(open_place(bank), dry_run=True)
    names = {entry.name for entries in found.orphans.values() for entry in entries}
    assert names == left
    assert found.bytes == 10 * len(left)
    assert files_of(bank) == before | left
    assert collect(open_place(bank), dry_run=False).count == len(left)
    assert files_of(bank) == before
    assert sound(bank)


def test_a_killed_run_is_cleared_away(bank):
    digest = Bank(bank).digest
    subprocess.run([sys.executable, "-c", DEAD, str(bank)], check=False, cwd=os.getcwd())
    assert (bank / "lease.json").exists()
    kinds = collect(open_place(bank), dry_run=True).orphans
    assert set(kinds) == {"temporary file", "lease of a dead run"}
    assert (bank / "lease.json").exists()
    collect(open_place(bank), dry_run=False)
    assert not (bank / "lease.json").exists()
    assert find_leftovers(open_place(bank)).count == 0
    assert Bank(bank).digest != digest  # the listing it enrolled stays: it was completed
    assert sound(bank)


@pytest.mark.parametrize("dry_run", [True, False])
def test_refused_while_a_run_is_writing(bank, dry_run):
    left = leave_things(bank)
    with BankWriter(bank, small_spec()), pytest.raises(BankBusy, match="is being written by run"):
        collect(open_place(bank), dry_run=dry_run)
    assert {name for name in left if "tmp" not in name} <= files_of(bank)


@pytest.mark.parametrize("damage", ["shards/00000.json", "clips/00000.json", "clips/00000.parquet"])
def test_refused_where_damage_makes_good_files_look_left_over(bank, damage):
    leave_things(bank)
    (bank / damage).write_bytes(b"{}")
    before = files_of(bank)
    with pytest.raises(CorruptShard, match=f"left over cannot be told: {damage}.*framebank verify"):
        collect(open_place(bank), dry_run=False)
    assert files_of(bank) == before


def test_a_listing_whose_record_was_lost_is_not_taken_for_a_leftover(bank):
    with BankWriter(bank, small_spec()) as writer:
        writer.enrol([clip_line(number) for number in range(5)])
    (bank / "clips/00001.json").unlink()
    with pytest.raises(CorruptShard, match="a file of the listing"):
        collect(open_place(bank), dry_run=False)
    assert (bank / "clips/00001.parquet").exists()


def test_the_command_does_a_whole_shelf_and_goes_on_after_a_busy_bank(bank, tmp_path, capsys):
    for name in ("a", "z"):
        write_bank(tmp_path / "shelf" / name, 2)
        leave_things(tmp_path / "shelf" / name)
    write_bank(tmp_path / "shelf/m", 2)
    with BankWriter(tmp_path / "shelf/m", small_spec()):
        assert framebank.dispatch(["gc", str(tmp_path / "shelf"), "--dry-run"]) == framebank.FAILED
        assert framebank.dispatch(["gc", str(tmp_path / "shelf")]) == framebank.FAILED
    said = capsys.readouterr().out
    assert said.count("14 files, 140 bytes would be removed") == 2
    assert said.count("14 files, 140 bytes removed") == 2
    assert said.count("is being written by run") == 2
    assert framebank.dispatch(["gc", str(tmp_path / "shelf")]) == 0
    assert capsys.readouterr().out.count("0 files, 0 bytes to remove") == 3


def test_the_command_names_the_largest(bank, capsys):
    for number in range(30):
        (bank / f"shards/{100 + number:05d}.parquet").write_bytes(b"x" * (1000 + number))
    (bank / "mine.txt").write_text("x")
    assert framebank.dispatch(["gc", str(bank), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "30 × file of a shard that was not committed, 30.4 kB" in said
    assert "shards/00129.parquet" in said
    assert "shards/00109.parquet" not in said
    assert "and 10 smaller ones" in said
    assert "unknown files, left alone: 1, such as mine.txt" in said


def test_no_bank_is_a_wrong_request(tmp_path, capsys):
    assert framebank.dispatch(["gc", str(tmp_path)]) == framebank.MISUSED
    assert "expected a bank or a shelf of banks" in capsys.readouterr().err
