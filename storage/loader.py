"""Batches of rows for training, in exactly the order given, read ahead by threads.

Threads and not processes: a read is one `preadv` or one ranged request into its place in the batch, which
holds no interpreter lock, so nothing has to be pickled, copied between processes or cleaned up in shared
memory when one dies. Every piece of a batch has its place before a thread touches it, so the order cannot
depend on how many threads there are or which is faster. From the page cache two threads read as fast as the
memory allows; from a disk four are a tenth faster, and no slower from the cache. A request to a bucket takes
tens of milliseconds, so there sixteen wait at a time.

Memory is a ring of `ahead + 1` sets of buffers, allocated for the first batches and read into again and
again: fresh memory for every batch would cost a page fault per 4 KiB, half as much again as the read. There
is no thread that plans: the next batch is begun when the consumer asks for one and so gives the oldest set
back, and a consumer that is slow or stops asking has stopped the reading too.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from storage.reader import Bank

THREADS, THREADS_REMOTE = 4, 16
THREAD_NAME = "framebank-read"

Batch = dict[str, np.ndarray]
"""Array name to (n, *row shape) values in the stored type."""
Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]


class RowLoader:
    """Reads batches of rows of some arrays of a bank. Safe to use from many threads.

    Args:
        bank: an open bank.
        arrays: names of the arrays to read.
        threads: how many read; None takes 4 for a folder, 16 for a URL.
        ahead: batches that are read before they are asked for; with n rows of b bytes a batch, a run of
            `batches` holds (ahead + 1) * n * b bytes.
        allocate: makes an uninitialised buffer of a shape and type, C-contiguous (pinned memory, say).

    Raises:
        KeyError: the bank keeps no such array.
        ValueError: no array, no thread, or `ahead` below 0.
        CorruptShard: a damaged commit record.
    """

    def __init__(
        self,
        bank: Bank,
        arrays: Sequence[str],
        *,
        threads: int | None = None,
        ahead: int = 2,
        allocate: Allocate = np.empty,
    ) -> None:
        self.threads = threads if threads is not None else default_threads(bank)
        if not arrays or self.threads < 1 or ahead < 0:
            raise ValueError(
                "expected at least one array and one thread, and ahead at least 0, found "
                f"{len(arrays)} arrays, {self.threads} threads, ahead={ahead}"
            )
        self._bank, self._ahead, self._allocate = bank, ahead, allocate
        self._no_rows = {name: bank.read(name, ()) for name in arrays}
        _ = bank.records  # asked for here, once: threads that ask together would each read all of them
        self._idle: list[list[Batch]] = []

    def batches(self, order: Iterable[Sequence[int] | NDArray[np.int64]]) -> Generator[Batch, None, None]:
        """For each array of row numbers, its batch.

        A batch is valid until the next one is asked for; then its memory is read into again, so copy what is
        to be kept. `order` is read `ahead` batches ahead, by the thread that asks. Closing the generator (or
        leaving the loop that is its only owner, by `break`, an error or Ctrl-C) cancels what is not begun and
        waits for the reads under way; afterwards its threads are gone.

        Raises:
            MissingRow, CorruptShard, StoreError: when the batch with that row is due, not before.
        """
        ring = self._idle.pop() if self._idle else [Batch() for _ in range(self._ahead + 1)]
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix=THREAD_NAME)
        begun: deque[tuple[Batch, list[Future[np.ndarray]]]] = deque()
        try:
            for number, rows in enumerate(order):
                begun.append(self._begin(pool, ring[number % len(ring)], np.array(rows, np.int64)))
                if len(begun) == len(ring):
                    yield finished(*begun.popleft())
            while begun:
                yield finished(*begun.popleft())
        finally:
            pool.shutdown(cancel_futures=True)
            self._idle.append(ring)

    def _begin(
        self, pool: ThreadPoolExecutor, buffers: Batch, rows: NDArray[np.int64]
    ) -> tuple[Batch, list[Future[np.ndarray]]]:
        """A batch whose pieces are being read into `buffers`: every array in a piece for each thread, as few
        as keep all threads busy, since handing one over costs as much as reading a small row.
        """
        batch = self._room(buffers, len(rows))
        size = max(1, -(-len(rows) // self.threads))
        cuts = [slice(first, first + size) for first in range(0, len(rows), size)]
        pieces = [(name, rows[cut], out[cut]) for name, out in batch.items() for cut in cuts]
        return batch, [pool.submit(self._bank.read, *piece) for piece in pieces]

    def _room(self, buffers: Batch, count: int) -> Batch:
        """Room for `count` rows in the buffers, which grow where they are too small."""
        for name, none in self._no_rows.items():
            if name not in buffers or len(buffers[name]) < count:
                buffers[name] = self._allocate((count, *none.shape[1:]), none.dtype)
        return {name: buffer[:count] for name, buffer in buffers.items()}


def finished(batch: Batch, pieces: Iterable[Future[np.ndarray]]) -> Batch:
    """The batch, once all its pieces are read. Raises the error of the first that could not be."""
    for piece in pieces:
        piece.result()
    return batch


def default_threads(bank: Bank) -> int:
    """How many threads a bank's place is read with best."""
    return THREADS_REMOTE if "://" in bank.path else THREADS
