"""OmniVL's heads in small, and something for them to look at."""

import torch
from torch.nn import functional as F

from decoders.draws import seeded
from decoders.omnivl.config import HeadsConfig
from decoders.omnivl.language.generation import GenerationDecoder
from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.language.vocabulary import Vocabulary
from decoders.omnivl.visual import VisualOut

SMALL = HeadsConfig(width=16, heads=2, embed=8, text_layers=2, align_layers=2, generate_layers=2, context=12)


def small_heads(seed=0):
    with seeded(seed):
        return OmniVLHeads(SMALL)


def tiny_decoder(seed=0):
    """Three words, a token that begins a text, one that ends it; weights large enough to have opinions."""
    with seeded(seed):
        table = torch.nn.Embedding(5, SMALL.width)
        return GenerationDecoder(SMALL, table, Vocabulary(begin=3, end=4, closed=(3,)))


def drawn_visual(count, tokens=5, *, seed=0, mask=None):
    stream = torch.Generator().manual_seed(seed)
    embedding = F.normalize(torch.randn(count, SMALL.embed, generator=stream), dim=-1)
    return VisualOut(
        embedding=embedding, tokens=torch.randn(count, tokens, SMALL.width, generator=stream), mask=mask
    )
