"""A CLIP image tower that hands out what its blocks saw, for the price of running it once.

open_clip returns the outputs of blocks, but not their queries and keys; reading these through hooks means
projecting twice, since torch's attention keeps them to itself. So a tapped block is run here: one projection
gives q, k and v, scaled dot-product attention uses them, and q and k are handed out as views of that same
memory. All blocks run so, tapped or not, since another order of the same sums rounds otherwise, and what a
bank keeps of one block must not depend on which others it keeps. The patch embedding and the pooling are
open_clip's own code. Measured against `encode_image` by `python -m benchmarks.taps`.

The taps are EVL's (arXiv 2208.03550): `out` is the residual stream after the whole block, without a norm; `q`
and `k` are the block's projections with bias, split into heads, before the scaling by 1/sqrt(D). CLS comes
first in all three.

A tower with a temporal view (`backbones.temporal`) has the same taps; its frames come as clips, since each
frame's tokens then depend on its neighbours. Where the tower is trained, open_clip's switch
`visual.set_grad_checkpointing()` has each block computed again in the backward pass instead of kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from backbones.attention import attend
from backbones.config import TemporalView
from backbones.errors import BackboneError
from backbones.pixels import normalised
from backbones.temporal import attend_over_time


@dataclass(frozen=True, kw_only=True, slots=True)
class Taps:
    """What a tower saw in one batch of frames."""

    out: dict[int, Float[Tensor, "B L C"]]
    """Per tapped block: tokens after the block."""
    q: dict[int, Float[Tensor, "B L H D"]]
    """Per tapped block: queries, a view shared with `k`; copy them if they are to outlive the batch."""
    k: dict[int, Float[Tensor, "B L H D"]]
    """Per tapped block: keys."""
    pooled: Float[Tensor, "B E"]
    """The joint embedding, not normalised: exactly open_clip's `encode_image`."""


class FrozenTower(nn.Module):
    """An open_clip VisionTransformer with taps after chosen blocks.

    Whether gradients flow is up to the weights: those of `load_clip` have `requires_grad=False`, so nothing
    is recorded.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        visual: nn.Module,
        blocks: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        *,
        view: TemporalView | None = None,
    ) -> None:
        super().__init__()
        self.visual = _checked(visual)
        self.view = view
        self.blocks = _sorted_blocks(blocks, self.depth)
        for block in range(self.depth) if view else self.blocks:
            _refuse_untypical(self._block(block), block)
        self.register_buffer("mean", torch.tensor(tuple(mean), dtype=torch.float32), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std), dtype=torch.float32), persistent=False)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and per row (h, w)."""
        height, width = self.visual.grid_size
        return height, width

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a frame, in pixels."""
        height, width = self.visual.image_size
        return height, width

    @property
    def heads(self) -> int:
        """Attention heads per block (H)."""
        return self._block(0).attn.num_heads

    @property
    def width(self) -> int:
        """Channels of a token (C)."""
        return self.visual.conv1.out_channels

    @property
    def depth(self) -> int:
        """How many blocks the tower has."""
        return len(self.visual.transformer.resblocks)

    @property
    def embed(self) -> int:
        """Width of the joint embedding (E)."""
        return self.visual.output_dim

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that frames must have."""
        return self.visual.conv1.weight.dtype

    @property
    def device(self) -> torch.device:
        """The device that frames must be on."""
        return self.visual.conv1.weight.device

    def normalise(self, frames: UInt8[Tensor, "B h w 3"]) -> Float[Tensor, "B 3 h w"]:
        """Decoded frames as the tower wants them: on its device, in [0, 1], less the mean, over the std, in
        its dtype."""
        return normalised(frames, self.mean, self.std, self.dtype)

    def forward(self, images: Float[Tensor, "B 3 h w"], frames: int | None = None) -> Taps:
        """Run the tower once over normalised frames.

        Args:
            images: B frames. frames: how many of them, side by side, make a clip; a tower without a temporal
                view sees each alone and need not know.

        Raises:
            BackboneError: frames of another size than the tower's, or that do not make whole clips.
        """
        tokens = self.embedded(images, frames)
        out: dict[int, Tensor] = {}
        q: dict[int, Tensor] = {}
        k: dict[int, Tensor] = {}
        for index in range(self.depth):
            block = self._block(index)
            if not _is_typical(block):
                tokens = block(tokens)  # never a tapped one
                continue
            tokens, queries, keys = self._run(block, tokens, frames)
            if index in self.blocks:
                out[index], q[index], k[index] = tokens, queries, keys
        return Taps(out=out, q=q, k=k, pooled=self._embed(tokens))

    def embedded(self, images: Float[Tensor, "B 3 h w"], frames: int | None = None) -> Float[Tensor, "B L C"]:
        """The tokens of normalised frames before the first block. Raises BackboneError as `forward`."""
        self._check(images, frames)
        return self.visual._embeds(images)

    def query_key_weights(self, block: int) -> dict[str, Tensor]:
        """What turns the tokens before a block into its q and k, fp32, on the CPU: the norm's `ln_weight`
        and `ln_bias` (C,), `q_weight` and `k_weight` (C, C), `q_bias` and `k_bias` (C,).
        """
        norm, attention, width = self._block(block).ln_1, self._block(block).attn, self.width
        found = {"ln_weight": norm.weight, "ln_bias": norm.bias}
        for place, name in enumerate(("q", "k")):
            rows = slice(place * width, (place + 1) * width)
            found[f"{name}_weight"] = attention.in_proj_weight[rows]
            found[f"{name}_bias"] = attention.in_proj_bias[rows]
        return {name: values.detach().float().cpu() for name, values in found.items()}

    def _run(self, block: Any, tokens: Tensor, frames: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """A block, kept for the backward pass or computed again in it."""
        if self.visual.transformer.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(run_block, block, tokens, frames, self.view, use_reentrant=False)
        return run_block(block, tokens, frames, self.view)

    def _check(self, images: Tensor, frames: int | None) -> None:
        if tuple(images.shape[-2:]) != self.size:
            raise BackboneError(
                f"expected frames of {self.size}, found {tuple(images.shape[-2:])}; resize them"
            )
        if self.view is not None and frames is None:
            raise BackboneError(
                f"a tower with a temporal view ({self.view}) sees clips; say how long they are"
            )
        if frames is not None and (frames < 1 or len(images) % frames):
            raise BackboneError(f"expected clips of {frames} frames, found {len(images)} frames in all")

    def _embed(self, tokens: Float[Tensor, "B L C"]) -> Float[Tensor, "B E"]:
        pooled, _ = self.visual._pool(tokens)
        return pooled if self.visual.proj is None else pooled @ self.visual.proj

    def _block(self, index: int) -> Any:
        return self.visual.transformer.resblocks[index]


def run_block(
    block: ResidualAttentionBlock,
    tokens: Float[Tensor, "B L C"],
    frames: int | None = None,
    view: TemporalView | None = None,
) -> tuple[Float[Tensor, "B L C"], Float[Tensor, "B L H D"], Float[Tensor, "B L H D"]]:
    """One of CLIP's blocks over frames, alone or with a temporal view: its output, queries and keys."""
    attention = block.attn
    projected = F.linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = projected.unflatten(-1, (3, attention.num_heads, attention.head_dim)).unbind(2)
    if view is None or frames is None:
        seen = attend(q, k, v)
    else:
        seen = attend_over_time(q, k, v, frames=frames, view=view)
    tokens = tokens + block.ls_1(attention.out_proj(seen.flatten(2)))
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens))), q, k


def _checked(visual: nn.Module) -> VisionTransformer:
    if not isinstance(visual, VisionTransformer):
        raise BackboneError(
            f"expected open_clip's VisionTransformer, found {type(visual).__name__}: no taps in its blocks"
        )
    if visual.pool_type == "none":
        raise BackboneError(
            "expected a tower that pools each frame into one embedding, found one that returns all tokens; "
            "choose a model with pool_type tok or avg"
        )
    return visual


def _sorted_blocks(blocks: Sequence[int], depth: int) -> tuple[int, ...]:
    wanted = tuple(sorted(blocks))
    if len(set(wanted)) < len(wanted) or (wanted and not 0 <= wanted[0] <= wanted[-1] < depth):
        raise BackboneError(
            f"blocks: expected different numbers from 0 to {depth - 1}, found {tuple(blocks)}"
        )
    return wanted


def _is_typical(block: nn.Module) -> bool:
    attention = getattr(block, "attn", None)
    return (
        type(block) is ResidualAttentionBlock
        and type(attention) is nn.MultiheadAttention
        and attention.in_proj_weight is not None
        and attention.bias_k is None
        and attention.batch_first
        and not hasattr(block, "ln_1_kv")
    )


def _refuse_untypical(block: nn.Module, index: int) -> None:
    if not _is_typical(block):
        raise BackboneError(
            f"block {index}: expected CLIP's plain attention block, found {type(block).__name__}; its q "
            "and k are not those that its attention uses, so this tower cannot be tapped"
        )
