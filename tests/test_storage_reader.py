"""The reader gives back exactly what was written, agrees with stock readers, and refuses damage."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import Bank, BankWriter, CorruptShard, MissingRow, NotABank, array_name
from tests.small_banks import row_values, small_spec, write_bank, write_shard

OUT = array_name(3, "out")


@pytest.fixture(scope="module")
def bank_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("reader") / "bank"
    write_bank(path, 70, failed=(5,))
    return path


def damaged(tmp_path, change):
    """A fresh bank whose first shard of `OUT` went through `change(bytes) -> bytes`."""
    path = tmp_path / "bank"
    write_bank(path, 3)
    file = path / OUT / "c/0/0/0/0"
    file.write_bytes(change(bytearray(file.read_bytes())))
    return Bank(path)


@given(rows=st.lists(st.integers(0, 69).filter(lambda row: row != 5), max_size=20))
@settings(max_examples=30, deadline=None)
def test_rows_come_back_in_the_order_asked(bank_path, rows):
    bank = Bank(bank_path)
    got = bank.read(OUT, rows)
    assert got.shape == (len(rows), *bank.layouts[OUT].row_shape)
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(got[place], row_values(bank.spec, row)[OUT])


def test_every_array_agrees_with_zarr_and_tensorstore(bank_path):
    bank = Bank(bank_path)
    group = zarr.open_group(bank_path, mode="r")
    rows = bank.rows()
    assert len(rows) == 69
    for name in bank.layouts:
        ours = bank.read(name, rows)
        np.testing.assert_array_equal(ours, np.asarray(group[name])[rows])
        other = tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(bank_path / name)}}
        ).result()
        np.testing.assert_array_equal(ours, np.asarray(other.read().result())[rows])


def test_absent_rows_are_nan_to_a_stock_reader(bank_path):
    assert np.isnan(np.asarray(zarr.open_group(bank_path, mode="r")[OUT])[5]).all()


def test_a_row_that_was_not_written_is_an_error_that_says_why(bank_path):
    with pytest.raises(MissingRow, match=r"row 5 \(clips/0005.mp4\).*failed, truncated"):
        Bank(bank_path).read(OUT, [4, 5])
    with pytest.raises(MissingRow, match="no committed row 700"):
        Bank(bank_path).read(OUT, [700])


def test_unknown_array_names_those_there_are(bank_path):
    with pytest.raises(KeyError, match="features/block02/out"):
        Bank(bank_path).read("features/block07/out", [0])


def test_no_bank_is_a_clear_error(tmp_path):
    with pytest.raises(NotABank, match="expected a framebank bank"):
        Bank(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:0], "it has 0 bytes"),
        (lambda data: data[: len(data) // 2], "committed were"),
        (lambda data: data + b"\0", "committed were"),
        (lambda data: data[:-8] + b"\0" * 8, "index's crc32c"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "fails its crc32c"),
    ],
    ids=["emptied", "halved", "longer", "bad index", "flipped bit"],
)
def test_damage_is_refused(tmp_path, change, reason):
    with pytest.raises(CorruptShard, match=reason):
        damaged(tmp_path, change).read(OUT, [0])


def test_a_deleted_shard_is_refused(tmp_path):
    bank = damaged(tmp_path, bytes)
    os.unlink(Path(bank.path) / OUT / "c/0/0/0/0")
    with pytest.raises(CorruptShard, match="the file is gone"):
        bank.read(OUT, [0])


def test_every_flipped_bit_is_seen(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 2)
    file = path / OUT / "c/0/0/0/0"
    good = file.read_bytes()
    row = 3 * 7 * 16 * 2 + 4
    for place in np.random.default_rng(0).integers(0, row * 8, 60):
        bad = bytearray(good)
        bad[place // 8] ^= 1 << (place % 8)
        file.write_bytes(bad)
        with pytest.raises(CorruptShard):
            Bank(path).read(OUT, [0])


def test_first_touch_remembers_and_always_does_not(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 2)
    file = path / OUT / "c/0/0/0/0"
    for verify, refused in (("first-touch", False), ("never", False), ("always", True)):
        bank = Bank(path, verify=verify)
        good = bank.read(OUT, [0])
        with open(file, "r+b") as handle:
            handle.write(bytes([file.read_bytes()[0] ^ 1]))
        if refused:
            with pytest.raises(CorruptShard):
                bank.read(OUT, [0])
        else:
            assert not np.array_equal(bank.read(OUT, [0]), good)
        with open(file, "r+b") as handle:
            handle.write(good.tobytes()[:1])


def test_a_removed_record_takes_its_rows_away(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 2)
    (path / "shards/00000.json").unlink()
    bank = Bank(path)
    assert len(bank.rows()) == 0
    with pytest.raises(MissingRow):
        bank.read(OUT, [0])


def test_threads_share_a_bank(bank_path):
    bank = Bank(bank_path)
    wrong = []

    def work(seed):
        for row in np.random.default_rng(seed).permutation(bank.rows())[:40]:
            if not np.array_equal(bank.read(OUT, [row])[0], row_values(bank.spec, int(row))[OUT]):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_descriptors_are_given_back(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 70)
    before = len(os.listdir("/proc/self/fd"))
    with Bank(path) as bank:
        bank.read(OUT, [0, 69])
        assert len(os.listdir("/proc/self/fd")) > before
    assert len(os.listdir("/proc/self/fd")) == before


def test_qk_banks_keep_queries_and_keys(tmp_path):
    path = tmp_path / "bank"
    spec = write_bank(path, 2, small_spec(attention="qk"))
    assert Bank(path).read(array_name(2, "q"), [1]).shape == (1, 3, 7, 2, 8)
    assert spec.attention(2) == "qk"
    assert spec.fingerprint == small_spec().fingerprint  # of the same rows


def test_a_shard_replaced_while_the_bank_is_open_is_read_anew(tmp_path):
    path = tmp_path / "bank"
    spec = write_bank(path, 3, failed=(1,))
    bank = Bank(path)
    assert bank.rows().tolist() == [0, 2]
    with BankWriter(path, spec) as writer:
        write_shard(path, 0, writer=writer)
    np.testing.assert_array_equal(bank.read(OUT, [2])[0], row_values(spec, 2)[OUT])
