"""Cross-attention of a single query over very many tokens, without projecting the tokens.

The textbook form projects every token to keys and values: 2 S C Q multiply-adds a clip, nearly all of a
decoder's work (B/16, 8 frames, one layer: 1.9 GMAC). With a single query they can be folded to the other
side. Per head h, with normalised tokens y and their scale and shift (g, b) pending,

    score_s = (W_k y_s + b_k) . q = y_s . u + a constant of s,    u = g * W_k^T q
    output  = W_v (g * sum_s a_s y_s + b) + b_v                   since the a_s add up to 1

so two products of size S C H remain (H heads instead of Q channels: 64 times less). The constants cancel in
the softmax: b_k and the shift b never matter for the scores, and their gradients there are exactly zero. Same
parameters, same results as the textbook, which `benchmarks/textbook_evl.py` keeps as the specification.
"""

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import nn

from decoders.pooling import pool_tokens
from decoders.tokens import TokenParts


class QueryAttention(nn.Module):
    """Multi-head attention of one query per clip; `qkv_width` may differ from the tokens' width."""

    def __init__(self, width: int, qkv_width: int, heads: int) -> None:
        super().__init__()
        if qkv_width % heads:
            raise ValueError(f"heads must divide qkv_width, found {heads} heads of {qkv_width} channels")
        self.heads = heads
        self.q_proj = nn.Linear(width, qkv_width)
        self.k_proj = nn.Linear(width, qkv_width)
        self.v_proj = nn.Linear(width, qkv_width)
        self.out_proj = nn.Linear(qkv_width, width)
        for linear in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        query: Float[torch.Tensor, "N C"],
        parts: TokenParts,
        scale: Float[torch.Tensor, " C"],
        shift: Float[torch.Tensor, " C"],
    ) -> Float[torch.Tensor, "N C"]:
        """Attend from `query` to `y * scale + shift`, with y the tokens normalised without an affine part."""
        pooled = pool_tokens(self._folded(query, scale).to(scale.dtype), parts) * scale + shift
        per_head = rearrange(self.v_proj.weight, "(h d) c -> h d c", h=self.heads)
        values = rearrange(einsum(pooled, per_head, "n h c, h d c -> n h d"), "n h d -> n (h d)")
        return self.out_proj(values + self.v_proj.bias)

    def _folded(
        self, query: Float[torch.Tensor, "N C"], scale: Float[torch.Tensor, " C"]
    ) -> Float[torch.Tensor, "N H C"]:
        """The query of each head as it meets the normalised tokens."""
        q = rearrange(self.q_proj(query), "n (h d) -> n h d", h=self.heads)
        per_head = rearrange(self.k_proj.weight, "(h d) c -> h d c", h=self.heads)
        folded = einsum(q, per_head, "n h d, h d c -> n h c") * scale * q.shape[-1] ** -0.5
        # the bias of the keys cancels; naming it gives it the zero gradient that optimisers and DDP expect
        return folded + 0.0 * self.k_proj.bias.sum()
