"""Retrieval in two stages: all by cosine, then the best K again by a slower judge of pairs.

Stage one compares vectors; it is exact: what could be among the K highest in fp32 is compared again in fp64
and rounded to fp32, so equal vectors have equal scores wherever they stand, and of equals the first comes
first. Stage two scores exactly K pairs a query. With K = 1 it changes nothing, with K = N it is the judge
alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64
from numpy.typing import NDArray

SCORES = 1 << 25
"""Scores that are in memory at once."""
ROWS = 1 << 14
"""Vectors of the gallery that are taken from the disk at once."""
SLACK = 1e-4
"""More than a product of unit vectors in fp32 may be wrong by, at widths up to 1000."""

Score = Literal["itm+sim", "itm", "sim"]


class Candidates(NamedTuple):
    """The best of stage one, K for each of Q queries, the best first."""

    places: Int64[np.ndarray, "Q K"]
    """In the gallery."""
    cosines: Float32[np.ndarray, "Q K"]

    def reordered(self, scores: Float32[np.ndarray, "Q K"]) -> "Order":
        """The candidates by other scores, the highest first; of equals that of the lower place."""
        order = np.lexsort((self.places, -scores), axis=-1)
        taken = (np.take_along_axis(values, order, axis=1) for values in (self.places, self.cosines, scores))
        return Order(*taken)


class Order(NamedTuple):
    """Candidates after stage two, the best first."""

    places: Int64[np.ndarray, "Q K"]
    cosines: Float32[np.ndarray, "Q K"]
    scores: Float32[np.ndarray, "Q K"]


Judge = Callable[[NDArray[np.int64], NDArray[np.int64]], Float32[np.ndarray, " n"]]
"""Logits of n pairs, given the numbers of their queries and the places of their candidates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoStage:
    """How many candidates are judged, and what of it counts."""

    candidates: int = 128
    """K; all, where the gallery has fewer."""
    score: Score = "itm+sim"
    """itm: the logit that a pair matches; itm+sim: that plus cosine / temperature, which is what a contrast
    of the pair with others would add; sim: stage one alone."""

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError(f"expected a candidate at least, found {self.candidates}")

    def order(self, found: Candidates, judge: Judge, temperature: float) -> Order:
        """Stage two: every candidate judged once."""
        if self.score == "sim":
            return Order(*found, found.cosines)
        queries = np.repeat(np.arange(len(found.places)), found.places.shape[1])
        logits = judge(queries, found.places.reshape(-1)).reshape(found.places.shape)
        added = found.cosines / np.float32(temperature) if self.score == "itm+sim" else np.float32(0)
        return found.reordered(logits + added)


def nearest(gallery: Float[np.ndarray, "N E"], queries: Float32[np.ndarray, "Q E"], count: int) -> Candidates:
    """The `count` vectors of a gallery with the highest cosines to each query, all where it has fewer.

    Args:
        gallery: unit vectors, which may lie on the disk. queries: unit vectors.

    Raises ValueError for an empty gallery, and for vectors with values that are no numbers.
    """
    if not len(gallery):
        raise ValueError("expected something to search among, found nothing; take another kind or split")
    if not np.isfinite(queries).all():
        raise ValueError("expected finite query vectors, found nan or inf; the model's weights have diverged")
    size = max(1, SCORES // len(gallery))
    parts = [
        _nearest(gallery, queries[start : start + size], min(count, len(gallery)))
        for start in range(0, len(queries), size)
    ]
    return Candidates(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _nearest(gallery: NDArray, queries: NDArray[np.float32], count: int) -> Candidates:
    scores = np.empty((len(queries), len(gallery)), np.float32)
    for start in range(0, len(gallery), ROWS):
        piece = slice(start, start + ROWS)
        scores[:, piece] = queries @ np.asarray(gallery[piece], np.float32).T
    least = np.partition(scores, len(gallery) - count, axis=1)[:, len(gallery) - count]
    if not np.isfinite(least).all():
        raise ValueError("expected finite vectors to search among, found nan or inf; make the index again")
    found = [
        _best(gallery, *one, count) for one in zip(queries, scores >= least[:, None] - SLACK, strict=True)
    ]
    return Candidates(*(np.stack(values) for values in zip(*found, strict=True)))


def _best(
    gallery: NDArray, query: NDArray[np.float32], close: Bool[np.ndarray, " N"], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best of those that are close, in fp64."""
    places = np.flatnonzero(close)
    cosines = (gallery[places].astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    order = np.lexsort((places, -cosines))[:count]
    return places[order], cosines[order]


def ranks_after(
    order: Order, right: Bool[np.ndarray, "Q K"], before: Float64[np.ndarray, " Q"]
) -> Float64[np.ndarray, " Q"]:
    """The rank of each query's best right answer after stage two; equal rivals count half, as in
    `decoders.ranks`, and further right answers do not stand in its way.

    Args:
        right: which of the ordered candidates are right answers. before: ranks after stage one, which hold
        for
            those that are no candidates, and so stand behind all of them.
    """
    own = np.where(right, order.scores, -np.inf).max(axis=1, keepdims=True)
    rivals = np.where(right, -np.inf, order.scores)
    within = 1 + (rivals > own).sum(axis=1) + (rivals == own).sum(axis=1) / 2
    behind = np.maximum(before, order.places.shape[1] + 1)
    return np.where(right.any(axis=1), within, behind)
