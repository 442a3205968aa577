"""The loader gives exactly the rows asked for, in bounded memory, and leaves nothing behind."""

import os
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import POOLED, Bank, CorruptShard, MissingRow, RowLoader, RowOrder, array_name
from storage.loader import THREAD_NAME
from tests import s3_server
from tests.memory import in_a_fresh_process
from tests.s3_server import fresh_url
from tests.small_banks import row_values, write_bank

OUT = array_name(3, "out")
server, front = s3_server.server, s3_server.front
ARRAYS = (OUT, POOLED, array_name(2, "map_prev"))
ORDERS = st.lists(st.lists(st.integers(0, 69).filter(lambda row: row != 5), max_size=9), max_size=8)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    path = tmp_path_factory.mktemp("loader") / "bank"
    write_bank(path, 70, failed=(5,))
    with Bank(path) as bank:
        yield bank


def copies(batches):
    return [{name: values.copy() for name, values in batch.items()} for batch in batches]


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


def pairs(count):
    """Batches of two rows, none of which failed."""
    return [[2 * (number % 30) + 10, 2 * (number % 30) + 11] for number in range(count)]


def count_buffers(made):
    """An allocator that writes down what it allocates."""

    def allocate(shape, dtype):
        made.append(shape)
        return np.empty(shape, dtype)

    return allocate


class SlowBank(Bank):
    """A bank on a slow disk."""

    def read(self, name, rows, out=None):
        time.sleep(0.02)
        return super().read(name, rows, out)


@given(order=ORDERS, threads=st.integers(1, 5), ahead=st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_batches_are_the_rows_asked_for(bank, order, threads, ahead):
    found = copies(RowLoader(bank, ARRAYS, threads=threads, ahead=ahead).batches(order))
    assert len(found) == len(order)
    for rows, batch in zip(order, found, strict=True):
        assert list(batch) == list(ARRAYS)
        for name in ARRAYS:
            expected = bank.read(name, rows)
            assert batch[name].dtype == expected.dtype
            np.testing.assert_array_equal(batch[name], expected)


def test_an_epoch_has_every_row_once_with_any_number_of_threads(bank):
    rows = bank.rows()
    known = {row_values(bank.spec, int(row))[OUT].tobytes(): int(row) for row in rows}
    for threads in (1, 2, 7):
        loader, order = RowLoader(bank, [OUT], threads=threads), RowOrder(rows, seed=2)
        seen = [
            known[values.tobytes()]
            for batch in loader.batches(order.batches(range(6), 23))
            for values in batch[OUT]
        ]
        assert seen == np.concatenate(list(order.batches(range(6), 23))).tolist()
        assert sorted(seen[:69]) == sorted(seen[69:]) == rows.tolist()


def test_training_goes_on_in_the_middle_of_an_epoch(bank):
    whole = copies(RowLoader(bank, [OUT]).batches(RowOrder(bank.rows(), seed=4).batches(range(20), 8)))
    for at in (3, 9, 17):
        rest = copies(RowLoader(bank, [OUT]).batches(RowOrder(bank.rows(), seed=4).batches(range(at, 20), 8)))
        np.testing.assert_array_equal([b[OUT] for b in whole[at:]], [b[OUT] for b in rest])


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_buffers_are_allocated_once(bank, ahead):
    made = []
    loader = RowLoader(bank, ARRAYS, ahead=ahead, allocate=count_buffers(made))
    for _ in range(12):
        assert sum(1 for _ in loader.batches(pairs(9))) == 9
        for _ in loader.batches(pairs(9)):
            break
    assert len(made) == (ahead + 1) * len(ARRAYS)


def test_a_batch_stays_until_the_next_is_asked_for(bank):
    batches = RowLoader(bank, [OUT], ahead=2).batches(pairs(12))
    for rows, batch in zip(pairs(12), batches, strict=True):
        time.sleep(0.005)  # the reads ahead would have been done by now
        np.testing.assert_array_equal(batch[OUT], bank.read(OUT, rows))


def test_buffers_grow_with_the_batches(bank):
    made = []
    loader = RowLoader(bank, [OUT], ahead=1, allocate=count_buffers(made))
    found = copies(loader.batches([[1], [2, 3], [4, 6, 7, 8], [9], [10, 11]]))
    assert [len(batch[OUT]) for batch in found] == [1, 2, 4, 1, 2]
    assert [shape[0] for shape in made] == [1, 2, 4]


def test_two_runs_of_one_loader_do_not_share_buffers(bank):
    loader = RowLoader(bank, [OUT], ahead=1)
    for one, other in zip(loader.batches(pairs(10)), loader.batches(pairs(10)[::-1]), strict=True):
        assert not np.shares_memory(one[OUT], other[OUT])
        np.testing.assert_array_equal(one[OUT].shape, other[OUT].shape)


def test_a_slow_consumer_stops_the_reading(bank):
    drawn = []

    def order():
        for rows in pairs(50):
            drawn.append(rows)
            yield rows

    batches = RowLoader(bank, [OUT], ahead=2).batches(order())
    for done in range(1, 6):
        next(batches)
        time.sleep(0.01)
        assert len(drawn) == done + 2
    batches.close()


def growth_over_epochs(path):
    bank = Bank(path)
    loader, order = RowLoader(bank, ARRAYS), RowOrder(bank.rows(), seed=0)

    def epochs(first, last):
        for _ in loader.batches(order.batches(range(first * 9, last * 9), 8)):
            pass
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = epochs(0, 3)
    return epochs(3, 30) - before


def test_many_epochs_take_no_more_memory(tmp_path):
    write_bank(tmp_path / "bank", 70, failed=(5,))
    assert in_a_fresh_process(growth_over_epochs, tmp_path / "bank") < 20_000  # one buffer has 10,752 bytes


def test_a_damaged_row_is_raised_at_its_batch(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 40)
    file = path / OUT / "c/0/0/0/0"
    data = bytearray(file.read_bytes())
    with Bank(path) as good:
        row_bytes = good.layouts[OUT].row_bytes
    data[21 * (row_bytes + 4) + 100] ^= 1
    file.write_bytes(data)
    with Bank(path) as bank:
        batches = RowLoader(bank, [POOLED, OUT], threads=3, ahead=3).batches(
            [[2 * number, 2 * number + 1] for number in range(20)]
        )
        for number in range(10):
            expected = row_values(bank.spec, 2 * number)[OUT]
            np.testing.assert_array_equal(next(batches)[OUT][0], expected)
        with pytest.raises(CorruptShard, match="row slot 21 fails its crc32c"):
            next(batches)
        assert not loader_threads()
        assert list(batches) == []


def test_a_missing_row_is_raised_at_its_batch(bank):
    batches = RowLoader(bank, [OUT], ahead=2).batches([[1, 2], [3, 4], [6, 5]])
    assert len(next(batches)[OUT]) == len(next(batches)[OUT]) == 2
    with pytest.raises(MissingRow, match="row 5 "):
        next(batches)
    assert not loader_threads()


def test_an_error_of_the_order_ends_it(bank):
    def order():
        yield [1]
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(RowLoader(bank, [OUT]).batches(order()))
    assert not loader_threads()


def test_small_batches_are_read_by_all_threads(bank):
    together = threading.Barrier(4)

    class Meeting(Bank):
        def read(self, name, rows, out=None):
            if out is not None:
                together.wait(timeout=20)  # broken unless four threads read at a time
            return super().read(name, rows, out)

    with Meeting(bank.path) as meeting:
        (batch,) = RowLoader(meeting, [OUT], threads=4).batches([[8, 1, 9, 0]])
    np.testing.assert_array_equal(batch[OUT], bank.read(OUT, [8, 1, 9, 0]))


def test_batches_are_read_while_the_consumer_works(bank):
    read = []

    class Watched(Bank):
        def read(self, name, rows, out=None):
            read.extend(rows)
            return super().read(name, rows, out)

    with Watched(bank.path) as watched:
        batches = RowLoader(watched, [OUT], ahead=2).batches(pairs(6))
        for done in range(1, 5):
            next(batches)
            until = time.monotonic() + 20
            while len(read) < 2 * (done + 2) and time.monotonic() < until:
                time.sleep(0.001)
            assert sorted(read) == list(range(10, 10 + 2 * (done + 2)))
        batches.close()


def test_closing_early_leaves_no_thread_and_no_file(tmp_path):
    path = tmp_path / "bank"
    write_bank(path, 40)
    before = len(os.listdir("/proc/self/fd"))
    with Bank(path) as bank:
        for ahead in (0, 2, 5):
            batches = RowLoader(bank, ARRAYS, threads=4, ahead=ahead).batches(pairs(15))
            next(batches)
            assert loader_threads()
            batches.close()
            assert not loader_threads()
    assert len(os.listdir("/proc/self/fd")) == before


def test_leaving_the_loop_leaves_no_thread(bank):
    for _ in RowLoader(bank, [OUT]).batches(pairs(20)):
        break
    assert not loader_threads()


def test_an_error_in_the_loop_leaves_no_thread(bank):
    def training():
        for batch in RowLoader(bank, [OUT]).batches(pairs(20)):
            raise ArithmeticError(batch[OUT].shape)

    with pytest.raises(ArithmeticError):
        training()
    assert not loader_threads()


def test_ctrl_c_while_reading_leaves_no_thread(bank):
    with SlowBank(bank.path) as slow:
        batches = RowLoader(slow, [OUT], threads=2).batches(pairs(10_000))
        threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt) as caught:
            for _ in batches:
                pass
        assert not loader_threads(), caught


def test_batches_that_nobody_asks_for_start_nothing(bank):
    made = []
    RowLoader(bank, [OUT], allocate=count_buffers(made)).batches(pairs(3))
    assert not made
    assert not loader_threads()


def test_mistakes_are_named(bank):
    with pytest.raises(KeyError, match="keeps no array 'features/block07/out'"):
        RowLoader(bank, ["features/block07/out"])
    for wrong in ({"threads": 0}, {"ahead": -1}):
        with pytest.raises(ValueError, match="at least one array and one thread, and ahead at least 0"):
            RowLoader(bank, [OUT], **wrong)
    with pytest.raises(ValueError, match="found 0 arrays"):
        RowLoader(bank, [])


def test_files_in_a_bucket_are_opened_once(front, monkeypatch):
    url = fresh_url()
    write_bank(url, 24, shard_rows=4)
    monkeypatch.setattr("storage.reader.OPEN_FILES", 2)
    with Bank(url) as remote:
        loader, order = RowLoader(remote, [OUT]), RowOrder(remote.rows(), seed=0)
        for _ in loader.batches(order.batches(range(4), 6)):
            pass
        front.happened.clear()
        for _ in loader.batches(order.batches(range(4, 8), 6)):
            pass
    assert front.happened == {"none": 24, "GET": 24}


def test_a_bucket_is_read_by_more_threads(bank, front):
    url = fresh_url()
    write_bank(url, 20)
    with Bank(url) as remote:
        loader = RowLoader(remote, ARRAYS)
        assert (loader.threads, RowLoader(bank, ARRAYS).threads) == (16, 4)
        found = copies(loader.batches([[3, 17, 9], [0, 1]]))
    for rows, batch in zip([[3, 17, 9], [0, 1]], found, strict=True):
        np.testing.assert_array_equal(batch[OUT], bank.read(OUT, rows))
