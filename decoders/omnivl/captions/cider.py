"""CIDEr-D (arXiv 1411.5726): how much a caption says what people say of this image and not of others.

An n-gram weighs as much as it is rare among the images' references: log of the number of images over that of
those where some reference has it. A caption and a reference are compared by the cosine of these weights,
counts beyond the reference's clipped, times a Gaussian of the difference in length; this is averaged over
references and over n from 1 to 4, and multiplied by 10. Numbers are those of pycocoevalcap, whose length of
a caption is its number of bigrams. A corpus of one image has no rare n-grams, and scores 0.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from decoders.omnivl.captions.tokens import ORDERS, NGram, ngrams

SIGMA = 6.0
SCALE = 10.0
Tokens = Sequence[str]
Vectors = list[dict[NGram, float]]


def cider(said: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> NDArray[np.float64]:
    """(n,) CIDEr-D of each caption, as tokens, with the references of its image; that of all is the mean."""
    counted = [[ngrams(tokens) for tokens in one] for one in references]
    seen: Counter[NGram] = Counter()
    for one in counted:
        seen.update({gram for counts in one for order in counts for gram in order})
    rarest = math.log(len(references))

    def weighed(counts: list[Counter[NGram]]) -> Vectors:
        return [
            {gram: times * (rarest - math.log(max(1, seen[gram]))) for gram, times in order.items()}
            for order in counts
        ]

    scores = []
    for tokens, one in zip(said, counted, strict=True):
        vectors = weighed(ngrams(tokens))
        alike = [_alike(vectors, weighed(counts)) * _as_long(tokens, counts) for counts in one]
        scores.append(SCALE * sum(alike) / len(alike))
    return np.array(scores)


def _alike(said: Vectors, reference: Vectors) -> float:
    """The mean over n of clipped cosines."""
    found = 0.0
    for ours, theirs in zip(said, reference, strict=True):
        shared = sum(
            min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs
        )
        length = _norm(ours) * _norm(theirs)
        found += shared / length if length else 0.0
    return found / ORDERS


def _norm(vector: dict[NGram, float]) -> float:
    return math.sqrt(sum(weight * weight for weight in vector.values()))


def _as_long(tokens: Tokens, reference: list[Counter[NGram]]) -> float:
    difference = max(0, len(tokens) - 1) - reference[1].total()
    return math.exp(-(difference**2) / (2 * SIGMA**2))
