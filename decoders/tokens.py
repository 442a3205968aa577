"""One layer's tokens: the frozen ones and what the temporal modules add, made piece by piece.

A piece is a few tokens of a frame in all frames of some clips, (p,T,N,C), small enough to stay in a CPU's
cache while all that is done to it is done. `decoders.pooling` says why, and does it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from decoders.temporal import add_cross_frame, shift_and_add, strip_of, turned

PIECE_BYTES = 3 * 2**20
"""Tokens in flight on a CPU: a column of the grid in 8 clips of the paper's B/16 shape. Smaller pieces lie
nearer to the core, but calls of 5 us each then outweigh what they do."""


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


def clips_together(parts: TokenParts, dtype: torch.dtype) -> int:
    """Clips that go through together, so that a piece of theirs is no larger than PIECE_BYTES."""
    if parts.out.is_cuda:
        return len(parts.out)
    tokens = 1 if parts.tables is None else parts.grid[0]
    return max(1, PIECE_BYTES // (tokens * parts.out[0, :, 0].numel() * dtype.itemsize))


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
        some = self.parts.out[:, :, piece].permute(2, 1, 0, 3)
        return some.to(self.dtype, memory_format=torch.contiguous_format, copy=True)

    def build(self, piece: slice) -> Float[Tensor, "p T N C"]:
        """The frozen tokens and what the temporal modules add."""
        tokens, added = self.frozen(piece), self.parts.added
        if self.parts.taps is not None:
            tokens = shift_and_add(tokens, self.parts.taps, added)
        elif added is not None:
            tokens += added[:, None]
        for side, maps, frames in self.cross(piece, tokens):
            add_cross_frame(frames, maps, self.strip(side, piece))
        return tokens

    def cross(
        self, piece: slice, tokens: Float[Tensor, "p T N C"]
    ) -> Iterator[tuple[int, Float[Tensor, "h M N P"], Float[Tensor, "h M N C"]]]:
        """If the piece is a column, for the previous frames (0) and the next ones (1): views of its maps, in
        their own dtype, and of those of `tokens` that have such a neighbour.
        """
        if self.parts.maps is not None and self.tables and piece.start:
            here = slice(piece.start - 1, None, piece.step)
            for side, frames in enumerate((tokens[:, 1:], tokens[:, :-1])):
                yield side, self.parts.maps[side][:, :, here].permute(2, 1, 0, 3), frames

    def strip(self, side: int, piece: slice) -> Float[Tensor, "Y w C"]:
        """A copy of a column's part of a table."""
        return strip_of(self.tables[side], piece.start - 1, self.parts.grid).contiguous()
