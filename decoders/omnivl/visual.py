"""All that OmniVL's heads know of an image or a clip: where it lies among the texts, and tokens to look at.

Two tiers make it, and nothing else passes between vision and language: a small network on the tokens of a
bank (`decoders.omnivl.adapter`), and a tower that is trained end to end (`finetune.omnivl.encoder`). So heads
that were trained on one load strictly into the other.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class VisualOut:
    """N images or clips, as the heads see them."""

    embedding: Float[Tensor, "N E"]
    """Unit vectors, to be compared with those of texts."""
    tokens: Float[Tensor, "N S D"]
    """What the two decoders look at by cross-attention; S = T (1 + P) for clips of T frames, frame by frame,
    CLS of each first: a frame repeated T times is looked at as the image is."""
    mask: Bool[Tensor, "N S"] | None = None
    """True where there is a token; None where all are."""

    def rows(self, rows: Int[Tensor, " n"]) -> "VisualOut":
        """Some of them, or some several times."""
        mask = None if self.mask is None else self.mask[rows]
        return VisualOut(embedding=self.embedding[rows], tokens=self.tokens[rows], mask=mask)
