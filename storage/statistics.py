"""What the values of an array are like, gathered while they are at hand: rows, mean, deviation, range.

Free normalisation for users, and a cheap alarm: a block whose deviation differs between shards was not made
by one model. Written into commit records, shown by `framebank inspect`, outside all digests, since sums may
differ in their last bits between machines.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """Of some values of one array."""

    count: int
    """How many values."""
    mean: float
    """Their mean."""
    square: float
    """Mean of their squares."""
    low: float
    """The least."""
    high: float
    """The greatest."""

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return math.sqrt(max(0.0, self.square - self.mean**2))

    def to_json(self) -> dict[str, float]:
        """Plain JSON values."""
        names = ("count", "mean", "square", "low", "high")
        return {name: getattr(self, name) for name in names}


def row_statistics(values: Any) -> list[Statistics]:
    """One entry per row of (N, ...) floats, of numpy or torch; both have these methods."""
    flat = values.reshape(len(values), -1)
    columns = (flat.mean(1), (flat * flat).mean(1), flat.min(1), flat.max(1))
    # torch's min over a dimension returns (values, indices), numpy's the values
    plain = [(column if hasattr(column, "tolist") else column[0]).tolist() for column in columns]
    return [
        Statistics(count=math.prod(flat.shape[1:]), mean=mean, square=square, low=low, high=high)
        for mean, square, low, high in zip(*plain, strict=True)
    ]


def merged(parts: Sequence[Statistics]) -> Statistics:
    """Statistics of all values together; at least one part."""
    count = sum(part.count for part in parts)
    return Statistics(
        count=count,
        mean=math.fsum(part.mean * part.count for part in parts) / count,
        square=math.fsum(part.square * part.count for part in parts) / count,
        low=min(part.low for part in parts),
        high=max(part.high for part in parts),
    )
