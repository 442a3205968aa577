"""What a bank is said to hold is what was put into it."""

import json

import numpy as np
import pytest

from storage import Bank, BankWriter, CorruptShard, array_name
from storage.summary import REASONS, marked, reasons, summarise
from tests.small_banks import clip_line, small_spec, write_bank, write_shard

CLIPS, VIEWS, FAILED = 70, 2, (1, 40)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Clips in two splits, two views each; a second part in the first shard of three only."""
    path = tmp_path_factory.mktemp("summary") / "bank"
    spec = small_spec(views=VIEWS)
    with BankWriter(path, spec, made={"backbone": "ViT-B-16"}) as writer:
        lines = [clip_line(number, split="val" if number >= 60 else "train") for number in range(CLIPS)]
        writer.enrol(lines)
        for shard in range(3):
            write_shard(path, shard, writer=writer, failed=tuple(VIEWS * clip for clip in FAILED))
    with BankWriter(path, small_spec(views=VIEWS, blocks=(1,)), grow=True) as writer:
        write_shard(path, 0, writer=writer, failed=(VIEWS * FAILED[0],), part=1)
    return path


@pytest.fixture(scope="module")
def summary(path):
    return summarise(Bank(path))


def test_it_is_plain_json(summary):
    assert json.loads(json.dumps(summary)) == summary


def test_counts(summary):
    assert (summary["clips"], summary["classes"], summary["rows_per_shard"]) == (CLIPS, 2, 64)
    assert summary["rows"] == {"written": VIEWS * (CLIPS - 2), "failed": VIEWS * 2}
    assert summary["splits"] == {"train": {"clips": 60, "written": 58}, "val": {"clips": 10, "written": 10}}


def test_reasons_name_their_first_clip(summary):
    assert summary["reasons"] == [
        {"outcome": "failed", "reason": "truncated", "rows": 4, "clip": "clips/0001.mp4"}
    ]


def test_sizes_are_those_of_the_files(summary, path):
    for name, array in summary["arrays"].items():
        files = [file for file in (path / name / "c").rglob("*") if file.is_file()]
        assert array["bytes"] == sum(file.stat().st_size for file in files)
    facts = sum(file.stat().st_size for file in path.glob("shards/*.parquet"))
    assert summary["bytes"] == facts + sum(array["bytes"] for array in summary["arrays"].values())
    assert summary["bytes"] == sum(part["bytes"] for part in summary["parts"])
    assert summary["bytes_per_row"] == summary["bytes"] / summary["rows"]["written"]


def test_parts(summary):
    first, second = summary["parts"]
    assert (first["blocks"], first["shards"], first["shards_listed"], first["rows"]) == ([2, 3], 3, 3, 136)
    assert (second["blocks"], second["shards"], second["shards_listed"], second["rows"]) == ([1], 1, 3, 62)
    assert first["arrays"] + second["arrays"] == len(summary["arrays"])


def test_statistics_are_those_of_all_rows(summary, path):
    bank = Bank(path)
    for name in (array_name(3, "out"), array_name(2, "map_prev"), "features/pooled"):
        values = bank.values(name, bank.rows()).astype(np.float64)
        found = summary["arrays"][name]["statistics"]
        assert found["mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert found["deviation"] == pytest.approx(values.std(), rel=1e-5)
        assert (found["low"], found["high"]) == (values.min(), values.max())
        assert (found["count"], found["shards"]) == (values.size, 3)
    assert summary["arrays"][array_name(1, "out")]["statistics"]["shards"] == 1


def test_who_made_it_and_who_is_writing(summary, path):
    assert summary["made"]["backbone"] == "ViT-B-16"
    assert summary["writing"] is None
    with BankWriter(path, small_spec(views=VIEWS)) as writer:
        assert summarise(Bank(path))["writing"] == writer.run


def test_an_empty_bank(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec(dtype="int8")):
        pass
    summary = summarise(Bank(tmp_path / "bank"))
    assert (summary["clips"], summary["rows"], summary["bytes"], summary["bytes_per_row"]) == (0, {}, 0, None)
    assert summary["parts"][0]["shards_listed"] == 0
    assert all(array["statistics"] is None for array in summary["arrays"].values())


def test_only_the_commonest_reasons_are_named(tmp_path):
    write_bank(tmp_path / "bank", 3)
    bank = Bank(tmp_path / "bank")
    line = bank.table.to_pylist()[0] | {"outcome": "failed"}
    lines = [line | {"reason": f"r{number}"} for number in range(9) for _ in range(number + 1)]
    found = reasons(type(bank.table).from_pylist(lines, schema=bank.table.schema))
    assert [line["reason"] for line in found] == ["r8", "r7", "r6", "r5", "r4"]
    assert [line["rows"] for line in found] == [9, 8, 7, 6, 5]
    assert len(found) == REASONS


def test_written_rows_with_something_odd_are_counted(tmp_path):
    write_bank(tmp_path / "bank", 1)
    table = Bank(tmp_path / "bank").table
    line = table.to_pylist()[0]
    marks = [{}, {"rotation": 90}, {"black_frames": 3, "rotation": 180}, {"missing_frames": 0}]
    lines = [line | mark for mark in marks] + [line | {"black_frames": 3, "outcome": "failed"}]
    found = marked(type(table).from_pylist(lines, schema=table.schema))
    assert found == {"rotation": 2, "black_frames": 1}


def test_a_damaged_record_is_refused(tmp_path):
    write_bank(tmp_path / "bank", 3)
    (tmp_path / "bank/shards/00000.json").write_text("{}")
    with pytest.raises(CorruptShard):
        summarise(Bank(tmp_path / "bank"))
