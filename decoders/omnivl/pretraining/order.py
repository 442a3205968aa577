"""Which samples a step takes, cut into the pieces of each process: a function of (seed, step).

Each kind of sample has an order of its own, each once an epoch, and its batches are numbered over all stages
of the schedule: images go on in the second stage where the first has left off.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from decoders.draws import Draws
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.pretraining.samples import Samples
from storage import RowOrder
from training.team import ALONE, Team


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Samples of a step that go through together."""

    step: int
    numbers: NDArray[np.int64]
    """(n,) which samples."""
    rows: NDArray[np.int64]
    """(n,) the view of each that is drawn."""
    draws: Draws
    """The random numbers of their places in the whole batch, on the CPU."""


class SampleOrder:
    """The pieces of every step whose batch is of the samples' kind, for one process of a team.

    Raises:
        ValueError: the processes cannot share a batch in whole pieces.
    """

    def __init__(self, samples: Samples, config: PretrainConfig, team: Team = ALONE) -> None:
        self.samples, self.config, self.team = samples, config, team
        self.size = config.schedule.batch(samples.kind)
        refuse_pieces(config, samples.kind, self.size, team.size)
        self._order = RowOrder(samples.rows, config.seed, rank=team.rank, world=team.size)

    def steps(self, steps: range) -> Iterator[int]:
        """Those steps whose batch is of this kind."""
        return (step for step in steps if self.config.schedule.kind_at(step) == self.samples.kind)

    def pieces(self, step: int) -> list[Piece]:
        """What this process takes at a step."""
        count = self.config.batch_split
        ours = self.team.part(self.size)
        size = (ours.stop - ours.start) // count
        numbers, rows = self._order.drawn(self.config.schedule.number_at(step), size * count)
        return [
            Piece(
                step=step,
                numbers=numbers[place : place + size],
                rows=rows[place : place + size],
                draws=self._draws(step, ours.start + place, size),
            )
            for place in range(0, size * count, size)
        ]

    def _draws(self, step: int, first: int, size: int) -> Draws:
        return Draws(
            seed=self.config.seed,
            step=step,
            rows=slice(first, first + size),
            total=self.size,
            device=torch.device("cpu"),
        )


def refuse_pieces(config: PretrainConfig, kind: str, batch: int, processes: int) -> None:
    """Raise ValueError unless a batch can be shared, and each piece holds whole groups of negatives."""
    parts = processes * config.batch_split
    if batch % parts:
        raise ValueError(
            f"expected a batch that {processes} processes can share in {config.batch_split} pieces each, "
            f"found {batch} {kind}s; change schedule.{kind}-batch or batch-split"
        )
    group = config.objective.negatives_from or batch
    if config.objective.matching and batch // parts % group:
        raise ValueError(
            f"expected pieces of whole groups of {group} {kind}s that find hard negatives among each other, "
            f"found pieces of {batch // parts}; name a divisor of that with objective.negatives-from"
        )
