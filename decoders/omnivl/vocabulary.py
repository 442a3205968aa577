"""Texts as numbers and back: CLIP's byte pairs and two tasks.

open_clip brings this vocabulary with it, so nothing is downloaded. A text is SOT, its byte pairs, EOT, then
pads. The pad is 0, which is also an exclamation mark within a word: its first EOT alone says where a text
ends. In the two decoders a task token stands in the place of SOT, as in BLIP.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from backbones.tokenizer import Tokenizer

SOT, EOT = 49406, 49407
"""What begins and ends a text in CLIP's vocabulary."""
ENC, DEC = 49408, 49409
"""What begins it in the alignment decoder, and in the generation decoder."""
ROWS = 49410
"""Tokens in all."""
PAD = 0
"""What follows the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """What a search has to know of the tokens that it strings together."""

    begin: int
    """Stands where a text begins that is to be generated."""
    end: int
    """Ends it."""
    closed: tuple[int, ...] = ()
    """Never generated."""


WORDS = Vocabulary(begin=DEC, end=EOT, closed=(SOT, ENC, DEC))
"""That of all texts here."""


def text_tokenizer(context: int) -> Tokenizer:
    """Texts to Int64 tokens (N, context); longer ones are cut, EOT stays."""
    return Tokenizer({"context_length": context})


def text_mask(tokens: Int[Tensor, "N L"], end: int = EOT) -> Bool[Tensor, "N L"]:
    """True up to and including the first `end`; all of a text that has none."""
    ends = (tokens == end).int()
    return ends.cumsum(dim=1) - ends == 0


def begun_with(tokens: Int[Tensor, "N L"], task: int) -> Int[Tensor, "N L"]:
    """The texts, begun with another token."""
    return torch.cat([torch.full_like(tokens[:, :1], task), tokens[:, 1:]], dim=1)


def detokenise(tokenizer: Tokenizer, tokens: Int[Tensor, "N L"]) -> list[str]:
    """The words of each text, without what begins, ends and fills it; all of one that has no end."""
    masks = text_mask(tokens)
    return [_words(tokenizer, row[mask].tolist()) for row, mask in zip(tokens, masks, strict=True)]


def _words(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    return tokenizer.decode([token for token in tokens if token < SOT])
