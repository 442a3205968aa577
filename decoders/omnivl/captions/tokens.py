"""Captions cut to words, and their n-grams.

Published BLEU, ROUGE-L and CIDEr are of captions that Stanford's Java program has cut as the Penn Treebank
does. This does the same by one expression: small letters, clitics apart ("do n't", "man 's"), hyphens inside
words kept, numbers whole, every other sign dropped. Rare forms ("o'clock", "e.g.", "$5") come out otherwise
there, so scores may differ from published ones in a late digit.
"""

import re
from collections import Counter
from collections.abc import Sequence

ORDERS = 4
"""The longest n-grams that are counted."""
TOKEN = re.compile(
    r"\d+(?:[.,:/]\d+)+|\w+?(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+(?:-\w+)*",
)
NGram = tuple[str, ...]


def tokenise(caption: str) -> list[str]:
    """The words of a caption."""
    return TOKEN.findall(caption.lower().replace("’", "'"))


def ngrams(tokens: Sequence[str]) -> list[Counter[NGram]]:
    """How often each n-gram comes, for n from 1 to 4."""
    return [
        Counter(tuple(tokens[place : place + n]) for place in range(len(tokens) - n + 1))
        for n in range(1, ORDERS + 1)
    ]
