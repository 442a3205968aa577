"""Searches on a vocabulary so small that all texts can be tried."""

import itertools

import pytest
import torch

from decoders.omnivl.language.beams import BeamConfig, generate
from decoders.omnivl.language.memory import Memory, memory_of
from decoders.omnivl.language.vocabulary import Words, detokenise, text_mask, text_tokenizer
from tests.small_heads import SMALL, drawn_visual, small_heads, tiny_decoder

LONGEST = 3

SOT, EOT, ENC, DEC = Words().start, Words().end, Words().enc, Words().dec


def every_text():
    """All that three words, an end and a length of three allow, begun."""
    words = [text for length in range(LONGEST) for text in itertools.product((0, 1, 2), repeat=length)]
    cut = list(itertools.product((0, 1, 2), repeat=LONGEST))
    return [[3, *text, 4] for text in words] + [[3, *text] for text in cut]


def exhaustive(decoder, memory, penalty):
    """The text of the highest score of all."""
    found = []
    for text in every_text():
        sums, counts = decoder.losses(memory, torch.tensor([text]))
        found.append((-sums.item() / counts.item() ** penalty, text))
    return max(found)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_is_an_exhaustive_search(penalty, seed):
    decoder, memory = tiny_decoder(seed), memory_of(drawn_visual(2, seed=seed))
    found = generate(decoder, memory, BeamConfig(beams=60, longest=LONGEST, length_penalty=penalty))
    for row in range(2):
        score, text = exhaustive(decoder, memory.rows(torch.tensor([row])), penalty)
        length = int(text_mask(found.tokens, 4)[row].sum())
        assert found.tokens[row, :length].tolist() == text
        assert not found.tokens[row, length:].any()
        assert found.scores[row].item() == pytest.approx(score, abs=1e-5)


def greedy(decoder, memory, longest):
    text = [3]
    while len(text) <= longest and text[-1] != 4:
        logits = decoder.logits(*memory, torch.tensor([text]))[0, -1]
        logits[3] = -torch.inf
        text.append(int(logits.argmax()))
    return text


@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy(seed):
    decoder, memory = tiny_decoder(seed), memory_of(drawn_visual(5, seed=seed))
    found = generate(decoder, memory, BeamConfig(beams=1, longest=8))
    for row in range(5):
        text = greedy(decoder, memory.rows(torch.tensor([row])), 8)
        assert found.tokens[row, : len(text)].tolist() == text
        assert not found.tokens[row, len(text) :].any()


def test_a_batch_is_its_rows():
    decoder, visual = tiny_decoder(1), drawn_visual(4, seed=2)
    mask = torch.arange(5).expand(4, 5) < torch.tensor([[5], [3], [1], [4]])
    memory = Memory(visual.tokens, mask)
    found = generate(decoder, memory, BeamConfig(beams=3, longest=6))
    for row in range(4):
        alone = Memory(visual.tokens[row : row + 1, : int(mask[row].sum())])
        one = generate(decoder, alone, BeamConfig(beams=3, longest=6))
        length = one.tokens.shape[1]
        assert torch.equal(one.tokens[0], found.tokens[row, :length])
        assert not found.tokens[row, length:].any()
        torch.testing.assert_close(one.scores[0], found.scores[row])


@pytest.mark.parametrize(("beams", "text"), [(1, [3, 0, 0, 0]), (3, [3, 0, 0, 0]), (7, [3, 4, 0, 0])])
def test_of_equals_the_likelier_wins_and_then_the_first(beams, text):
    """All words are alike here; seven beams find the text that ends at once, which is the likeliest."""
    decoder = tiny_decoder()
    torch.nn.init.zeros_(decoder.blocks.words.table.weight)
    found = generate(decoder, memory_of(drawn_visual(2)), BeamConfig(beams=beams, longest=LONGEST))
    assert found.tokens.tolist() == [text] * 2


def test_real_words_come_out_and_nothing_special():
    heads, tokenizer = small_heads(), text_tokenizer(SMALL.context)
    with torch.no_grad():
        heads.generate.blocks.words.table.weight[[SOT, ENC, DEC]] *= 100  # what it would like to say most
    found = generate(heads.generate, memory_of(drawn_visual(2)), BeamConfig(beams=2, longest=5))
    assert (found.tokens[:, 0] == DEC).all()
    assert not torch.isin(found.tokens[:, 1:], torch.tensor([SOT, ENC, DEC])).any()
    assert all(text and "<" not in text for text in detokenise(tokenizer, found.tokens))


def test_a_text_that_was_learned_is_said():
    heads, tokenizer = small_heads(), text_tokenizer(SMALL.context)
    texts, visual = ["a red circle moves left", "two stars"], drawn_visual(2)
    tokens, adam = tokenizer(texts), torch.optim.Adam(heads.parameters(), 1e-2)
    for _ in range(60):
        adam.zero_grad()
        heads.caption_loss(visual, tokens, smoothing=0.0)[0].sum().backward()
        adam.step()
    for beams in (1, 3):
        found = generate(heads.generate, memory_of(visual), BeamConfig(beams=beams, longest=10))
        assert detokenise(tokenizer, found.tokens) == texts
        assert (found.tokens == EOT).sum(dim=1).tolist() == [1, 1]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="beams and longest from 1"):
        BeamConfig(beams=0)
    with pytest.raises(ValueError, match="12 tokens at most, found longest 13"):
        generate(tiny_decoder(), memory_of(drawn_visual(1)), BeamConfig(longest=13))
