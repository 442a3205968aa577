"""Fewer tokens for the same image or clip: what an index keeps of it for the alignment decoder.

Of a ViT-B/16's 8 frames an adapter that keeps every patch gives 1576 tokens; 128 candidates of width 512 in
fp16 are then 207 MB a query, and at 64 tokens 8 MB. So patches are averaged over squares, as even as the grid
allows, and frames over neighbours where even a token a frame is too much; each frame keeps its CLS. An
alignment decoder that was trained on all tokens scores averaged ones as something it has not seen: scores
change, and only where a model's own tokens are few enough (`adapter.pool`) are they the model's own.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Tokens frame by frame, of each CLS first and then its patches row by row."""

    frames: int
    grid: tuple[int, int]
    """(h, w), patches of a frame."""

    @property
    def tokens(self) -> int:
        """How many."""
        return self.frames * (1 + self.grid[0] * self.grid[1])


def coarser(layout: Layout, most: int) -> Layout:
    """The finest layout of at most so many tokens, frames kept before patches; `layout` itself where it has
    no more. Raises ValueError for fewer than two, a CLS and a patch.
    """
    if most < 2:
        raise ValueError(f"expected 2 tokens at least, a CLS and a patch, found {most}; choose more")
    if layout.tokens <= most:
        return layout
    frames = min(layout.frames, most // 2)
    height, width = layout.grid
    while 1 + height * width > most // frames:
        height, width = (height - 1, width) if height >= width else (height, width - 1)
    return Layout(frames=frames, grid=(height, width))


def coarsened(tokens: Float[Tensor, "N S D"], layout: Layout, wanted: Layout) -> Float[Tensor, "N M D"]:
    """Tokens of one layout averaged to those of a coarser one; the very same where both are equal."""
    if layout == wanted:
        return tokens
    height, width = layout.grid
    framed = rearrange(tokens, "n (t l) d -> n d t l", t=layout.frames)
    cls = F.adaptive_avg_pool1d(framed[..., 0], wanted.frames)
    patches = rearrange(framed[..., 1:], "n d t (h w) -> n d t h w", h=height, w=width)
    patches = F.adaptive_avg_pool3d(patches, (wanted.frames, *wanted.grid))
    patches = rearrange(patches, "n d t h w -> n t (h w) d")
    both = torch.cat([rearrange(cls, "n d t -> n t 1 d"), patches], dim=2)
    return rearrange(both, "n t l d -> n (t l) d")
