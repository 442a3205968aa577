"""UniVLC: one contrastive loss over image-text, image-label, video-text and video-label.

Every sample has an id: a caption's is its own (or its clip's), that of a class's prompt is the class's. Keys
of a query's id are its positives P, all other keys its negatives. With the probabilities p of all keys
(softmax of cosines over the temperature), one direction's loss of a sample is

    mean    -1/|P| sum over P of log p_k          the positives count as one (UniCL, ALBEF), the default
    sum           -sum over P of log p_k          each of them counts as one

With distinct ids both are InfoNCE. Its minimum is not 0 but log |P|: no more than 1/|P| goes to each of |P|
positives. So a batch of few classes has a high loss however good the model is; what a log reports should be
the loss less its `floor`.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

EMPTY = -1
"""The id of a key that is not there."""
Positives = Literal["mean", "sum"]


def univlc(
    query: Float[Tensor, "N E"],
    keys: Float[Tensor, "M E"],
    query_ids: Int[Tensor, " N"],
    key_ids: Int[Tensor, " M"],
    *,
    temperature: Float[Tensor, ""] | float,
    positives: Positives,
) -> Float[Tensor, " N"]:
    """The loss of each query among the keys, in one direction; 0 where none of the keys is its own.

    Args:
        query, keys: unit vectors, of images and clips the one and of texts the other.
        query_ids, key_ids: equal ids match; EMPTY matches nothing, and such a key is no negative either.
        temperature: what cosines are divided by.
        positives: whether a query's positives count as one or one each.
    """
    logits = (query @ keys.T).float() / temperature
    chances = logits.masked_fill(key_ids == EMPTY, -torch.inf).log_softmax(dim=1)
    own = _own(query_ids, key_ids)
    losses = torch.where(own, -chances, 0.0).sum(dim=1)
    return losses / own.sum(dim=1).clamp(min=1) if positives == "mean" else losses


def floor(
    query_ids: Int[Tensor, " N"], key_ids: Int[Tensor, " M"], *, positives: Positives = "mean"
) -> Float[Tensor, " N"]:
    """The least that `univlc` can be: log |P|, or |P| log |P| where positives are summed."""
    count = _own(query_ids, key_ids).sum(dim=1).clamp(min=1).float()
    return count.log() if positives == "mean" else count * count.log()


def _own(query_ids: Int[Tensor, " N"], key_ids: Int[Tensor, " M"]) -> Bool[Tensor, "N M"]:
    return (query_ids[:, None] == key_ids) & (key_ids != EMPTY)
