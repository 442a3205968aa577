"""The random numbers of one training step: a function of (seed, step, row of the whole batch), and of nothing
else.

A batch may be cut into pieces that are learned from one after the other, and shared by several processes.
Whatever is drawn for a clip, a mask of dropout above all, must not depend on that, or a run on two GPUs would
be another run than that on one. So each kind of number has a stream of its own, seeded by (seed, step, name);
it is drawn for every row of the whole batch, and a piece takes its rows of it. So every piece draws what the
others use too: 13,056 numbers a clip of the whole batch for a B/16 decoder of four layers, 0.13 ms of a core,
where a clip's share of the step takes hundreds.

Torch's own generators are neither read nor moved, so no state has to be saved, or kept from others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """What may be drawn for some rows of a step's batch."""

    seed: int
    """Of the run."""
    step: int
    """0-based."""
    rows: slice
    """The rows of the whole batch that are learned from, those of this piece on this process."""
    total: int
    """Rows of the whole batch, all pieces on all processes."""
    device: torch.device
    """Where numbers are drawn and wanted. A CPU and a GPU draw others."""

    def uniform(self, name: str, *shape: int) -> torch.Tensor:
        """(rows, *shape) numbers in [0, 1), always the same for the same name and shape."""
        stream = self.stream(name)
        return torch.rand(self.total, *shape, generator=stream, device=self.device)[self.rows]

    def stream(self, name: str) -> torch.Generator:
        """A new generator at the beginning of the stream of that name. Whoever draws from it draws for the
        whole batch, and takes its `rows`.
        """
        number = int.from_bytes(name.encode())
        return torch.Generator(self.device).manual_seed(_mixed(self.seed, self.step, number))


def dropout(
    values: Float[torch.Tensor, "N C"], share: float, draws: Draws | None, name: str
) -> Float[torch.Tensor, "N C"]:
    """The values with a `share` of them zero, at random, and the others larger, so that the mean stays. As
    they are where nothing is drawn, in evaluation.
    """
    if draws is None or not share:
        return values
    kept = draws.uniform(name, *values.shape[1:]) >= share
    return values * (kept.to(values.dtype) / (1 - share))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initial weights drawn inside, on the CPU, depend on `seed` alone; the generator outside is left as it
    was.
    """
    with torch.random.fork_rng([]):
        # torch.manual_seed would also queue a reseeding, with a stack trace, for a CUDA that is not in use
        torch.default_generator.manual_seed(_mixed(seed, 0))
        yield


def _mixed(*numbers: int) -> int:
    """63 bits that depend on all of them."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
