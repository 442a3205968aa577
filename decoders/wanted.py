"""What decoders want of a bank's blocks: for each layer its block, of it all tokens or only CLS, with its
maps or without.

Several decoders want together what any of them wants, each block once, however many layers read it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from decoders.config import DecoderConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Blocks, and what of each."""

    blocks: tuple[int, ...]
    """The block of each decoder layer; one may be read by several."""
    whole: frozenset[int]
    """Blocks of which all tokens are wanted; of the others CLS alone."""
    maps: frozenset[int]
    """Blocks whose cross-frame maps are wanted."""


def wanted_by(config: DecoderConfig, blocks: Sequence[int]) -> Wanted:
    """What a decoder wants whose layers read `blocks`."""
    every, none = frozenset(blocks), frozenset()
    return Wanted(
        blocks=tuple(blocks),
        whole=every if config.tokens == "all" else none,
        maps=every if config.cross_frame else none,
    )


def everything(*blocks: int) -> Wanted:
    """All tokens and maps of some blocks, a layer each."""
    return Wanted(blocks=blocks, whole=frozenset(blocks), maps=frozenset(blocks))


def union(wants: Iterable[Wanted]) -> Wanted:
    """What any of them wants, each block once and in ascending order."""
    wants = list(wants)
    return Wanted(
        blocks=tuple(sorted({block for some in wants for block in some.blocks})),
        whole=frozenset(block for some in wants for block in some.whole),
        maps=frozenset(block for some in wants for block in some.maps),
    )
