"""The benchmark of writing, run small."""

import numpy as np
import pytest

from benchmarks.bank_write import check_bank, draw_row, measure, raw_seconds, shard_seconds
from benchmarks.sample_rows import SampleRows, bank_spec, listing_line
from storage import BankWriter

SMALL = SampleRows(clips=8, blocks=(1,), frames=2, grid=(2, 3), width=64)


def test_measures_both_types_with_shards_as_a_bank_chooses_and_cleans_up(tmp_path):
    figures = measure(SMALL, per_shard=0, rounds=1, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    for dtype, key in (("float16", "over_raw"), ("int8", "int8_over_raw")):
        found = figures[dtype]
        assert found["shard_rows"] == 64
        assert figures[key] == found["over_raw"]
        expected = found["gb_per_second"] / found["raw_gb_per_second"]
        assert found["over_raw"] == pytest.approx(expected, rel=0.05)


def test_raw_writes_every_byte(tmp_path):
    row = draw_row(bank_spec(SMALL, attention="maps"), 0)
    assert raw_seconds(tmp_path / "raw", [row, row]) > 0
    assert (tmp_path / "raw").read_bytes() == 2 * b"".join(values.tobytes() for values in row.values())


def test_a_bank_with_other_values_is_noticed(tmp_path):
    spec = bank_spec(SMALL, attention="maps", dtype="int8")
    row, other = draw_row(spec, 0), draw_row(spec, 1)
    with BankWriter(tmp_path / "bank", spec, shard_rows=2) as writer:
        writer.enrol([listing_line(clip) for clip in range(2)])
        shard_seconds(writer, 0, [row, other])
    check_bank(tmp_path / "bank", [row, other])
    with pytest.raises(ValueError, match="not what was written"):
        check_bank(tmp_path / "bank", [other, row])
    assert {values.dtype for values in row.values()} == {np.dtype(n) for n in ("i1", "u1", "f2", "f4")}
