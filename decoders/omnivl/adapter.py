"""From the frozen tokens of a bank to what OmniVL's heads see: the visual encoder of the bank's tier.

OmniVL trains its image tower; a bank has run one already, frozen and frame by frame. What is left to learn is
small: how its last blocks are read (a norm and a projection each, added up) and, in a few divided space-time
blocks, what patches say together and over time. Of ViT-B/16's 197 tokens a frame, squares of 2 x 2 averaged
leave 50, and all that follows costs a quarter.

Every frame keeps its CLS among the tokens. Then a frame repeated T times gives T copies of all that the
image gives, and attention over them is attention over one, so heads that were trained on images answer alike
when clips come. One CLS beside T times the patches would be left with about a T-th of its attention.
"""

from collections.abc import Sequence

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from decoders.omnivl.config import AdapterConfig, HeadsConfig
from decoders.omnivl.space_time import SpaceTimeBlock
from decoders.omnivl.visual import VisualOut

POSITION = 0.3
"""Deviation of the positions in space when training begins; half of that of a token's channels."""
Grid = tuple[int, int]
"""Patches per column and per row (h, w)."""


class BankVisual(nn.Module):
    """Tokens of some blocks of a frozen tower to what the heads see.

    Args:
        width: channels of the tower's tokens. grid: of its patches.

    Raises:
        ValueError: a grid that the squares to be averaged do not divide; a width that heads do not share.
    """

    def __init__(self, config: AdapterConfig, heads: HeadsConfig, *, width: int, grid: Grid) -> None:
        super().__init__()
        _check(config, heads, grid)
        self.config = config
        self.width = width
        self.grid = grid
        self.readers = nn.ModuleList(
            _Reader(width, heads.width, grid, config.pool) for _ in range(config.blocks)
        )
        patches = grid[0] * grid[1] // config.pool**2
        self.positions = nn.Parameter(POSITION * torch.randn(1 + patches, heads.width))
        self.blocks = nn.ModuleList(
            SpaceTimeBlock(ResidualAttentionBlock(heads.width, config.heads), config.frames)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(heads.width)
        self.project = nn.Linear(heads.width, heads.embed)

    def tokens_of(self, frames: int) -> int:
        """How many tokens heads see of a clip of so many frames; of an image, of one."""
        height, width = self.grid
        return frames * (1 + height * width // self.config.pool**2)

    def forward(self, features: Sequence[Float[Tensor, "N T L C"]]) -> VisualOut:
        """What heads see of N images or clips.

        Args:
            features: tokens after the last `config.blocks` blocks, shallow to deep, CLS first and patches
                row by row, as a bank stores them, in any type.

        Raises:
            ValueError: features of another shape or number; clips of another length than `config.frames`.
        """
        self._check_features(features)
        first, *others = (read(found) for read, found in zip(self.readers, features, strict=True))
        tokens = sum(others, start=first) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return VisualOut(
            embedding=F.normalize(self.project(reduce(tokens[:, :, 0], "n t d -> n d", "mean")), dim=-1),
            tokens=rearrange(tokens, "n t l d -> n (t l) d"),
        )

    def _check_features(self, features: Sequence[Tensor]) -> None:
        height, width = self.grid
        expected = [(1 + height * width, self.width)] * self.config.blocks
        found = [tuple(each.shape[2:]) for each in features]
        if found != expected:
            raise ValueError(
                f"expected (tokens, channels) of {expected} in the last {self.config.blocks} blocks, as the "
                f"adapter was made for, found {found}"
            )


class _Reader(nn.Module):
    """How one block of the tower is read: norm, squares of patches averaged, projection."""

    def __init__(self, width: int, out: int, grid: Grid, pool: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, out)
        self.grid = grid
        self.pool = pool

    def forward(self, tokens: Float[Tensor, "N T L C"]) -> Float[Tensor, "N T M D"]:
        seen = self.norm(tokens.to(self.norm.weight.dtype))
        return self.project(self._pooled(seen) if self.pool > 1 else seen)

    def _pooled(self, tokens: Float[Tensor, "N T L C"]) -> Float[Tensor, "N T M C"]:
        patches = reduce(
            tokens[:, :, 1:],
            "n t (h a w b) c -> n t (h w) c",
            "mean",
            h=self.grid[0] // self.pool,
            a=self.pool,
            b=self.pool,
        )
        return torch.cat([tokens[:, :, :1], patches], dim=2)


def _check(config: AdapterConfig, heads: HeadsConfig, grid: Grid) -> None:
    if grid[0] % config.pool or grid[1] % config.pool:
        raise ValueError(
            f"expected a grid that squares of {config.pool} x {config.pool} patches fill, found one of "
            f"{grid[0]} x {grid[1]}; choose an adapter.pool that divides both"
        )
    if heads.width % config.heads:
        raise ValueError(
            f"expected a width that the adapter's {config.heads} heads share, found {heads.width}; change "
            "adapter.heads or heads.width"
        )
