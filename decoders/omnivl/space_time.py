"""Divided attention over time and space (TimeSformer, arXiv 2102.05095), as OmniVL (arXiv 2209.07526) has it.

Before a block's attention within each frame, tokens at the same patch attend to each other over time, with
learned positions. What that adds begins at zero, so a block of CLIP that is wrapped answers as before, and a
frame repeated T times gives in each frame what the image gives. For an image (T = 1) it is skipped, not run:
its parameters then have no gradient at all, where one of zeros would still let AdamW decay them.

CLS of every frame takes part like a patch. TimeSformer has one CLS for the clip, which sees time through
patches alone; here each frame has its own, as in a bank, which says best what the frame shows, and who reads
the last block averages them once.

Attention over time costs T scores a patch, where that in space costs P: its price is its projections, a third
of a block's arithmetic more.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.attention import attend
from backbones.taps import run_block

POSITION = 0.3
"""Deviation of the positions in time when training begins, beside tokens normalised to 1. They must
tell frames apart from the start: two blocks that learned in which of four directions a blob moves (on 4 x 4
patches, one seed) were right in 99 % of clips after 300 steps with 0.3, in 50 % with 0.02."""


class TemporalAttention(nn.Module):
    """What tokens gain from the same place in the other frames of a clip.

    Args:
        width: channels of a token. heads: of the attention. frames: T of clips.
    """

    def __init__(self, width: int, heads: int, frames: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.positions = nn.Parameter(POSITION * torch.randn(frames, width))
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        nn.init.zeros_(self.attn.out_proj.weight)
        nn.init.zeros_(self.attn.out_proj.bias)

    def forward(self, tokens: Float[Tensor, "N T L C"]) -> Float[Tensor, "N T L C"]:
        """The same tokens with what time adds; an image's very tokens.

        Raises ValueError for clips of another number of frames than there are positions.
        """
        if tokens.shape[1] == 1:
            return tokens
        self._check(tokens.shape[1])
        gain = self._gain(rearrange(tokens, "n t l c -> (n l) t c"))
        return tokens + rearrange(gain, "(n l) t c -> n t l c", n=len(tokens))

    @classmethod
    def like(cls, spatial: ResidualAttentionBlock, frames: int) -> "TemporalAttention":
        """One that begins with norm and projections of a block's attention in space, as TimeSformer's do."""
        made = cls(spatial.attn.embed_dim, spatial.attn.num_heads, frames)
        made.norm.load_state_dict(spatial.ln_1.state_dict())
        kept = {name: made.attn.state_dict()[name] for name in ("out_proj.weight", "out_proj.bias")}
        made.attn.load_state_dict(spatial.attn.state_dict() | kept)
        return made

    def _gain(self, tokens: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        placed = self.norm(tokens) + self.positions
        projected = F.linear(placed, self.attn.in_proj_weight, self.attn.in_proj_bias)
        q, k, v = rearrange(projected, "b t (three h d) -> three b t h d", three=3, h=self.attn.num_heads)
        return self.attn.out_proj(rearrange(attend(q, k, v), "b t h d -> b t (h d)"))

    def _check(self, frames: int) -> None:
        if frames != len(self.positions):
            raise ValueError(
                f"expected images or clips of {len(self.positions)} frames, as there are positions in time, "
                f"found clips of {frames}; sample as many, or configure another number of frames"
            )


class SpaceTimeBlock(nn.Module):
    """Time, then space and MLP by a block of CLIP, which may be one that is trained already."""

    def __init__(self, spatial: ResidualAttentionBlock, frames: int) -> None:
        super().__init__()
        self.temporal = TemporalAttention(spatial.attn.embed_dim, spatial.attn.num_heads, frames)
        self.spatial = spatial

    def forward(self, tokens: Float[Tensor, "N T L C"]) -> Float[Tensor, "N T L C"]:
        """Tokens after the block, CLS of every frame first."""
        return space_time(self.temporal, self.spatial, tokens)


def space_time(
    temporal: TemporalAttention, spatial: ResidualAttentionBlock, tokens: Float[Tensor, "N T L C"]
) -> Float[Tensor, "N T L C"]:
    """Attention over time, then a block of CLIP over each frame."""
    seen = rearrange(temporal(tokens), "n t l c -> (n t) l c")
    return rearrange(run_block(spatial, seen)[0], "(n t) l c -> n t l c", n=len(tokens))
