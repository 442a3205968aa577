"""OmniVL's heads in one module: all that is learned of language, the same for a bank and for a live tower.

Text encoder and both decoders are modules of their own, as in the paper's figure. They share one table of
tokens, and the words that are generated are told by it, too: at width 512 it has 25 million parameters, as
many as six blocks of a decoder, and so would each further table; and most of its rows are rarely met, so what
one of the three learns of a word serves the others.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoders.omnivl.config import TEMPERATURES, HeadsConfig
from decoders.omnivl.language.alignment import AlignmentDecoder
from decoders.omnivl.language.generation import GenerationDecoder
from decoders.omnivl.language.memory import Memory, memory_of
from decoders.omnivl.language.text import TextEncoder
from decoders.omnivl.visual import VisualOut


class OmniVLHeads(nn.Module):
    """Text encoder, alignment decoder, generation decoder, and the temperature of cosines.

    Attributes:
        text, align, generate: the three.
        log_temperature: what is learned of the temperature, so that a step is a factor.
    """

    def __init__(self, config: HeadsConfig) -> None:
        super().__init__()
        self.config = config
        table = nn.Embedding(config.words.rows, config.width)
        nn.init.normal_(table.weight, std=0.02)
        self.text = TextEncoder(config, table)
        self.align = AlignmentDecoder(config, table)
        self.generate = GenerationDecoder(config, table)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """What cosines are divided by, within TEMPERATURES. The gradient passes through the bounds, or a
        temperature that has reached one could never return.
        """
        low, high = map(math.log, TEMPERATURES)
        free = self.log_temperature
        return (free + (free.clamp(low, high) - free).detach()).exp()

    def encode_text(self, tokens: Int[Tensor, "N L"]) -> Float[Tensor, "N E"]:
        """Unit vectors of texts."""
        return self.text(tokens)

    def match(self, visual: VisualOut, tokens: Int[Tensor, "N L"]) -> Float[Tensor, "N 2"]:
        """Logits of each pair, row by row: that they do not match, that they do."""
        return self.align.match(visual, tokens)

    def ask(self, visual: VisualOut, tokens: Int[Tensor, "N L"]) -> Memory:
        """What an answer to each question is generated from: states (N, L, D) and mask."""
        return self.align.ask(visual, tokens)

    def caption_loss(
        self, visual: VisualOut, tokens: Int[Tensor, "N L"], *, smoothing: float
    ) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
        """Of each caption: its tokens' cross-entropies in all, and how many they are."""
        return self.generate.losses(memory_of(visual), tokens, smoothing=smoothing)

    def answer_loss(
        self, questions: Memory, answers: Int[Tensor, "N L"], *, smoothing: float
    ) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
        """The same of answers to questions that were asked (`ask`)."""
        return self.generate.losses(questions, answers, smoothing=smoothing)
