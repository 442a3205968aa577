"""The visual-grounded alignment decoder: does a text say what is seen, and what does a question ask of it.

A text is read as a whole, each block with a look at the visual tokens. The state of its first token, ENC, is
the pair of both as one vector, which the matching head judges; all its states are the memory from which the
generation decoder answers a question (as BLIP does for VQA).
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from decoders.omnivl.config import HeadsConfig
from decoders.omnivl.language.blocks import LookingBlocks
from decoders.omnivl.language.memory import Memory, memory_of
from decoders.omnivl.language.vocabulary import begun_with, text_mask
from decoders.omnivl.visual import VisualOut


class AlignmentDecoder(nn.Module):
    """Texts read while looking."""

    def __init__(self, config: HeadsConfig, table: nn.Embedding) -> None:
        super().__init__()
        self.blocks = LookingBlocks(config, config.align_layers, table)
        self.words = config.words
        self.judge = nn.Linear(config.width, 2)

    def match(self, visual: VisualOut, tokens: Int[Tensor, "N L"]) -> Float[Tensor, "N 2"]:
        """Logits of each pair, row by row: that they do not match, that they do."""
        return self.judge(self.ask(visual, tokens).tokens[:, 0])

    def ask(self, visual: VisualOut, tokens: Int[Tensor, "N L"]) -> Memory:
        """The states of each text at its visual tokens, with the text's mask."""
        mask = text_mask(tokens, self.words.end)
        return Memory(self.blocks(begun_with(tokens, self.words.enc), mask, memory_of(visual)), mask)
