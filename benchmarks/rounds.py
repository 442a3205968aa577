"""Rounds of rivals taking turns, so that whatever else the machine does falls on all: seconds to figures."""

import statistics
import time
from collections.abc import Sequence


class Clock:
    """Seconds inside its `with` blocks, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._begun = 0.0

    def __enter__(self) -> "Clock":
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun


def ratio(others: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as long the others took: the median of the rounds' ratios."""
    return rounded(statistics.median(other / our for other, our in zip(others, ours, strict=True)))


def speed(size: int, seconds: Sequence[float]) -> float:
    """GB/s of `size` bytes in the median round."""
    return rounded(size / statistics.median(seconds) / 1e9)


def rounded(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")
