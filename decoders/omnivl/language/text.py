"""The text encoder: a text to a point on the sphere where images and clips lie.

Bidirectional, as the paper's BERT; what stands at the first token goes through a linear layer to the sphere.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from decoders.omnivl.config import HeadsConfig
from decoders.omnivl.language.blocks import ReadingBlocks
from decoders.omnivl.language.vocabulary import text_mask


class TextEncoder(nn.Module):
    """Texts alone."""

    def __init__(self, config: HeadsConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.blocks = ReadingBlocks(config, config.text_layers, table)
        self.end = config.words.end
        self.project = nn.Linear(config.width, config.embed)

    def forward(self, tokens: Int[Tensor, "N L"]) -> Float[Tensor, "N E"]:
        """Unit vectors of texts (SOT ... EOT, pads)."""
        states = self.blocks(tokens, text_mask(tokens, self.end))
        return F.normalize(self.project(states[:, 0]), dim=-1)
