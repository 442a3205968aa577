"""Embeddings of past batches, that a query meets more negatives than a batch has, with their ids.

First in, first out. Slots that were never filled have the id EMPTY, which `univlc` leaves out. Image and
video batches may be of different size; where all processes push the same whole batches, their queues are the
same. It is part of the state of a training: 57,600 pairs of 256 channels are 118 MB.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoders.omnivl.pretraining.univlc import EMPTY


class EmbeddingQueue(nn.Module):
    """The last `size` pairs of unit vectors of width `embed`; 0 keeps none."""

    visual: Tensor
    text: Tensor
    ids: Tensor
    cursor: Tensor

    def __init__(self, size: int, embed: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("visual", torch.zeros(size, embed))
        self.register_buffer("text", torch.zeros(size, embed))
        self.register_buffer("ids", torch.full((size,), EMPTY))
        self.register_buffer("cursor", torch.tensor(0))

    def keys(
        self, visual: Float[Tensor, "N E"], text: Float[Tensor, "N E"], ids: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "M E"], Float[Tensor, "M E"], Int[Tensor, " M"]]:
        """A batch's embeddings and ids, before those that are kept, empty slots among them."""
        return (
            torch.cat([visual, self.visual.to(visual.dtype)]),
            torch.cat([text, self.text.to(text.dtype)]),
            torch.cat([ids, self.ids]),
        )

    @torch.no_grad()
    def push(self, visual: Float[Tensor, "N E"], text: Float[Tensor, "N E"], ids: Int[Tensor, " N"]) -> None:
        """Take a batch in, in place of the oldest; of one that is larger than all slots, its last rows."""
        kept = min(len(ids), self.size)
        if not kept:
            return
        slots = (self.cursor + torch.arange(kept, device=self.ids.device)) % self.size
        self.visual[slots] = visual[-kept:].to(self.visual.dtype)
        self.text[slots] = text[-kept:].to(self.text.dtype)
        self.ids[slots] = ids[-kept:]
        self.cursor.copy_((self.cursor + kept) % self.size)
