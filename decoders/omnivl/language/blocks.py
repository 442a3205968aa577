"""The blocks of the text encoder and of both decoders: torch's own transformer layers, normalised first.

`nn.TransformerDecoderLayer` is self-attention, a look at a memory and an MLP, with masks of padding for both,
bidirectional or causal at each call: all that OmniVL's two decoders are. What else was weighed: open_clip's
ResidualAttentionBlock attends to itself or across, so a decoder takes two and an MLP too many, and padding
must be spelled out as an additive mask for every head; transformers' BLIP text blocks are the nearest, but a
dependency for what torch has. The price of torch's: nothing is kept between the steps of a generation, so
each token repeats those before it. A text has some thirty.

There is no dropout (BLIP's 0.1 is BERT's): what is drawn would have to be drawn for rows of the whole batch.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from decoders.omnivl.config import HeadsConfig
from decoders.omnivl.language.memory import Memory


class Words(nn.Module):
    """Tokens to vectors: a table that several may share, and positions of one's own."""

    def __init__(self, table: nn.Embedding, context: int) -> None:
        super().__init__()
        self.table = table
        self.positions = nn.Parameter(torch.randn(context, table.embedding_dim) * 0.01)

    def forward(self, tokens: Int[Tensor, "N L"]) -> Float[Tensor, "N L D"]:
        length, most = tokens.shape[1], len(self.positions)
        if length > most:
            raise ValueError(f"expected texts of {most} tokens at most, found {length}; cut them")
        return self.table(tokens) + self.positions[:length]


class ReadingBlocks(nn.Module):
    """Blocks that see a text, all of it at once."""

    def __init__(self, config: HeadsConfig, layers: int, table: nn.Embedding) -> None:
        super().__init__()
        self.words = Words(table, config.context)
        layer = nn.TransformerEncoderLayer(**_sizes(config))
        norm = nn.LayerNorm(config.width)
        # nested tensors would skip the padding in evaluation, with another rounding and a warning
        self.layers = nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
        _initialise(self.layers)

    def forward(self, tokens: Int[Tensor, "N L"], mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N L D"]:
        """Normalised states; those outside the mask mean nothing."""
        return self.layers(self.words(tokens), src_key_padding_mask=~mask)


class LookingBlocks(nn.Module):
    """Blocks that see a text, and look at a memory."""

    def __init__(self, config: HeadsConfig, layers: int, table: nn.Embedding) -> None:
        super().__init__()
        self.words = Words(table, config.context)
        self.memory_norm = nn.LayerNorm(config.width)
        layer = nn.TransformerDecoderLayer(**_sizes(config))
        self.layers = nn.TransformerDecoder(layer, layers, nn.LayerNorm(config.width))
        _initialise(self.layers)

    def forward(
        self, tokens: Int[Tensor, "N L"], mask: Bool[Tensor, "N L"] | None, memory: Memory
    ) -> Float[Tensor, "N L D"]:
        """Normalised states; those outside the mask mean nothing. Without a mask a token sees those before it
        alone, and none that follows.
        """
        causal = mask is None
        future = _future(tokens.shape[1], tokens.device) if causal else None
        return self.layers(
            self.words(tokens),
            self.memory_norm(memory.tokens),
            tgt_mask=future,
            tgt_is_causal=causal,
            tgt_key_padding_mask=None if causal else ~mask,
            memory_key_padding_mask=None if memory.mask is None else ~memory.mask,
        )


def _sizes(config: HeadsConfig) -> dict:
    return {
        "d_model": config.width,
        "nhead": config.heads,
        "dim_feedforward": 4 * config.width,
        "dropout": 0.0,
        "activation": "gelu",
        "batch_first": True,
        "norm_first": True,
    }


def _future(length: int, device: torch.device) -> Bool[Tensor, "L L"]:
    """True where a token would see one that follows."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(1)


def _initialise(layers: nn.Module) -> None:
    """Weights of their own for every layer: torch's stacks are copies of one layer, its numbers included."""
    for parameter in layers.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
