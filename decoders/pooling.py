"""What the query sees of one block: temporal modules, LayerNorm and attention pooling in one pass over the
tokens.

The frozen tokens of a block are by far the largest thing in a step (B/16, 8 frames: 4.8 MB a clip in fp32),
and written as separate operations the temporal modules, the norm and the attention read and write them some
eighty times, forward and backward. Here each piece of a batch, a few clips that fit into a CPU's cache, goes
through everything at once. Kept for the backward pass are the attention weights and one copy of the
normalised tokens. The frozen inputs get gradients only if somebody asks (a live, trainable tower).

With u the folded query of each head (see `decoders.attention`) and y = LayerNorm(tokens) without its affine
part:
    tokens = shift_and_add(F, taps) + added + cross(maps);  a = softmax(y u);  pooled = a y
All arithmetic is in the dtype of u (fp32 also under autocast).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from decoders.temporal import gather, patch_row, shift_and_add, spread, table_rows, taps_gradient

PIECE_BYTES = 8 * 2**20
"""Tokens in flight on a CPU: small enough for the last-level cache, large enough to share among threads (with
pieces of 2 MiB two threads spent a third of the step meeting each other).
"""
EPS = 1e-5
"""LayerNorm's epsilon, as CLIP's and EVL's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenParts:
    """What the tokens of one layer are made of. None where a module is off."""

    out: Float[Tensor, "N T L C"]
    """Frozen tokens F."""
    maps: tuple[Float[Tensor, "N M P P"], Float[Tensor, "N M P P"]] | None
    """Cross-frame maps to the previous and the next frame, M = T - 1."""
    grid: tuple[int, int]
    """(h, w) of the patches."""
    taps: Float[Tensor, "3 C"] | None
    """Convolution taps, the residual connection included: 1 is added to the middle one."""
    added: Float[Tensor, "T C"] | None
    """Position and convolution bias."""
    tables: tuple[Float[Tensor, "R C"], Float[Tensor, "R C"]] | None
    """Vectors per displacement to the previous and the next frame."""


def pool_tokens(folded: Float[Tensor, "N H C"], parts: TokenParts) -> Float[Tensor, "N H C"]:
    """Attention-weighted mean of the normalised tokens per folded query; differentiable in all parts."""
    prev, after = parts.maps or (None, None)
    w1, w2 = parts.tables or (None, None)
    with torch.autocast(folded.device.type, enabled=False):
        arguments = (folded, parts.out, prev, after, parts.taps, parts.added, w1, w2, parts.grid)
        return _Pool.apply(*arguments)  # pyright: ignore[reportReturnType]


def build_tokens(parts: TokenParts) -> Float[Tensor, "N T L C"]:
    """The tokens of one layer before the norm."""
    out, taps = parts.out, parts.taps
    tokens = out.clone() if taps is None else shift_and_add(out, taps)
    if parts.added is not None:
        tokens += parts.added[:, None]
    if parts.tables is not None and parts.maps is not None:
        for maps, table, frames in zip(parts.maps, parts.tables, _frames(tokens), strict=True):
            product = spread(maps, parts.grid)
            for y in range(parts.grid[0]):
                row = patch_row(frames, y, parts.grid)
                row += (product[y] @ table_rows(table, y, parts.grid)).view(row.shape)
    return tokens


class _Pool(torch.autograd.Function):
    """`pool_tokens`; see the module's text."""

    @staticmethod
    def forward(
        ctx: Any,
        folded: Tensor,
        out: Tensor,
        prev: Tensor | None,
        after: Tensor | None,
        *settings: Any,
    ) -> Tensor:
        inputs = (folded, out, prev, after, *settings)
        done = [_pool_forward(query, parts) for _, query, parts in _pieces(inputs)]
        pooled, weights, normed, rstd = (torch.cat(pieces) for pieces in zip(*done, strict=True))
        ctx.grid = settings[-1]
        ctx.save_for_backward(*inputs[:-1], weights, normed, rstd)
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        *inputs, weights, normed, rstd = ctx.saved_tensors
        sums = _Gradients(inputs, ctx.needs_input_grad)
        for here, query, parts in _pieces((*inputs, ctx.grid)):
            gradient, flat = gradients[0][here], normed[here].flatten(1, 2)
            of_weights = gradient @ flat.mT
            centre = (weights[here] * of_weights).sum(dim=-1, keepdim=True)
            of_scores = weights[here] * (of_weights - centre)
            sums.query[here] = of_scores @ flat
            if sums.any_of_tokens:
                factors = torch.cat([of_scores, weights[here]], dim=1), torch.cat([query, gradient], dim=1)
                of_normed = (factors[0].mT @ factors[1]).view(normed[here].shape)
                sums.add(here, parts, _norm_backward(of_normed, normed[here], rstd[here]))
        return (*sums.tensors(), None)


def _pool_forward(query: Tensor, parts: TokenParts) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pooled tokens, attention weights, normalised tokens and their 1/std of one piece."""
    tokens = build_tokens(parts)
    normed, _, rstd = torch.native_layer_norm(tokens, tokens.shape[-1:], None, None, EPS)
    flat = normed.flatten(1, 2)
    weights = (query @ flat.mT).softmax(dim=-1)
    return weights @ flat, weights, normed, rstd


def _norm_backward(gradient: Tensor, normed: Tensor, rstd: Tensor) -> Tensor:
    """Gradient of LayerNorm's input, from its output."""
    along = (gradient * normed).mean(dim=-1, keepdim=True)
    centred = gradient - gradient.mean(dim=-1, keepdim=True)
    return centred.addcmul_(normed, along, value=-1).mul_(rstd)


class _Gradients:
    """Sums of gradients over the pieces, only of what is needed."""

    def __init__(self, inputs: Sequence[Tensor | None], needed: Sequence[bool]) -> None:
        self._sums = [
            torch.zeros_like(x, dtype=inputs[0].dtype) if x is not None and wanted else None  # pyright: ignore[reportOptionalMemberAccess]
            for x, wanted in zip(inputs, needed, strict=False)
        ]
        assert inputs[0] is not None
        self.query = torch.empty_like(inputs[0])
        _, self._out, self._prev, self._after, self._taps, self._added, self._w1, self._w2 = self._sums

    @property
    def any_of_tokens(self) -> bool:
        """Whether anything but the query asks for a gradient."""
        return any(gradient is not None for gradient in self._sums[1:])

    def add(self, here: slice, parts: TokenParts, tokens: Float[Tensor, "N T L C"]) -> None:
        """Take in a piece: `tokens` is the gradient of its tokens."""
        if self._added is not None:
            self._added += tokens.sum(dim=(0, 2))
        if self._taps is not None:
            self._taps += taps_gradient(parts.out, tokens)
        if self._out is not None:
            self._out[here] = tokens if parts.taps is None else shift_and_add(tokens, parts.taps.flip(0))
        if parts.maps is not None and parts.tables is not None:
            prev, after = _frames(tokens)
            self._add_cross(here, parts, 0, prev, self._w1, self._prev)
            self._add_cross(here, parts, 1, after, self._w2, self._after)

    def tensors(self) -> list[Tensor | None]:
        """In the order of the inputs."""
        return [self.query, *self._sums[1:]]

    @staticmethod
    def _add_cross(
        here: slice,
        parts: TokenParts,
        side: int,
        frames: Tensor,
        table_sum: Tensor | None,
        maps_sum: Tensor | None,
    ) -> None:
        assert parts.maps is not None
        assert parts.tables is not None
        maps, table, grid = parts.maps[side], parts.tables[side], parts.grid
        rows = [patch_row(frames, y, grid).flatten(0, 2) for y in range(grid[0])]
        if table_sum is not None:
            product = spread(maps, grid)
            for y, row in enumerate(rows):
                table_rows(table_sum, y, grid).addmm_(product[y].T, row)
        if maps_sum is not None:
            spread_out = torch.stack([row @ table_rows(table, y, grid).T for y, row in enumerate(rows)])
            maps_sum[here] = gather(spread_out, maps.shape[1], grid)


def _frames(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Views of the frames that have a previous one, and of those that have a next one."""
    return tokens[:, 1:], tokens[:, :-1]


def _pieces(inputs: Sequence[Any]) -> Iterator[tuple[slice, Tensor, TokenParts]]:
    """A batch cut into pieces of a few clips, in the dtype of the query; on CUDA the batch is one piece."""
    folded, out, prev, after, taps, added, w1, w2, grid = inputs
    clip_bytes = out[0].numel() * folded.element_size()
    size = len(out) if out.is_cuda else max(1, PIECE_BYTES // clip_bytes)
    for start in range(0, len(out), size):
        here = slice(start, start + size)
        maps = None if prev is None else (prev[here].to(folded.dtype), after[here].to(folded.dtype))
        tables = None if w1 is None else (w1, w2)
        piece = out[here].to(folded.dtype)
        yield (
            here,
            folded[here],
            TokenParts(out=piece, maps=maps, grid=grid, taps=taps, added=added, tables=tables),
        )
