"""A shard's promises: facts that fit the listing and the other parts, files that fit the facts."""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import storage.checks.shard_check
from storage import Bank, BankWriter, open_place
from storage.checks.shard_check import check_shard
from storage.checks.survey import take_survey
from storage.clip_table import FACTS, to_parquet
from tests.damaged_banks import commit_instead
from tests.small_banks import small_spec, write_bank, write_shard

CLIPS, VIEWS = 4, 2


@pytest.fixture
def bank(tmp_path):
    path = tmp_path / "bank"
    spec = small_spec(views=VIEWS)
    write_bank(path, CLIPS, spec, failed=(2,))
    with BankWriter(path, small_spec(views=VIEWS, blocks=(1, 2, 3)), grow=True) as writer:
        write_shard(path, 0, writer=writer, failed=(2,), part=1)
    return path


def faults(path, part=0) -> list[tuple[str, str]]:
    survey = take_survey(open_place(path))
    return [(found.where, found.what) for found in check_shard(survey, (part, 0), lambda count: None)]


def with_facts(path, change, part=0) -> None:
    """Commit other facts in place of a shard's."""
    file = path / f"shards/00000{'.1' if part else ''}.parquet"
    lines = pq.read_table(io.BytesIO(file.read_bytes())).to_pylist()
    commit_instead(path, file, to_parquet(pa.Table.from_pylist(change(lines), schema=FACTS)))


def test_a_sound_shard(bank):
    assert faults(bank) == faults(bank, 1) == []


def put(lines: list[dict[str, Any]], line: int, **values: Any) -> list[dict[str, Any]]:
    return [found | values if place == line else found for place, found in enumerate(lines)]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda lines: lines[:-1], "it has 7 lines, not one for each of the 8 rows that are listed"),
        (lambda lines: [*lines, lines[-1]], "it has 9 lines"),
        (lambda lines: lines[::-1], "not one for each of the 8 rows"),
        (lambda lines: put(lines, 1, view=0), "its views do not count from 0"),
        (lambda lines: put(lines, 1, view=None), "no row, view or outcome"),
        (lambda lines: put(lines, 1, outcome="lost"), "its outcomes are"),
        (lambda lines: put(lines, 1, outcome="filtered"), "its outcomes are"),
    ],
)
def test_facts_that_do_not_fit(bank, change, fault):
    with_facts(bank, change)
    assert fault in faults(bank)[0][1]
    assert faults(bank)[0][0] == "shards/00000.parquet"


def test_a_row_that_is_written_in_no_file(bank):
    def swapped(lines):
        return put(put(lines, 2, outcome="written"), 0, outcome="failed")

    with_facts(bank, swapped)
    found = dict(faults(bank))
    assert found["features/pooled/c/0/0/0"] == "index and facts disagree about rows 0, 2"
    assert len(found) == len([layout for layout in Bank(bank).layouts.values() if layout.part == 0])


def test_parts_of_different_content_are_found_and_not_trained_on(bank):
    with_facts(bank, lambda lines: put(lines, 5, content="f" * 64), part=1)
    assert faults(bank) == []
    assert faults(bank, 1) == [
        ("shards/00000.1.parquet", "1 rows, 5 first, have another content than in part 0")
    ]
    opened = Bank(bank)
    assert opened.written()["row"].to_pylist() == [0, 1, 4, 5, 6, 7]
    assert opened.written(arrays=["features/block01/out"])["row"].to_pylist() == [0, 1, 4, 6, 7]


def test_a_part_may_lack_what_the_first_has(bank):
    with BankWriter(bank, small_spec(views=VIEWS)) as writer:
        write_shard(bank, 0, writer=writer)
    assert faults(bank) == faults(bank, 1) == []
    missing = Bank(bank).facts(1).filter(pc.field("outcome") == "failed")["row"].to_pylist()
    assert missing == [2, 3]


def test_a_shard_made_anew_while_it_is_looked_at_is_no_damage(bank, monkeypatch):
    real, made = storage.checks.shard_check.current_record, []

    def meanwhile(place, key):
        if not made:
            made.append(key)
            with BankWriter(bank, small_spec(views=VIEWS)) as writer:
                write_shard(bank, 0, writer=writer)
        return real(place, key)

    monkeypatch.setattr("storage.checks.shard_check.current_record", meanwhile)
    (bank / "features/pooled/c/0/0/0").unlink()
    assert faults(bank) == []
    assert made


def test_a_shard_that_is_about_to_be_made_anew_is_no_damage(bank):
    survey = take_survey(open_place(bank))
    (bank / "shards/00000.json").unlink()
    (bank / "features/pooled/c/0/0/0").unlink()
    assert check_shard(survey, (0, 0), lambda count: None) == []


def test_a_record_that_goes_bad_meanwhile_is(bank):
    survey = take_survey(open_place(bank))
    (bank / "shards/00000.json").write_bytes(b"{}")
    (bank / "features/pooled/c/0/0/0").unlink()
    assert [found.where for found in check_shard(survey, (0, 0), lambda count: None)] == ["shards/00000.json"]


def test_all_bytes_are_told_of_even_of_what_is_not_read(bank):
    survey = take_survey(open_place(bank))
    for name in ("shards/00000.parquet", "features/pooled/c/0/0/0"):
        good = (bank / name).read_bytes()
        for data in (good, b"", good[:-1]):
            (bank / name).write_bytes(data)
            seen: list[int] = []
            check_shard(survey, (0, 0), seen.append)
            assert np.sum(seen) == survey.records[0, 0].bytes
        (bank / name).write_bytes(good)
