"""The matching loss: the alignment decoder tells true pairs from those that nearly match.

Three pairs a sample, as in BLIP: the true one, its image or clip with a hard text, its text with a hard image
or clip. They go through the decoder together, in one pass. A sample that has no such partner has fewer pairs;
they are computed all the same and do not count, so that no step waits to see how many there are.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.pretraining.negatives import NOBODY
from decoders.omnivl.visual import VisualOut


def matching_loss(
    heads: OmniVLHeads,
    visual: VisualOut,
    tokens: Int[Tensor, "N L"],
    text_for_visual: Int[Tensor, " N"],
    visual_for_text: Int[Tensor, " N"],
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """The pairs' cross-entropies in all, and how many pairs they are.

    Args:
        text_for_visual, visual_for_text: which sample's text each image or clip gets as a wrong one, and the
            other way round; NOBODY for none (`hard_negatives`).
    """
    own = torch.arange(len(tokens), device=tokens.device)
    seen = torch.cat([own, own, visual_for_text])
    read = torch.cat([own, text_for_visual, own])
    logits = heads.match(visual.rows(seen.clamp(min=0)), tokens[read.clamp(min=0)])
    matches = (torch.arange(len(seen), device=tokens.device) < len(own)).long()
    each = F.cross_entropy(logits.float(), matches, reduction="none")
    counts = (seen != NOBODY) & (read != NOBODY)
    return torch.where(counts, each, 0.0).sum(), counts.sum()
