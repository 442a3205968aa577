"""Texts of a closed list, against trying them one by one."""

import pytest
import torch

from decoders.omnivl.language.memory import memory_of
from decoders.omnivl.language.ranking import likelihoods, ranked_answers
from tests.small_heads import drawn_visual, tiny_decoder

TEXTS = torch.tensor([[3, 0, 4, 0], [3, 1, 2, 4], [3, 1, 4, 0], [3, 2, 2, 4], [3, 0, 1, 4], [3, 0, 4, 0]])


def one_by_one(decoder, memory):
    """Sums of log-probabilities, token by token."""
    found = torch.zeros(len(memory.tokens), len(TEXTS))
    for row in range(len(memory.tokens)):
        for place, text in enumerate(TEXTS.tolist()):
            text = text[: text.index(4) + 1]
            logits = decoder.logits(*memory.rows(torch.tensor([row])), torch.tensor([text]))
            chances = logits[0].log_softmax(dim=-1)
            found[row, place] = sum(chances[at, word] for at, word in enumerate(text[1:]))
    return found.detach()


@pytest.mark.parametrize("piece", [1, 4, 100])
def test_likelihoods(piece):
    decoder, memory = tiny_decoder(), memory_of(drawn_visual(3))
    expected = one_by_one(decoder, memory)
    torch.testing.assert_close(likelihoods(decoder, memory, TEXTS, piece=piece), expected)
    chosen = torch.tensor([[0, 3], [5, 1], [2, 2]])
    found = likelihoods(decoder, memory, TEXTS, chosen=chosen, piece=piece)
    torch.testing.assert_close(found, expected.gather(1, chosen))


@pytest.mark.parametrize("seed", range(3))
def test_with_all_of_them_the_likeliest_comes_first(seed):
    decoder, memory = tiny_decoder(seed), memory_of(drawn_visual(4, seed=seed))
    expected = one_by_one(decoder, memory)
    for top in (len(TEXTS), 100):
        found = ranked_answers(decoder, memory, TEXTS, top=top)
        assert found.texts.shape == (4, len(TEXTS))
        torch.testing.assert_close(found.likelihoods, expected.sort(dim=1, descending=True).values)
        torch.testing.assert_close(expected.gather(1, found.texts), found.likelihoods)
        assert torch.equal(found.texts[:, 0], expected[:, :5].argmax(dim=1))


def test_the_first_token_decides_who_is_asked():
    decoder, memory = tiny_decoder(), memory_of(drawn_visual(3))
    first = decoder.logits(*memory, torch.full((3, 1), 3))[:, 0].log_softmax(dim=-1)
    found = ranked_answers(decoder, memory, TEXTS, top=1)
    assert torch.equal(first[:, TEXTS[:, 1]].argmax(dim=1), found.texts[:, 0])


def test_equals_come_in_the_order_of_the_list():
    decoder = tiny_decoder()
    torch.nn.init.zeros_(decoder.blocks.words.table.weight)
    found = ranked_answers(decoder, memory_of(drawn_visual(1)), TEXTS, top=6)
    assert found.texts.tolist() == [[0, 2, 5, 1, 3, 4]]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="a top from 1, found 6 texts and top 0"):
        ranked_answers(tiny_decoder(), memory_of(drawn_visual(1)), TEXTS, top=0)
    with pytest.raises(ValueError, match="found 0 texts"):
        ranked_answers(tiny_decoder(), memory_of(drawn_visual(1)), TEXTS[:0], top=1)
