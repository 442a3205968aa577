"""Texts as numbers and back: CLIP's byte pairs and two tasks.

open_clip brings this vocabulary with it, so nothing is downloaded. A text is SOT, its byte pairs, EOT, then
pads. Of a few texts about few things a table of all 48,894 byte pairs would be most of the work: the first
thousand, say, spell the rest. The pad is 0, which is also an exclamation mark within a word: its first EOT
alone says where a text ends. In the two decoders a task token stands in the place of SOT, as in BLIP.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from backbones.tokenizer import Tokenizer

BYTES = 512
"""Tokens of single bytes, within a word and at its end; byte pairs follow."""
MERGES = 48894
"""Byte pairs of CLIP's list, the most frequent first."""
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """The vocabulary of all texts here, of so many byte pairs: tokens of bytes and pairs, SOT, EOT, ENC,
    DEC."""

    merges: int = MERGES

    @property
    def start(self) -> int:
        """SOT, which begins a text."""
        return BYTES + self.merges

    @property
    def end(self) -> int:
        """EOT, which ends it."""
        return self.start + 1

    @property
    def enc(self) -> int:
        """What begins it in the alignment decoder."""
        return self.start + 2

    @property
    def dec(self) -> int:
        """What begins it in the generation decoder."""
        return self.start + 3

    @property
    def rows(self) -> int:
        """Tokens in all."""
        return self.start + 4

    @property
    def generated(self) -> Vocabulary:
        """As searches see it."""
        return Vocabulary(begin=self.dec, end=self.end, closed=(self.start, self.enc, self.dec))


def text_tokenizer(context: int, words: Words = Words()) -> Tokenizer:
    """Texts to Int64 tokens (N, context); longer ones are cut, EOT stays."""
    return Tokenizer({"context_length": context, "merges": words.merges})


def text_mask(tokens: Int[Tensor, "N L"], end: int) -> Bool[Tensor, "N L"]:
    """True up to and including the first `end`; all of a text that has none."""
    ends = (tokens == end).int()
    return ends.cumsum(dim=1) - ends == 0


def begun_with(tokens: Int[Tensor, "N L"], task: int) -> Int[Tensor, "N L"]:
    """The texts, begun with another token."""
    return torch.cat([torch.full_like(tokens[:, :1], task), tokens[:, 1:]], dim=1)


def detokenise(tokenizer: Tokenizer, tokens: Int[Tensor, "N L"]) -> list[str]:
    """The words of each text, without what begins, ends and fills it; as far as it came where it has no
    end."""
    words = Words(merges=tokenizer.text_cfg["merges"])
    masks = text_mask(tokens, words.end)
    return [
        tokenizer.decode([token for token in row[mask].tolist() if token < words.start])
        for row, mask in zip(tokens, masks, strict=True)
    ]
