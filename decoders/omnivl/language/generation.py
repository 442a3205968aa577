"""The visual-grounded generation decoder: what is seen, or the answer to a question, token by token.

The blocks of the alignment decoder, but a token sees only those before it. Words are told by their
likeness to the table of tokens itself (tied weights), so they add nothing to its 25 million parameters.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from decoders.omnivl.config import HeadsConfig
from decoders.omnivl.language.blocks import LookingBlocks
from decoders.omnivl.language.memory import Memory
from decoders.omnivl.language.vocabulary import Vocabulary, begun_with, text_mask


class GenerationDecoder(nn.Module):
    """Texts written while looking; a `vocabulary` of the table's rows."""

    def __init__(
        self, config: HeadsConfig, table: nn.Embedding, vocabulary: Vocabulary | None = None
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary or config.words.generated
        self.blocks = LookingBlocks(config, config.generate_layers, table)

    def states(
        self,
        memory_tokens: Float[Tensor, "N S D"],
        memory_mask: Bool[Tensor, "N S"] | None,
        tokens: Int[Tensor, "N L"],
    ) -> Float[Tensor, "N L D"]:
        """What is known at each token, whatever the text began with; a later token never changes it."""
        begun = begun_with(tokens, self.vocabulary.begin)
        return self.blocks(begun, None, Memory(memory_tokens, memory_mask))

    def words(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N W"]:
        """Logits of the token that follows."""
        return F.linear(states, self.blocks.words.table.weight)

    def logits(
        self,
        memory_tokens: Float[Tensor, "N S D"],
        memory_mask: Bool[Tensor, "N S"] | None,
        tokens: Int[Tensor, "N L"],
    ) -> Float[Tensor, "N L W"]:
        """Logits of the token that follows each."""
        return self.words(self.states(memory_tokens, memory_mask, tokens))

    def losses(
        self, memory: Memory, tokens: Int[Tensor, "N L"], *, smoothing: float = 0.0
    ) -> tuple[Float[Tensor, " N"], Int[Tensor, " N"]]:
        """Of each text: its tokens' cross-entropies in all, and how many they are, EOT among them. Sums of
        both, over all processes, make a mean. Without smoothing the first is minus the log-likelihood.

        Only tokens that count are compared with the table: pads are most of a batch, the table most of the
        work.
        """
        wanted = text_mask(tokens, self.vocabulary.end)[:, 1:]
        states = self.states(*memory, tokens)[:, :-1][wanted]
        each = F.cross_entropy(
            self.words(states).float(), tokens[:, 1:][wanted], reduction="none", label_smoothing=smoothing
        )
        losses = torch.zeros(wanted.shape, device=each.device).masked_scatter(wanted, each)
        return losses.sum(dim=1), wanted.sum(dim=1)
