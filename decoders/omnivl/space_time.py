"""Divided attention over time and space (TimeSformer, arXiv 2102.05095), as OmniVL (arXiv 2209.07526) has it.

Before a block's attention within each frame, tokens at the same patch attend to each other over time, with
learned positions. What that adds begins at zero, so a block of CLIP that is wrapped answers as before, and a
frame repeated T times gives in each frame what the image gives. For an image (T = 1) it is skipped, not run:
its parameters then have no gradient at all, where one of zeros would still let AdamW decay them.

CLS takes no part in it. TimeSformer has one CLS for the clip, which it copies to all frames for the
attention in space and averages after it; here each frame has its own, as in a bank, and who reads the last
block averages them once. So a frame's CLS sees time through the patches of its frame.

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
"""Deviation of the positions in time when training begins; were they equal, the mean over frames would be the
same in any order."""


class TemporalAttention(nn.Module):
    """What patches gain from the same patch in the other frames of a clip.

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
        """The same tokens with what time adds to the patches; an image's very tokens.

        Raises ValueError for clips of another number of frames than there are positions.
        """
        if tokens.shape[1] == 1:
            return tokens
        self._check(tokens.shape[1])
        gain = self._gain(rearrange(tokens[:, :, 1:], "n t p c -> (n p) t c"))
        gain = rearrange(gain, "(n p) t c -> n t p c", n=len(tokens))
        return torch.cat([tokens[:, :, :1], tokens[:, :, 1:] + gain], dim=2)

    @classmethod
    def like(cls, spatial: ResidualAttentionBlock, frames: int) -> "TemporalAttention":
        """One that begins with norm and projections of a block's attention in space, as TimeSformer's do."""
        made = cls(spatial.attn.embed_dim, spatial.attn.num_heads, frames)
        made.norm.load_state_dict(spatial.ln_1.state_dict())
        kept = {name: made.attn.state_dict()[name] for name in ("out_proj.weight", "out_proj.bias")}
        made.attn.load_state_dict(spatial.attn.state_dict() | kept)
        return made

    def _gain(self, patches: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        placed = self.norm(patches) + self.positions
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
