"""A closed list of texts, ranked by how likely the generation decoder is to write them.

BLIP's readout for questions with a list of answers: the answers whose first token is likeliest, one step of
the decoder for all of them, and of these the whole likelihood. With as many as the list has, it is the plain
search for the likeliest.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from decoders.omnivl.language.generation import GenerationDecoder
from decoders.omnivl.language.memory import Memory


class Ranked(NamedTuple):
    """Of N memories, some texts of the list, the likeliest first."""

    texts: Int[Tensor, "N k"]
    """Their places in the list."""
    likelihoods: Float[Tensor, "N k"]
    """Log-likelihoods of all their tokens."""


@torch.no_grad()
def likelihoods(
    decoder: GenerationDecoder,
    memory: Memory,
    texts: Int[Tensor, "K L"],
    *,
    chosen: Int[Tensor, "N k"] | None = None,
    piece: int = 256,
) -> Float[Tensor, "N k"]:
    """Log-likelihoods of texts, each token and the end counted, after each memory.

    Args:
        texts: tokens of K texts.
        chosen: places among them of those that each memory is asked about; None asks about all.
        piece: pairs that go through the decoder together.
    """
    rows = torch.arange(len(memory.tokens), device=texts.device)
    if chosen is None:
        chosen = torch.arange(len(texts), device=texts.device).expand(len(rows), -1)
    seen = rows.repeat_interleave(chosen.shape[1]).split(piece)
    read = chosen.flatten().split(piece)
    sums = [decoder.losses(memory.rows(one), texts[other])[0] for one, other in zip(seen, read, strict=True)]
    return -torch.cat(sums).view(chosen.shape)


@torch.no_grad()
def ranked_answers(
    decoder: GenerationDecoder, memory: Memory, texts: Int[Tensor, "K L"], *, top: int, piece: int = 256
) -> Ranked:
    """The `top` texts by the likelihood of their first token (all, where the list has fewer), in the order of
    their whole likelihood; of equals the first in the list comes first.
    """
    if top < 1 or not len(texts):
        raise ValueError(f"expected texts, and a top from 1, found {len(texts)} texts and top {top}")
    begun = torch.zeros_like(texts[:1, :1]).expand(len(memory.tokens), 1)
    first = F.log_softmax(decoder.logits(*memory, begun)[:, 0].float(), dim=-1)[:, texts[:, 1]]
    likely = first.sort(dim=1, descending=True, stable=True).indices[:, :top].sort(dim=1).values
    found = likelihoods(decoder, memory, texts, chosen=likely, piece=piece)
    values, order = found.sort(dim=1, descending=True, stable=True)
    return Ranked(likely.gather(1, order), values)
