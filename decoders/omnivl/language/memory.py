"""What a decoder looks at by cross-attention: the tokens of an image or a clip, or a question's states."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor

from decoders.omnivl.visual import VisualOut


class Memory(NamedTuple):
    """Of N texts, one each."""

    tokens: Float[Tensor, "N S D"]
    """What is looked at."""
    mask: Bool[Tensor, "N S"] | None = None
    """True where there is something; None where everywhere. Nobody's may be empty."""

    def rows(self, rows: Int[Tensor, " n"]) -> "Memory":
        """Some of them, or some several times."""
        return Memory(self.tokens[rows], None if self.mask is None else self.mask[rows])


def memory_of(visual: VisualOut) -> Memory:
    """The tokens of images or clips."""
    return Memory(visual.tokens, visual.mask)
