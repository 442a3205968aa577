"""Texts and images that nearly match, for the matching loss to tell apart.

As in ALBEF and BLIP a wrong partner is drawn from the batch with a probability that grows with its likeness.
What must not be drawn is one that is not wrong at all: with class names among the texts a batch has many. A
prompt fits every image of its class; a caption may fit an image that brought its class alone, and of captions
whose class nobody knows, any may. Where nothing is left to draw, a row has no negative.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from decoders.omnivl.pretraining.samples import NO_CLASS

NOBODY = -1
"""The negative of a row that has none."""


def fits(
    ids: Int[Tensor, " N"],
    classes: Int[Tensor, " N"],
    prompts: Bool[Tensor, " N"],
    texts: Int[Tensor, " N"],
) -> Bool[Tensor, "N N"]:
    """True where a sample's text may well be right for another's image or clip, both ways.

    Args:
        ids: those of `univlc`.
        classes: NO_CLASS where a sample has none.
        prompts: whether a text is a prompt of its class, and not a caption.
        texts: equal numbers where texts are equal.
    """
    same_class = _pairs(classes)
    unknown = classes == NO_CLASS
    either_unknown = unknown[:, None] | unknown
    both = prompts[:, None] & prompts
    one = prompts[:, None] ^ prompts
    return _pairs(ids) | _pairs(texts) | (both & same_class) | (one & (same_class | either_unknown))


def hard_negatives(
    similarity: Float[Tensor, "N M"], fits: Bool[Tensor, "N M"], uniform: Float[Tensor, " N"]
) -> Int[Tensor, " N"]:
    """A column for each row, drawn by the softmax of those that do not fit (and 1e-4 for each); NOBODY where
    all do.

    Args:
        similarity: logits, cosines over the temperature.
        uniform: a number in [0, 1) a row, by which the column is found: the same number, the same column.
    """
    logits = similarity.detach().float().masked_fill(fits, torch.finfo(torch.float32).min)
    weights = (logits.softmax(dim=1) + 1e-4).masked_fill(fits, 0.0).double()
    below = weights.cumsum(dim=1)
    total = below[:, -1:]
    column = torch.searchsorted(below, uniform[:, None].double() * total, right=True)
    # a number just below 1 may round up to the whole: then it is the last one that can be drawn
    last = (below < total).sum(dim=1, keepdim=True)
    return torch.where(total > 0, column.minimum(last), NOBODY).squeeze(1)


def _pairs(values: Int[Tensor, " N"]) -> Bool[Tensor, "N N"]:
    return values[:, None] == values
