"""The order in which training sees rows: random over the whole bank, and a pure function of (seed, step).

Epoch after epoch, each line once an epoch in a new permutation, the epochs joined without a gap: nothing is
dropped, and a batch may span two epochs. Since any step can be asked for at any time there is no state to
save; a run that goes on after k steps asks for step k, in the middle of an epoch or not.

Rank r of W takes batch s * W + r where a process alone would take batch s. So the ranks' batches of a step,
one after the other, are the batch that one process would see at that step with W times the size.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class RowOrder:
    """Batches of row numbers by step number.

    Args:
        rows: (n,) row numbers, or (n, V), of which each epoch draws one of the V in each line.
        seed: decides permutations and draws; at least 0.
        rank: which of the processes that train together this is.
        world: how many they are.

    Raises:
        ValueError: no rows; a rank that there is not.
    """

    def __init__(self, rows: NDArray[np.int64], seed: int, *, rank: int = 0, world: int = 1) -> None:
        if not len(rows):
            raise ValueError("expected rows to put in order, found none")
        if not 0 <= rank < world:
            raise ValueError(f"expected a rank from 0 to {world - 1} in a world of {world}, found {rank}")
        self._rows = np.reshape(rows, (len(rows), -1))
        self._seed, self._rank, self._world = seed, rank, world
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def batch(self, step: int, size: int) -> NDArray[np.int64]:
        """The (size,) row numbers that this rank sees at a 0-based step."""
        return self.drawn(step, size)[1]

    def batches(self, steps: range, size: int) -> Iterator[NDArray[np.int64]]:
        """The batches of some steps."""
        return (self.batch(step, size) for step in steps)

    def drawn(self, step: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As `batch`, with the lines in front that the row numbers stand in, both (size,)."""
        first = (step * self._world + self._rank) * size
        epochs, within = np.divmod(np.arange(first, first + size), len(self._rows))
        drawn = [self._epoch(int(epoch))[:, within[epochs == epoch]] for epoch in np.unique(epochs)]
        lines, views = np.concatenate(drawn, axis=1)
        return lines, self._rows[lines, views]

    def _draw_epoch(self, epoch: int) -> NDArray[np.int64]:
        """(2, n): lines in the epoch's order, and which of its rows is drawn from each."""
        draw = np.random.default_rng([self._seed, epoch])
        count, views = self._rows.shape
        return np.stack([draw.permutation(count), draw.integers(views, size=count)])
