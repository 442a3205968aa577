"""What the query sees of one block: temporal modules, LayerNorm and attention pooling in one pass over the
tokens.

The frozen tokens of a block are by far the largest thing in a step (B/16, 8 frames: 4.8 MB a clip in fp32),
and written as separate operations the temporal modules, the norm and the attention read and write them some
eighty times, forward and backward. Here each piece, a few tokens in all frames of all clips that fit into a
CPU's cache, goes through everything at once. Kept for the backward pass are the scores and the tokens before
the norm, in the dtype of the frozen ones. The frozen inputs get gradients only if somebody asks (a live,
trainable tower).

With u the folded query of each head (see `decoders.attention`) and y = LayerNorm(tokens) without its affine
part:
    tokens = shift_and_add(F, taps) + added + cross(maps);  a = softmax(y u);  pooled = a y
Nor is y ever written. With x the tokens, m their mean and r their 1/std, y = r (x - m). Over channels, m is a
constant, which any row without a mean does not see: y u = r (x u') with u' the centred u, and a y is the
centre of (a r) x. The gradient of y is a product with 2 H rows, and LayerNorm's backward takes the centre of
these, and some of x - m, whose m is one more row, of ones. So tokens are not even centred: m comes with the
scores, as the product with a row of 1/C.

All arithmetic is in the dtype of u (fp32 also under autocast): half-precision features are widened piece by
piece, where they already lie in the cache.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from decoders.temporal import maps_gradient, shift_and_add, strip_gradient, strip_of, taps_gradient
from decoders.tokens import TokenParts, Tokens, clips_together

EPS = 1e-5
"""LayerNorm's epsilon, as CLIP's and EVL's."""
_NONE = (None, None)


def pool_tokens(folded: Float[Tensor, "N H C"], parts: TokenParts) -> Float[Tensor, "N H C"]:
    """Attention-weighted mean of the normalised tokens per folded query; differentiable in all parts."""
    clips = clips_together(parts, folded.dtype)
    prev, after = parts.maps or _NONE
    every = (folded, parts.out, prev, after, parts.seen)
    per_clip = (repeat(None) if x is None else x.split(clips) for x in every)
    shared = (parts.taps, parts.added, *(parts.tables or _NONE), parts.grid)
    with torch.autocast(folded.device.type, enabled=False):
        pooled: list[Any] = [_Pool.apply(*some, *shared) for some in zip(*per_clip, strict=False)]
    return torch.cat(pooled)


class _Pool(torch.autograd.Function):
    """`pool_tokens` of clips few enough for a piece; see the module's text."""

    @staticmethod
    def forward(ctx: Any, folded: Tensor, *inputs: Any) -> Tensor:
        tokens = Tokens(_parts(inputs), folded.dtype)
        kept: list[Tensor] = []
        scores: list[Tensor] = []
        rstd: list[Tensor] = []
        means: list[Tensor] = []
        heads, width = folded.shape[1:]
        rows = _centred(folded)
        rows = torch.cat([rows, torch.full_like(rows[:, :1], 1 / width)], dim=1)
        pooled = torch.zeros_like(folded)
        # finite, since -inf - -inf, of a piece of which nothing is seen, is NaN
        peak, total = pooled[..., :1] + torch.finfo(folded.dtype).min, pooled[..., :1]
        for piece in tokens.pieces():
            built = tokens.build(piece)
            products, mean = torch.bmm(rows, _by_clip(built).mT).split([heads, 1], dim=1)
            squares = torch.linalg.vector_norm(built, dim=-1).flatten(0, 1).T[:, None].square() / width
            means.append(mean)
            rstd.append(((squares - mean.square()).clamp(min=0) + EPS).rsqrt())
            scores.append(products * rstd[-1])
            score = tokens.hide(scores[-1], piece)
            # a softmax over all pieces, of which only those so far are known: what is there fades as it rises
            before, peak = peak, peak.maximum(score.amax(dim=-1, keepdim=True))
            fade, shares = (before - peak).exp(), (score - peak).exp()
            total = total * fade + shares.sum(dim=-1, keepdim=True)
            pooled = (pooled * fade).baddbmm_(shares * rstd[-1], _by_clip(built))
            kept.append(built.to(tokens.parts.out.dtype))
        pooled = _centred(pooled / total)
        ctx.grid = inputs[-1]
        along = torch.cat(scores, dim=-1), torch.cat(rstd, dim=-1), torch.cat(means, dim=-1)
        ctx.save_for_backward(folded, *inputs[:-1], pooled, *along, *kept)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        folded, *inputs = ctx.saved_tensors[:9]
        pooled, scores, rstd, means, *kept = ctx.saved_tensors[9:]
        tokens = Tokens(_parts((*inputs, ctx.grid)), folded.dtype)
        sums = _Gradients(tokens, ctx.needs_input_grad[1:])
        heads, width = folded.shape[1:]
        of_folded, rows = torch.zeros_like(folded), _centred(torch.cat([folded, gradient], dim=1))
        own, rows = rows[:, heads:], torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
        centre = (gradient * pooled).sum(dim=-1, keepdim=True)
        weights = tokens.hide(scores, *tokens.pieces()).softmax(dim=-1)
        along = torch.cat([scores, weights, rstd, means], dim=1)
        sizes = [part.shape[:2].numel() for part in kept]
        for piece, part, some in zip(tokens.pieces(), kept, along.split(sizes, dim=-1), strict=True):
            score, weight, one, mean = some.split([heads, heads, 1, 1], dim=1)
            built = part.to(folded.dtype)
            of_weight = torch.bmm(own, _by_clip(built).mT) * one
            of_score = weight * (of_weight - centre)
            of_folded.baddbmm_(of_score * one, _by_clip(built))
            if sums.any:
                radial = (of_score * score + weight * of_weight).sum(dim=1, keepdim=True) * one / -width
                of_rows = torch.cat([of_score, weight, -radial * mean], dim=1) * one
                along_it = (radial * one)[:, 0].T.reshape(*built.shape[:-1], 1)
                of_tokens = built * along_it if built is part else built.mul_(along_it)
                _by_clip(of_tokens).baddbmm_(of_rows.mT, rows)
                sums.add(piece, of_tokens)
        return (_centred(of_folded), *sums.tensors(), None)


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
                strip += strip_gradient(gradient, maps, 1 - side, strip.shape[1])
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


def _centred(rows: Float[Tensor, "N R C"]) -> Float[Tensor, "N R C"]:
    """The rows with a mean of zero over the channels."""
    return rows - rows.mean(dim=-1, keepdim=True)


def _by_clip(tokens: Float[Tensor, "p T N C"]) -> Float[Tensor, "N pT C"]:
    """View with a matrix for each clip."""
    return tokens.flatten(0, 1).transpose(0, 1)
