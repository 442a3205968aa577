"""Three pairs a sample, and fewer where a partner is missing."""

import torch
from torch.nn import functional as F

from decoders.omnivl.language.vocabulary import text_tokenizer
from decoders.omnivl.pretraining.matching import matching_loss
from tests.small_heads import SMALL, drawn_visual, small_heads

TOKENS = text_tokenizer(SMALL.context)(["a red circle", "a blue square", "two green stars that move"])


def by_hand(heads, visual, pairs):
    """Sum of cross-entropies of (image, text, whether they match), one by one."""
    found = [
        F.cross_entropy(
            heads.match(visual.rows(torch.tensor([seen])), TOKENS[read : read + 1]), torch.tensor([true])
        )
        for seen, read, true in pairs
    ]
    return torch.stack(found).sum()


def test_true_pairs_hard_texts_and_hard_images():
    heads, visual = small_heads(), drawn_visual(3)
    total, count = matching_loss(heads, visual, TOKENS, torch.tensor([1, 2, 0]), torch.tensor([2, 0, 0]))
    pairs = [
        (0, 0, 1),
        (1, 1, 1),
        (2, 2, 1),
        (0, 1, 0),
        (1, 2, 0),
        (2, 0, 0),
        (2, 0, 0),
        (0, 1, 0),
        (0, 2, 0),
    ]
    torch.testing.assert_close(total, by_hand(heads, visual, pairs))
    assert count == 9


def test_missing_partners_do_not_count():
    heads, visual = small_heads(), drawn_visual(3)
    total, count = matching_loss(heads, visual, TOKENS, torch.tensor([-1, 2, -1]), torch.tensor([-1, -1, -1]))
    torch.testing.assert_close(total, by_hand(heads, visual, [(0, 0, 1), (1, 1, 1), (2, 2, 1), (1, 2, 0)]))
    assert count == 4
    total.backward()
    assert all(one.grad.isfinite().all() for one in heads.align.parameters())


def test_parts_add_up_to_the_whole():
    heads, visual = small_heads(), drawn_visual(4, mask=torch.ones(4, 5, dtype=torch.bool))
    tokens, swap = TOKENS[[0, 1, 2, 0]], torch.tensor([1, 0, 3, 2])
    whole = matching_loss(heads, visual, tokens, swap, swap)
    parts = [
        matching_loss(heads, visual.rows(torch.arange(at, at + 2)), tokens[at : at + 2], swap[:2], swap[:2])
        for at in (0, 2)
    ]
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole[0])
    assert parts[0][1] + parts[1][1] == whole[1] == 12


def test_one_pass_over_all_pairs():
    heads, visual = small_heads(), drawn_visual(3)
    batches = []
    heads.align.blocks.register_forward_hook(lambda _, inputs, states: batches.append(len(states)))
    matching_loss(heads, visual, TOKENS, torch.tensor([1, 2, 0]), torch.tensor([-1, 0, 0]))
    assert batches == [9]
