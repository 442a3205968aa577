"""What the query sees of one block: temporal modules, LayerNorm and attention pooling in one pass over the
tokens.

The frozen tokens of a block are by far the largest thing in a step (B/16, 8 frames: 4.8 MB a clip in fp32),
and written as separate operations the temporal modules, the norm and the attention read and write them some
eighty times, forward and backward. Here each piece, a few tokens in all frames of all clips that fit into a
CPU's cache, goes through everything at once. Kept for the backward pass are the scores and the tokens before
the norm, centred, in the dtype of the frozen ones. The frozen inputs get gradients only if somebody asks (a
live, trainable tower).

With u the folded query of each head (see `decoders.attention`) and y = LayerNorm(tokens) without its affine
part:
    tokens = shift_and_add(F, taps) + added + cross(maps);  a = softmax(y u);  pooled = a y
Nor is y ever written: with z the centred tokens and r their 1/std, y u = r (z u) and a y = (a r) z, and of
the gradient of y, which is a product with 2 H rows, LayerNorm's backward needs but the centre of these rows.

All arithmetic is in the dtype of u (fp32 also under autocast): half-precision features are widened piece by
piece, where they already lie in the cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from decoders.temporal import (
    add_cross_frame,
    maps_gradient,
    shift_and_add,
    strip_gradient,
    strip_of,
    taps_gradient,
    turned,
)

PIECE_BYTES = 3 * 2**20
"""Tokens in flight on a CPU: a column of the grid in 8 clips of the paper's B/16 shape. Smaller pieces lie
nearer to the core, but calls of 5 us each then outweigh what they do."""
EPS = 1e-5
"""LayerNorm's epsilon, as CLIP's and EVL's."""
_NONE = (None, None)


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
    seen: Bool[Tensor, "N T L"] | None = None
    """Tokens that attention sees, at least one a clip; None for all. Convolution and maps still see all."""


def pool_tokens(folded: Float[Tensor, "N H C"], parts: TokenParts) -> Float[Tensor, "N H C"]:
    """Attention-weighted mean of the normalised tokens per folded query; differentiable in all parts."""
    rows = 1 if parts.tables is None else parts.grid[0]
    row_bytes = parts.out[0, :, 0].numel() * folded.element_size()
    clips = len(folded) if folded.is_cuda else max(1, PIECE_BYTES // (rows * row_bytes))
    prev, after = parts.maps or _NONE
    every = (folded, parts.out, prev, after, parts.seen)
    per_clip = (repeat(None) if x is None else x.split(clips) for x in every)
    shared = (parts.taps, parts.added, *(parts.tables or _NONE), parts.grid)
    with torch.autocast(folded.device.type, enabled=False):
        pooled: list[Any] = [_Pool.apply(*some, *shared) for some in zip(*per_clip, strict=False)]
    return torch.cat(pooled)


class Tokens:
    """One layer's tokens before the norm, piece by piece, (p,T,N,C) each."""

    def __init__(self, parts: TokenParts, dtype: torch.dtype) -> None:
        self.parts = parts
        self.dtype = dtype
        self.tables = [turned(table, parts.grid) for table in parts.tables or ()]

    def pieces(self) -> Iterator[slice]:
        """Of the L tokens: any runs of them, but CLS and the columns of the grid where there are tables."""
        out, width = self.parts.out, self.parts.grid[1]
        length = out.shape[2]
        if self.tables:
            yield slice(1)
            yield from (slice(1 + x, length, width) for x in range(width))
        else:
            step = length if out.is_cuda else PIECE_BYTES // (out[:, :, 0].numel() * self.dtype.itemsize)
            yield from (slice(start, start + max(1, step)) for start in range(0, length, max(1, step)))

    def hide(self, scores: Float[Tensor, "N H pT"], *pieces: slice) -> Float[Tensor, "N H pT"]:
        """The scores of some pieces, -inf where attention does not see the token: its share is then 0."""
        if self.parts.seen is None:
            return scores
        seen = [self.parts.seen[:, :, piece].transpose(1, 2).flatten(1) for piece in pieces]
        return scores.masked_fill(~torch.cat(seen, dim=1)[:, None], -torch.inf)

    def frozen(self, piece: slice) -> Float[Tensor, "p T N C"]:
        """A copy of the piece's frozen tokens."""
        return self._copy(self.parts.out[:, :, piece])

    def build(self, piece: slice) -> Float[Tensor, "p T N C"]:
        """The frozen tokens and what the temporal modules add."""
        tokens = self.frozen(piece)
        if self.parts.taps is not None:
            tokens = shift_and_add(tokens, self.parts.taps)
        if self.parts.added is not None:
            tokens += self.parts.added[:, None]
        for side, maps, frames in self.cross(piece, tokens):
            add_cross_frame(frames, maps, self.strip(side, piece))
        return tokens

    def cross(
        self, piece: slice, tokens: Float[Tensor, "p T N C"]
    ) -> Iterator[tuple[int, Float[Tensor, "h M N P"], Float[Tensor, "h M N C"]]]:
        """If the piece is a column, for the previous frames (0) and the next ones (1): a copy of its maps,
        and views of those of `tokens` that have such a neighbour.
        """
        if self.parts.maps is not None and self.tables and piece.start:
            here = slice(piece.start - 1, None, piece.step)
            for side, frames in enumerate((tokens[:, 1:], tokens[:, :-1])):
                yield side, self._copy(self.parts.maps[side][:, :, here]), frames

    def strip(self, side: int, piece: slice) -> Float[Tensor, "Y w C"]:
        """A copy of a column's part of a table."""
        return strip_of(self.tables[side], piece.start - 1, self.parts.grid).contiguous()

    def _copy(self, some: Float[Tensor, "N T p C"]) -> Float[Tensor, "p T N C"]:
        some = some.permute(2, 1, 0, 3)
        return some.to(self.dtype, memory_format=torch.contiguous_format, copy=True)


class _Pool(torch.autograd.Function):
    """`pool_tokens` of clips few enough for a piece; see the module's text."""

    @staticmethod
    def forward(ctx: Any, folded: Tensor, *inputs: Any) -> Tensor:
        tokens = Tokens(_parts(inputs), folded.dtype)
        kept: list[Tensor] = []
        scores: list[Tensor] = []
        rstd: list[Tensor] = []
        pooled = torch.zeros_like(folded)
        # finite, since -inf - -inf, of a piece of which nothing is seen, is NaN
        peak, total = pooled[..., :1] + torch.finfo(folded.dtype).min, pooled[..., :1]
        for piece in tokens.pieces():
            centred = tokens.build(piece)
            centred -= centred.mean(dim=-1, keepdim=True)
            norms = torch.linalg.vector_norm(centred, dim=-1).flatten(0, 1).T[:, None]
            rstd.append((norms.square() / folded.shape[-1] + EPS).rsqrt())
            scores.append(torch.bmm(folded, _by_clip(centred).mT) * rstd[-1])
            score = tokens.hide(scores[-1], piece)
            # a softmax over all pieces, of which only those so far are known: what is there fades as it rises
            before, peak = peak, peak.maximum(score.amax(dim=-1, keepdim=True))
            fade, shares = (before - peak).exp(), (score - peak).exp()
            total = total * fade + shares.sum(dim=-1, keepdim=True)
            pooled = (pooled * fade).baddbmm_(shares * rstd[-1], _by_clip(centred))
            kept.append(centred.to(tokens.parts.out.dtype))
        pooled /= total
        ctx.grid = inputs[-1]
        along = torch.cat(scores, dim=-1), torch.cat(rstd, dim=-1)
        ctx.save_for_backward(folded, *inputs[:-1], pooled, *along, *kept)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        folded, *inputs = ctx.saved_tensors[:9]
        pooled, scores, rstd, *kept = ctx.saved_tensors[9:]
        tokens = Tokens(_parts((*inputs, ctx.grid)), folded.dtype)
        sums = _Gradients(tokens, ctx.needs_input_grad[1:])
        of_folded, rows = torch.zeros_like(folded), torch.cat([folded, gradient], dim=1)
        rows = rows - rows.mean(dim=-1, keepdim=True)
        centre = (gradient * pooled).sum(dim=-1, keepdim=True)
        along = torch.cat([scores, tokens.hide(scores, *tokens.pieces()).softmax(dim=-1), rstd], dim=1)
        sizes = [part.shape[:2].numel() for part in kept]
        for piece, part, some in zip(tokens.pieces(), kept, along.split(sizes, dim=-1), strict=True):
            score, weight, one = some.tensor_split([folded.shape[1], 2 * folded.shape[1]], dim=1)
            centred = part.to(folded.dtype)
            of_weight = torch.bmm(gradient, _by_clip(centred).mT) * one
            of_score = weight * (of_weight - centre)
            of_folded.baddbmm_(of_score * one, _by_clip(centred))
            if sums.any:
                radial = (of_score * score + weight * of_weight).sum(dim=1) / folded.shape[-1]
                of_tokens = centred * (radial * one[:, 0].square()).neg().T.reshape(*centred.shape[:-1], 1)
                _by_clip(of_tokens).baddbmm_((torch.cat([of_score, weight], dim=1) * one).mT, rows)
                sums.add(piece, of_tokens)
        return (of_folded, *sums.tensors(), None)


class _Gradients:
    """Sums of gradients over the pieces, only of what is needed."""

    def __init__(self, tokens: Tokens, needed: Sequence[bool]) -> None:
        parts = tokens.parts
        maps, tables = parts.maps or _NONE, tokens.tables or _NONE
        inputs = (parts.out, *maps, None, parts.taps, parts.added, *tables)
        sums = [
            None if x is None or not wanted else torch.zeros_like(x, dtype=tokens.dtype)
            for x, wanted in zip(inputs, needed, strict=False)
        ]
        self._tokens = tokens
        self._out, self._taps, self._added = sums[0], sums[4], sums[5]
        self._maps, self._tables = sums[1:3], sums[6:]
        self.any = any(needed)

    def add(self, piece: slice, gradient: Float[Tensor, "p T N C"]) -> None:
        """Take in a piece: `gradient` is that of its tokens."""
        taps = self._tokens.parts.taps
        if self._added is not None:
            self._added += gradient.sum(dim=2).sum(dim=0)
        if self._taps is not None:
            self._taps += taps_gradient(self._tokens.frozen(piece), gradient)
        if self._out is not None:
            frozen = gradient if taps is None else shift_and_add(gradient, taps.flip(0))
            self._out[:, :, piece] = frozen.permute(2, 1, 0, 3)
        for side, maps, frames in self._tokens.cross(piece, gradient):
            of_table, of_maps = self._tables[side], self._maps[side]
            if of_table is not None:
                strip = strip_of(of_table, piece.start - 1, self._tokens.parts.grid)
                strip += strip_gradient(frames, maps, strip.shape[1])
            if of_maps is not None:
                some = maps_gradient(frames, self._tokens.strip(side, piece))
                of_maps[:, :, piece.start - 1 :: piece.step] = some.permute(2, 1, 0, 3)

    def tensors(self) -> list[Tensor | None]:
        """In the order of the inputs."""
        tables = (None if table is None else table.flatten(0, 1).flip(0) for table in self._tables)
        return [self._out, *self._maps, None, self._taps, self._added, *tables]


def _parts(inputs: Sequence[Any]) -> TokenParts:
    out, prev, after, seen, taps, added, w1, w2, grid = inputs
    maps, tables = None if prev is None else (prev, after), None if w1 is None else (w1, w2)
    return TokenParts(out=out, maps=maps, grid=grid, taps=taps, added=added, tables=tables, seen=seen)


def _by_clip(tokens: Float[Tensor, "p T N C"]) -> Float[Tensor, "N pT C"]:
    """View with a matrix for each clip."""
    return tokens.flatten(0, 1).transpose(0, 1)
