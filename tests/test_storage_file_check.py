"""A file of a shard is read once, in pieces, and everything in it is looked at."""

import errno
import os
import tracemalloc

import numpy as np
import pytest

from storage import Bank, ShardRecord, open_place
from storage.checks import file_check
from storage.checks.file_check import FileCheck
from storage.places.local_place import LocalFile
from storage.shard_index import index_bytes, pack_index, parse_index
from tests.damaged_banks import commit_instead, with_row
from tests.memory import in_a_fresh_process
from tests.small_banks import row_values, small_spec, write_bank

ROWS = 5
NAME = "features/block02/out"


@pytest.fixture
def bank(tmp_path):
    write_bank(tmp_path / "bank", ROWS)
    return tmp_path / "bank"


def file_of(bank, name=NAME):
    return next(path for path in (bank / name / "c/0").rglob("0") if path.is_file())


def fault(bank, name=NAME, *, slots=range(ROWS), seen=None, record: ShardRecord | None = None) -> str:
    opened = Bank(bank)
    check = FileCheck(
        place=opened.place,
        layout=opened.layouts[name],
        record=record or opened.records[0, 0],
        shard_rows=opened.rows_per_shard,
        scales={},
        advance=(seen if seen is not None else []).append,
    )
    return check.fault(np.array(slots, np.int64))


def test_a_sound_file_in_pieces_of_any_size(bank, monkeypatch):
    size = file_of(bank).stat().st_size
    for piece in (1, 3000, 10**7):
        monkeypatch.setattr("storage.checks.file_check.PIECE_BYTES", piece)
        seen = []
        assert fault(bank, seen=seen) == ""
        assert sum(seen) == size
    assert len(seen) == 2


def test_bytes_are_counted_once_whatever_is_wrong(bank):
    file = file_of(bank)
    good = file.read_bytes()
    for data in (b"", good[:-1], good[:100] + b"\0" + good[101:], good[:-1] + b"x"):
        file.write_bytes(data)
        seen = []
        assert fault(bank, seen=seen)
        assert sum(seen) == len(good)


def test_rows_are_named(bank):
    file = file_of(bank)
    data = bytearray(file.read_bytes())
    for row in range(ROWS):
        data[row * (3 * 7 * 16 * 2 + 4)] ^= 1
    file.write_bytes(data)
    assert fault(bank) == "crc32c wrong for rows 0, 1, 2, 3 and 1 more"


def test_index_and_facts_must_agree(bank):
    assert fault(bank, slots=[0, 1, 2, 4]) == "index and facts disagree about row 3"
    assert fault(bank, slots=[0, 1, 2, 3, 4, 6, 7]) == "index and facts disagree about rows 6, 7"


def test_other_bytes_with_good_checksums_fail_the_digest(bank):
    file = file_of(bank)
    other = row_values(small_spec(), 77)[NAME]
    file.write_bytes(with_row(file.read_bytes(), 1, other))
    assert fault(bank).startswith("its BLAKE3 digest is ")


def test_values_are_looked_at_even_where_all_digests_fit(bank):
    file = file_of(bank)
    bad = row_values(small_spec(), 3)[NAME]
    bad[1, 2, 3] = np.nan
    commit_instead(bank, file, with_row(file.read_bytes(), 3, bad))
    assert fault(bank) == "row 3 has values that are not finite"


def test_bytes_that_belong_to_no_row_are_found(bank):
    file = file_of(bank)
    data, tail = file.read_bytes(), index_bytes(64)
    pairs = parse_index(data[-tail:], rows=64, file_bytes=len(data), chunk_bytes=3 * 7 * 16 * 2 + 4)
    pairs[:ROWS, 0] += np.uint64(8)
    commit_instead(bank, file, b"12345678" + data[:-tail] + pack_index(pairs))
    assert fault(bank) == "there are bytes between its rows that belong to none"


def test_rows_in_any_order_of_the_file(bank):
    file = file_of(bank)
    data, tail, chunk = file.read_bytes(), index_bytes(64), 3 * 7 * 16 * 2 + 4
    pairs = parse_index(data[-tail:], rows=64, file_bytes=len(data), chunk_bytes=chunk)
    pairs[[0, 3]] = pairs[[3, 0]]
    chunks = [data[place : place + chunk] for place in range(0, ROWS * chunk, chunk)]
    chunks[0], chunks[3] = chunks[3], chunks[0]
    commit_instead(bank, file, b"".join(chunks) + pack_index(pairs))
    assert fault(bank) == ""
    np.testing.assert_array_equal(Bank(bank).read(NAME, [3])[0], row_values(small_spec(), 3)[NAME])


class Sick(LocalFile):
    """A file on a disk with a bad sector."""

    code = errno.EIO

    def read_into(self, offset, buffers):
        raise OSError(self.code, os.strerror(self.code))


def test_a_bad_sector_is_a_finding_and_a_lost_connection_is_not(bank, monkeypatch):
    place = open_place(bank)
    monkeypatch.setattr(type(place), "open", lambda place, name: Sick(place.path(name)))
    assert fault(bank) == "it cannot be read (Input/output error)"
    Sick.code = errno.ESTALE
    with pytest.raises(OSError, match="Stale"):
        fault(bank)


def peak_of_a_check(bank):
    record = Bank(bank).records[0, 0]
    file_check.PIECE_BYTES = 8192
    assert fault(bank, slots=range(64), record=record) == ""  # what is imported or kept once is not counted
    tracemalloc.start()
    assert fault(bank, slots=range(64), record=record) == ""
    return tracemalloc.get_traced_memory()[1]


def test_memory_is_a_piece_and_not_a_file(tmp_path):
    write_bank(tmp_path / "bank", 64, small_spec(frames=16))
    file = Bank(tmp_path / "bank").records[0, 0].files[f"{NAME}/c/0/0/0/0"]
    assert 5 * in_a_fresh_process(peak_of_a_check, tmp_path / "bank") < file.bytes
