"""Texts from the generation decoder: greedy, or the best that a beam search finds.

A beam search keeps the few likeliest beginnings of each text; with one it is greedy. Texts that have ended
stay among them until enough open ones are likelier. In the end

    score = log-likelihood / tokens ** length_penalty

decides: 0 is the likeliest text of those found, 1 the one of highest mean log-probability, which does not
favour short texts and is what BLIP's captions are made with. Of equal scores that of the likelier text wins,
of equally likely texts the one whose tokens come first: a search has one result.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from decoders.omnivl.language.generation import GenerationDecoder
from decoders.omnivl.language.memory import Memory
from decoders.omnivl.language.vocabulary import PAD, text_mask


@dataclass(frozen=True, kw_only=True, slots=True)
class BeamConfig:
    """How texts are looked for."""

    beams: int = 3
    """Beginnings that are kept of each text; 1 is greedy."""
    longest: int = 20
    """Most tokens of a text, its end among them; one that has not ended then is cut."""
    length_penalty: float = 1.0
    """Power of the tokens' number that a log-likelihood is divided by."""

    def __post_init__(self) -> None:
        if self.beams < 1 or self.longest < 1:
            raise ValueError(f"expected beams and longest from 1, found {self}")


class Generated(NamedTuple):
    """Of N memories, a text each."""

    tokens: Int[Tensor, "N L"]
    """What begins a text, its words, its end, pads."""
    scores: Float[Tensor, " N"]
    """As above; by them texts of one memory compare."""


@torch.no_grad()
def generate(decoder: GenerationDecoder, memory: Memory, config: BeamConfig) -> Generated:
    """A text of each memory. Raises ValueError where it might become longer than the decoder's context."""
    context = len(decoder.blocks.words.positions)
    if config.longest > context:
        raise ValueError(f"expected texts of {context} tokens at most, found longest {config.longest}")
    count, end = len(memory.tokens), decoder.vocabulary.end
    seen = memory.rows(torch.arange(count, device=memory.tokens.device).repeat_interleave(config.beams))
    tokens = torch.full((count, config.beams, 1), decoder.vocabulary.begin, device=seen.tokens.device)
    totals = torch.full((count, config.beams), -torch.inf, device=seen.tokens.device)
    totals[:, 0] = 0.0
    for _ in range(config.longest):
        chances = _next(decoder, seen, tokens)
        totals, places = _best(rearrange(totals[..., None] + chances, "n b w -> n (b w)"), config.beams)
        before, word = places // chances.shape[-1], places % chances.shape[-1]
        kept = tokens.take_along_dim(before[..., None], dim=1)
        tokens = torch.cat([kept, word[..., None]], dim=2)
        if (tokens == end).any(dim=2).all():
            break
    return _winners(tokens, totals, end, config.length_penalty)


def _next(decoder: GenerationDecoder, memory: Memory, tokens: Int[Tensor, "N B L"]) -> Float[Tensor, "N B W"]:
    """Log-probabilities of the next token; a text that has ended ends again, at no cost."""
    vocabulary = decoder.vocabulary
    states = decoder.states(*memory, rearrange(tokens, "n b l -> (n b) l"))[:, -1]
    chances = F.log_softmax(decoder.words(states).float(), dim=-1)
    chances[:, list(vocabulary.closed)] = -torch.inf
    by_beam = rearrange(chances, "(n b) w -> n b w", b=tokens.shape[1])
    again = torch.full_like(chances[0], -torch.inf)
    again[vocabulary.end] = 0.0
    ended = (tokens == vocabulary.end).any(dim=2)
    return torch.where(ended[..., None], again, by_beam)


def _best(scores: Float[Tensor, "N C"], count: int) -> tuple[Float[Tensor, "N B"], Int[Tensor, "N B"]]:
    """The highest of each row and where they are, the first of equals first; topk says nothing of equals."""
    left, values, places = scores.clone(), [], []
    for _ in range(count):
        place = left.argmax(dim=1, keepdim=True)
        values.append(left.gather(1, place))
        places.append(place)
        left.scatter_(1, place, -torch.inf)
    return torch.cat(values, dim=1), torch.cat(places, dim=1)


def _winners(
    tokens: Int[Tensor, "N B L"], totals: Float[Tensor, "N B"], end: int, penalty: float
) -> Generated:
    flat = rearrange(tokens, "n b l -> (n b) l")
    within = text_mask(flat, end).view_as(tokens)
    scores = totals / (within.sum(dim=2) - 1) ** penalty
    best = scores.argmax(dim=1, keepdim=True)
    texts = tokens.masked_fill(~within, PAD).take_along_dim(best[..., None], dim=1)
    return Generated(texts.squeeze(1), scores.gather(1, best).squeeze(1))
