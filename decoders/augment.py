"""Augmentation of features that are cached already: what costs no tower.

A bank holds fixed views, so what usually keeps a decoder from learning its clips by heart, new crops in every
epoch, is missing. Two things can still be done to tokens:

* Token dropout: attention does not see a random share of a clip's patches, the same in all layers, an exact
  share rather than one by chance, and never CLS. FLIP (arXiv 2212.00794) and PatchDropout (arXiv 2208.07220)
  leave patches out before the tower, to save its time; here the tower has run, so nothing is saved, and the
  gain is a decoder that does not rely on the one patch that gives a clip away. Dropped tokens stay in the
  convolution and in the maps of their neighbours, as they stayed in the tower's own attention.
* Mixup (arXiv 1710.09412): x = s x_i + (1 - s) x_j, y = s y_i + (1 - s) y_j with s ~ Beta(alpha, alpha). The
  paper takes one s a batch and a random partner; here rows 2i and 2i + 1 of the batch, whose order is random
  anyway, are each other's partners, with an s of their own. So partners lie in one piece of a batch however
  it is cut. Tokens and maps are mixed alike: the temporal modules are affine in them, so the tokens before
  the norm are then mixtures in the same shares.

All numbers are functions of (seed, step, row of the whole batch), see `decoders/draws.py`. A batch is never
changed in place, since other heads read it too: mixup makes a second one, token dropout a mask of a byte a
token.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64

from decoders.config import AugmentConfig
from decoders.draws import Draws
from decoders.evl import BlockFeatures

Targets = Int64[torch.Tensor, " n"] | Float[torch.Tensor, "n K"]
"""Classes, or a distribution over them."""


def augmented(
    features: Sequence[BlockFeatures],
    targets: Int64[torch.Tensor, " n"],
    config: AugmentConfig,
    draws: Draws,
    classes: int,
) -> tuple[list[BlockFeatures], Targets]:
    """Features and targets to learn from; those given where all is off. ValueError where mixup finds rows
    without their partners.
    """
    blocks, mixed_targets = list(features), targets
    if config.mixup:
        own = own_shares(config.mixup, draws)
        blocks = mixed_blocks(features, own)
        mixed_targets = mixed(F.one_hot(targets, classes).to(own.dtype), own)
    if config.token_dropout:
        seen = seen_tokens(blocks[0].out, config.token_dropout, draws)
        blocks = [replace(block, seen=seen) for block in blocks]
    return blocks, mixed_targets


def seen_tokens(
    out: Float[torch.Tensor, "N T L C"], share: float, draws: Draws
) -> Bool[torch.Tensor, "N T L"]:
    """Which tokens attention sees: all CLS, and all but a `share` of each clip's patches, to the nearest
    number.
    """
    _, frames, length, _ = out.shape
    patches = frames * (length - 1)
    place = draws.uniform("token dropout", patches).argsort(dim=1)
    seen = (place >= round(share * patches)).unflatten(1, (frames, length - 1))
    return F.pad(seen, (1, 0), value=True)


def own_shares(alpha: float, draws: Draws) -> Float[torch.Tensor, " N"]:
    """The share that each row has in its mixture, equal within a pair; the partner has the rest."""
    start, stop = draws.rows.start, draws.rows.stop
    if start % 2 or stop % 2:
        raise ValueError(
            f"mixup mixes rows 2i and 2i + 1 of a batch: expected pieces of whole pairs, found rows {start} "
            f"to {stop - 1}; choose a batch_size that pieces and workers share in pairs"
        )
    stream = np.random.default_rng(draws.stream("mixup").initial_seed())
    shares = stream.beta(alpha, alpha, size=draws.total // 2).astype(np.float32).repeat(2)
    return torch.from_numpy(shares[draws.rows]).to(draws.device)


def mixed_blocks(features: Sequence[BlockFeatures], own: Float[torch.Tensor, " N"]) -> list[BlockFeatures]:
    """Every block mixed; layers that read the same block share its mixture."""
    found: dict[int, BlockFeatures] = {}
    for block in features:
        if id(block) not in found:
            found[id(block)] = mixed_block(block, own)
    return [found[id(block)] for block in features]


def mixed_block(block: BlockFeatures, own: Float[torch.Tensor, " N"]) -> BlockFeatures:
    """A block's tokens and maps, each row mixed with its partner."""
    prev, after = (None if maps is None else mixed(maps, own) for maps in (block.map_prev, block.map_next))
    return replace(block, out=mixed(block.out, own), map_prev=prev, map_next=after)


def mixed(
    values: Float[torch.Tensor, "N ..."], own: Float[torch.Tensor, " N"]
) -> Float[torch.Tensor, "N ..."]:
    """own * values + (1 - own) * those of the other row of the pair."""
    partners = values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
    return torch.lerp(partners, values, own.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1)))
