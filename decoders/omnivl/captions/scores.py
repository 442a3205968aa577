"""How good captions are: BLEU-1 to 4, ROUGE-L and CIDEr-D, the numbers of pycocoevalcap.

BLEU (Papineni et al. 2002) is the geometric mean of the shares of a caption's n-grams that some reference
has, over the corpus as a whole, times a penalty for what is shorter than the nearest reference; ROUGE-L (Lin
2004) weighs recall over precision of the longest common subsequence, beta 1.2, with the best reference for
each. torchmetrics' BLEU computes in float32 and takes the first of two references that are equally near in
length, where this takes the shorter; its ROUGE-L has another beta and another way with several references,
so neither gives these numbers; pycocoevalcap itself weighs 104 MB and wants Java. METEOR and SPICE, which
need Java, are left out.
"""

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray

from decoders.omnivl.captions.cider import cider
from decoders.omnivl.captions.tokens import ORDERS, ngrams, tokenise

SMALL, TINY = 1e-9, 1e-15
"""Added to what BLEU divides by, and to what it divides, so that nothing is divided by zero."""
BETA = 1.2
Tokens = Sequence[str]


def caption_scores(said: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-1 to 4 and ROUGE-L from 0 to 1, CIDEr from 0 to 10, of captions with their references.

    Raises ValueError where there are no captions, or one has no references.
    """
    if not said or len(said) != len(references) or not all(references):
        raise ValueError(
            f"expected captions with a reference at least for each, found {len(said)} captions and "
            f"{sum(map(bool, references))} with references; leave out what has none"
        )
    ours = [tokenise(one) for one in said]
    theirs = [[tokenise(one) for one in several] for several in references]
    whole, _ = bleu(ours, theirs)
    return {f"BLEU-{n}": float(score) for n, score in enumerate(whole, 1)} | {
        "ROUGE-L": float(rouge_l(ours, theirs).mean()),
        "CIDEr": float(cider(ours, theirs).mean()),
    }


def bleu(
    said: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(4,) BLEU-1 to 4 of a corpus, which is no mean of its captions', and (n, 4) of each caption alone."""
    found = np.array([_matches(one, several) for one, several in zip(said, references, strict=True)])
    lengths = np.array(
        [(len(one), _nearest_length(one, several)) for one, several in zip(said, references, strict=True)]
    )
    return _bleu(found.sum(0), lengths.sum(0)), _bleu(found, lengths)


def _matches(said: Tokens, references: Sequence[Tokens]) -> list[tuple[int, int]]:
    """For n from 1 to 4: the n-grams that some reference has as often, and all."""
    known = zip(*map(ngrams, references), strict=True)
    most = [reduce(or_, several) for several in known]
    return [((ours & theirs).total(), ours.total()) for ours, theirs in zip(ngrams(said), most, strict=True)]


def _nearest_length(said: Tokens, references: Sequence[Tokens]) -> int:
    return min((abs(len(one) - len(said)), len(one)) for one in references)[1]


def _bleu(found: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., 4) from (..., 4, 2) matching and all n-grams and (..., 2) lengths of captions and references."""
    shares = (found[..., 0] + TINY) / (found[..., 1] + SMALL)
    means = np.cumprod(shares, axis=-1) ** (1 / np.arange(1, ORDERS + 1))
    ratio = (lengths[..., :1] + TINY) / (lengths[..., 1:] + SMALL)
    return means * np.exp(np.minimum(0.0, 1 - 1 / ratio))


def rouge_l(said: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> NDArray[np.float64]:
    """(n,) ROUGE-L of each caption; that of a corpus is the mean."""
    return np.array([_rouge_l(one, several) for one, several in zip(said, references, strict=True)])


def _rouge_l(said: Tokens, references: Sequence[Tokens]) -> float:
    common = [(_common(said, one), len(one)) for one in references if one and said]
    recall = max((shared / length for shared, length in common), default=0.0)
    precision = max((shared / len(said) for shared, _ in common), default=0.0)
    if not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _common(first: Tokens, second: Tokens) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for place, other in enumerate(second, 1):
            here = row[place]
            row[place] = before + 1 if word == other else max(here, row[place - 1])
            before = here
    return row[-1]
