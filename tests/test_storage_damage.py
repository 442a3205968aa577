"""Whatever happens to a file of a bank: verify finds it, the reader refuses it, a repair brings it back.

The matrix: every file deleted, emptied, cut, lengthened; flipped bits at random places of rows, indices,
facts and records; half of a bank. Two parts, float16 and int8.
"""

import random
import shutil
from pathlib import Path

import pytest

from storage import Bank, CorruptShard, open_place
from storage.checks.survey import readable_records, take_survey
from storage.checks.verify import repair
from storage.commit import record_name
from storage.errors import OtherFormat
from storage.shard_index import index_bytes
from tests.damaged_banks import (
    SHARD_ROWS,
    array_of,
    changed,
    damage,
    extract_again,
    files_of,
    findings,
    flipped,
    read_all,
    refused_or_right,
    shard_of,
    touch_small_files,
    write_two_parts,
    written_rows,
)

FLIPS = 100
"""In each of the two types."""


@pytest.fixture(scope="module", params=["float16", "int8"])
def dtype(request):
    return request.param


@pytest.fixture(scope="module")
def bank(tmp_path_factory, dtype):
    path = tmp_path_factory.mktemp(dtype) / "bank"
    write_two_parts(path, dtype)
    assert not findings(path)
    return path


@pytest.fixture
def own_bank(tmp_path, dtype):
    write_two_parts(tmp_path / "bank", dtype)
    return tmp_path / "bank"


def test_what_is_sound_is_read_whole(bank, dtype):
    assert all(read_all(bank, row) for row in (0, 2, 4))
    refused_or_right(bank, dtype)


def spoilt(data: bytes) -> dict[str, bytes | None]:
    """A file deleted, emptied, cut and lengthened."""
    return {
        "deleted": None,
        "empty": b"",
        "one byte": data[:1],
        "half": data[: len(data) // 2],
        "less four bytes": data[:-4],
        "less one byte": data[:-1],
        "one byte more": data + b"\0",
        "twice": data + data,
    }


@pytest.mark.parametrize("pattern", ["features/**/c/**/0", "shards/*.parquet"])
def test_a_shards_file_that_is_not_whole_is_found(bank, pattern):
    survey = take_survey(open_place(bank))
    for file in files_of(bank, pattern):
        for how, data in spoilt(file.read_bytes()).items():
            with changed(file, data):
                assert damage(bank, survey), f"{file} {how}"


@pytest.mark.parametrize(
    "pattern", ["zarr.json", "features/*/*/zarr.json", "shards/*.json", "clips/*", "weights/**/*"]
)
def test_a_small_file_that_is_not_whole_is_found(bank, pattern):
    for file in files_of(bank, pattern)[:5]:
        for how, data in spoilt(file.read_bytes()).items():
            if how == "deleted" and pattern == "shards/*.json":
                continue  # no record, no shard: not extracted yet
            with changed(file, data):
                assert any(found.damage for found in take_survey(open_place(bank)).findings), f"{file} {how}"


def test_every_finding_says_what_mends_it(bank):
    for pattern, remedy in {
        "features/**/c/**/0": "repair",
        "shards/*": "repair",
        "features/**/zarr.json": "extract",
        "clips/*": "copy",
        "weights/**/*": "copy",
        "zarr.json": "copy",
    }.items():
        file = files_of(bank, pattern)[-1]
        with changed(file, file.read_bytes()[:-3]):
            assert [found.remedy for found in damage(bank)] == [remedy], file


@pytest.mark.parametrize("how", ["deleted", "empty", "half", "less one byte", "one byte more"])
def test_the_reader_refuses_a_data_file_that_is_not_whole(bank, how):
    for file in files_of(bank, "features/**/c/**/0"):
        with changed(file, spoilt(file.read_bytes())[how]), pytest.raises(CorruptShard, match="verify"):
            Bank(bank).read(array_of(bank, file), written_rows(shard_of(file))[:1])


@pytest.mark.parametrize("how", ["empty", "half", "less one byte", "one byte more"])
def test_the_reader_refuses_small_files_that_are_not_whole(bank, how):
    for pattern in ("shards/*", "clips/*"):
        for file in files_of(bank, pattern):
            with changed(file, spoilt(file.read_bytes())[how]), pytest.raises(CorruptShard):
                touch_small_files(bank)


def test_the_reader_refuses_a_bank_without_its_listing(bank):
    for file in files_of(bank, "clips/*"):
        with changed(file, None), pytest.raises(CorruptShard, match=r"clips/|listing"):
            touch_small_files(bank)


def test_every_flipped_bit_of_a_row_is_found_and_refused(bank):
    survey, rng = take_survey(open_place(bank)), random.Random(0)
    files = files_of(bank, "features/**/c/**/0")
    for _ in range(FLIPS):
        file = rng.choice(files)
        data, rows = file.read_bytes(), written_rows(shard_of(file))
        size = (len(data) - index_bytes(SHARD_ROWS)) // len(rows)
        bit = rng.randrange(8 * size * len(rows))
        row = rows[bit // 8 // size]
        with changed(file, flipped(data, bit)):
            found = damage(bank, survey)
            assert [finding.where for finding in found] == [str(file.relative_to(bank))]
            assert f"row {row}" in found[0].what
            with pytest.raises(CorruptShard, match="crc32c"):
                Bank(bank).read(array_of(bank, file), [row])


def test_every_flipped_bit_of_an_index_is_found_and_refused(bank):
    survey, rng = take_survey(open_place(bank)), random.Random(1)
    files = files_of(bank, "features/**/c/**/0")
    for _ in range(FLIPS):
        file = rng.choice(files)
        data = file.read_bytes()
        bit = rng.randrange(8 * (len(data) - index_bytes(SHARD_ROWS)), 8 * len(data))
        with changed(file, flipped(data, bit)):
            assert [finding.where for finding in damage(bank, survey)] == [str(file.relative_to(bank))]
            with pytest.raises(CorruptShard, match="index"):
                Bank(bank).read(array_of(bank, file), written_rows(shard_of(file))[-1:])


def test_every_flipped_bit_of_the_facts_is_found_and_refused(bank):
    survey, rng = take_survey(open_place(bank)), random.Random(2)
    for _ in range(FLIPS):
        file = rng.choice(files_of(bank, "shards/*.parquet"))
        data = file.read_bytes()
        with changed(file, flipped(data, rng.randrange(8 * len(data)))):
            assert [finding.where for finding in damage(bank, survey)] == [str(file.relative_to(bank))]
            with pytest.raises(CorruptShard):
                touch_small_files(bank)


def test_every_flipped_bit_of_a_record_is_found_and_refused(bank):
    rng = random.Random(3)
    for _ in range(FLIPS):
        file = rng.choice(files_of(bank, "shards/*.json"))
        data = file.read_bytes()
        with changed(file, flipped(data, rng.randrange(8 * len(data)))):
            found = readable_records(open_place(bank))[1]  # with which a survey begins
            assert [finding.where for finding in found] == [str(file.relative_to(bank))]
            with pytest.raises(CorruptShard, match="is not a commit record"):
                _ = Bank(bank).records


@pytest.mark.parametrize("pattern", ["zarr.json", "clips/*", "weights/**/*", "features/**/zarr.json"])
def test_flipped_bits_of_what_exists_once_are_found(bank, pattern):
    rng = random.Random(4)
    for _ in range(40):
        file = rng.choice(files_of(bank, pattern))
        data = file.read_bytes()
        bit = rng.randrange(8 * len(data))
        with changed(file, flipped(data, bit)):
            try:
                found = [finding for finding in take_survey(open_place(bank)).findings if finding.damage]
            except OtherFormat:
                found = [file]  # the bit was one of the format's number
            assert found, f"{file} bit {bit}"


def test_repair_and_extraction_bring_every_shard_back(own_bank, dtype):
    digest = Bank(own_bank).digest
    rng = random.Random(5)
    for pattern in ("features/block02/**/c/**/0", "features/block03/**/c/**/0", "shards/*"):
        for file in rng.sample(files_of(own_bank, pattern), 2):
            good = file.read_bytes()
            file.write_bytes(flipped(good, 77))
            bad = {finding.shard for finding in damage(own_bank)}
            assert len(bad) == 1
            before = contents(own_bank)
            assert repair(open_place(own_bank), bad) == list(bad)
            part, shard = bad.pop()
            assert contents(own_bank) == {n: d for n, d in before.items() if n != record_name(shard, part)}
            assert not damage(own_bank)
            extract_again(own_bank, dtype)
            assert not findings(own_bank)
            assert Bank(own_bank).digest == digest
            assert file.read_bytes() == good or file.suffix == ".json"  # which names its run


def contents(bank: Path) -> dict[str, bytes]:
    return {str(path.relative_to(bank)): path.read_bytes() for path in bank.rglob("*") if path.is_file()}


def test_a_later_part_waits_for_the_first_and_counts_again(own_bank, dtype):
    digest = Bank(own_bank).digest
    (own_bank / "features/pooled/c/1/0/0").unlink()
    assert repair(open_place(own_bank), [(0, 1)]) == [(0, 1)]
    notes = findings(own_bank)
    assert [found.where for found in notes] == ["shards/00001.1.json"]
    assert not any(found.damage for found in notes)
    bank = Bank(own_bank)
    assert bank.rows().tolist() == written_rows(0)
    assert bank.written(arrays=["features/block03/out"])["row"].to_pylist() == written_rows(0)
    later = (own_bank / "shards/00001.1.json").read_bytes()
    extract_again(own_bank, dtype)
    assert (own_bank / "shards/00001.1.json").read_bytes() == later
    assert Bank(own_bank).digest == digest


def test_repair_leaves_what_has_been_made_anew_meanwhile(own_bank):
    assert repair(open_place(own_bank), [(0, 0), (1, 1)]) == []
    assert len(Bank(own_bank).records) == 4


@pytest.mark.parametrize("seed", range(30))
def test_half_of_a_bank_is_found_and_never_read_wrong(bank, dtype, tmp_path, seed):
    copy, rng = tmp_path / "copy", random.Random(seed)
    shutil.copytree(bank, copy)
    files = [path for path in copy.rglob("*") if path.is_file()]
    gone = rng.sample(files, rng.choice([1, 2, len(files) // 2]))
    for file in gone:
        file.unlink()
    refused_or_right(copy, dtype)
    found = damage(copy)
    missing = {str(file.relative_to(copy)) for file in gone}
    uncommitted = {
        name
        for (part, shard), record in Bank(bank).records.items()
        for name in (record_name(shard, part), *record.files)
        if record_name(shard, part) in missing
    }
    assert bool(found) == bool(missing - uncommitted)
