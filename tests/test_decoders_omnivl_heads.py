"""Text encoder and both decoders: what they see, and what they must not."""

import math
import warnings

import pytest
import torch
from torch.nn import functional as F

from decoders.omnivl.config import TEMPERATURES
from decoders.omnivl.language.blocks import LookingBlocks
from decoders.omnivl.language.generation import GenerationDecoder
from decoders.omnivl.language.memory import Memory, memory_of
from decoders.omnivl.language.vocabulary import Vocabulary, text_mask, text_tokenizer
from tests.small_heads import SMALL, drawn_visual, small_heads

TEXTS = ["a red circle", "two blue squares that move left"]
TOKENS = text_tokenizer(SMALL.context)(TEXTS)


def close(left, right):
    return torch.testing.assert_close(left, right, atol=1e-6, rtol=1e-6)


@pytest.fixture(params=[True, False], ids=["training", "evaluation"])
def heads(request):
    """In evaluation torch takes other kernels."""
    found = small_heads().train(request.param)
    with torch.set_grad_enabled(request.param), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield found


def trimmed(row):
    return TOKENS[row : row + 1, : int(text_mask(TOKENS, SMALL.words.end)[row].sum())]


def one(visual, row):
    return type(visual)(embedding=visual.embedding[row : row + 1], tokens=visual.tokens[row : row + 1])


def test_texts_are_unit_vectors(heads):
    found = heads.encode_text(TOKENS)
    assert found.shape == (2, SMALL.embed)
    close(found.norm(dim=1), torch.ones(2))


def test_pads_change_nothing(heads):
    visual = drawn_visual(2)
    states, mask = heads.ask(visual, TOKENS)
    logits = heads.generate.logits(visual.tokens, None, TOKENS)
    sums, counts = heads.caption_loss(visual, TOKENS, smoothing=0.1)
    for row in range(2):
        alone, short = one(visual, row), trimmed(row)
        length = short.shape[1]
        close(heads.encode_text(short)[0], heads.encode_text(TOKENS)[row])
        close(heads.match(alone, short)[0], heads.match(visual, TOKENS)[row])
        close(heads.ask(alone, short).tokens[0], states[row, :length])
        assert mask[row].sum() == length
        close(heads.generate.logits(alone.tokens, None, short)[0], logits[row, :length])
        close(heads.caption_loss(alone, short, smoothing=0.1)[0][0], sums[row])
        assert counts[row] == length - 1


def test_hidden_visual_tokens_change_nothing(heads):
    visual = drawn_visual(2, 5)
    more = torch.cat([visual.tokens, torch.full((2, 3, SMALL.width), 7.0)], dim=1)
    hidden = type(visual)(embedding=visual.embedding, tokens=more, mask=torch.arange(8).expand(2, 8) < 5)
    close(heads.match(hidden, TOKENS), heads.match(visual, TOKENS))
    seen = heads.generate.logits(visual.tokens, None, TOKENS)
    close(heads.generate.logits(hidden.tokens, hidden.mask, TOKENS), seen)


def test_a_later_token_never_changes_an_earlier_logit(heads):
    visual = drawn_visual(2)
    before = heads.generate.logits(visual.tokens, None, TOKENS)
    for place in range(1, SMALL.context):
        other = TOKENS.clone()
        other[:, place] = 1000 + place
        after = heads.generate.logits(visual.tokens, None, other)
        assert torch.equal(after[:, :place], before[:, :place])
        assert not torch.equal(after[:, place:], before[:, place:])


def test_the_alignment_decoder_reads_both_ways_and_looks(heads):
    visual, other = drawn_visual(2), drawn_visual(2, seed=1)
    changed = TOKENS.clone()
    changed[:, 2] = 1000
    found = heads.match(visual, TOKENS)
    assert found.shape == (2, 2)
    assert not torch.allclose(found, heads.match(visual, changed))
    assert not torch.allclose(found, heads.match(other, TOKENS))


def test_the_first_token_is_a_task(heads):
    visual, other = drawn_visual(2), TOKENS.clone()
    other[:, 0] = 1000
    assert torch.equal(heads.match(visual, TOKENS), heads.match(visual, other))
    assert torch.equal(
        heads.generate.logits(visual.tokens, None, TOKENS), heads.generate.logits(visual.tokens, None, other)
    )


def test_a_question_is_a_memory(heads):
    questions = heads.ask(drawn_visual(2), TOKENS)
    sums, counts = heads.answer_loss(questions, TOKENS.flip(0), smoothing=0.0)
    assert (sums.shape, counts.tolist()) == ((2,), [7, 4])
    other = heads.answer_loss(heads.ask(drawn_visual(2, seed=1), TOKENS), TOKENS.flip(0), smoothing=0.0)
    assert not torch.allclose(sums, other[0])


def test_losses_are_sums_over_the_words_and_the_end():
    heads, visual = small_heads(), drawn_visual(2)
    logits = heads.generate.logits(visual.tokens, None, TOKENS)
    wanted = torch.where(text_mask(TOKENS, SMALL.words.end), TOKENS, -100)[:, 1:]
    for smoothing in (0.0, 0.1):
        sums, counts = heads.caption_loss(visual, TOKENS, smoothing=smoothing)
        mean = F.cross_entropy(logits[:, :-1].flatten(0, 1), wanted.flatten(), label_smoothing=smoothing)
        close(sums.sum() / counts.sum(), mean)
        assert counts.tolist() == [4, 7]


def test_one_table_serves_all():
    heads = small_heads()
    tables = [name for name, tensor in heads.named_parameters() if tensor.shape[:1] == (SMALL.words.rows,)]
    assert len(tables) == 1
    assert heads.generate.blocks.words.table is heads.text.blocks.words.table


def test_weights_move_to_other_heads():
    first, second = small_heads(0), small_heads(1)
    assert not torch.equal(first.encode_text(TOKENS), second.encode_text(TOKENS))
    second.load_state_dict(first.state_dict(), strict=True)
    assert torch.equal(first.encode_text(TOKENS), second.encode_text(TOKENS))


def test_every_layer_begins_with_weights_of_its_own():
    layers = small_heads().generate.blocks.layers.layers
    assert not torch.equal(layers[0].linear1.weight, layers[1].linear1.weight)


def test_every_parameter_learns():
    heads, visual = small_heads(), drawn_visual(2)
    loss = heads.encode_text(TOKENS)[0, 0] / heads.temperature + heads.match(visual, TOKENS)[:, 0].sum()
    (loss + heads.caption_loss(visual, TOKENS, smoothing=0.1)[0].sum()).backward()
    assert [name for name, one in heads.named_parameters() if one.grad is None] == []


def test_the_temperature_stays_within_bounds_and_can_return():
    heads = small_heads()
    assert math.isclose(heads.temperature.item(), 0.07, rel_tol=1e-6)
    with torch.no_grad():
        heads.log_temperature.fill_(3.0)
    assert math.isclose(heads.temperature.item(), TEMPERATURES[1], rel_tol=1e-6)
    heads.temperature.backward()
    assert heads.log_temperature.grad > 0


def test_a_decoder_of_another_vocabulary():
    table = torch.nn.Embedding(5, SMALL.width)
    decoder = GenerationDecoder(SMALL, table, Vocabulary(begin=3, end=4))
    _, counts = decoder.losses(memory_of(drawn_visual(2)), torch.tensor([[0, 1, 4, 0], [0, 1, 2, 4]]))
    assert counts.tolist() == [2, 3]
    assert decoder.logits(*memory_of(drawn_visual(2)), torch.tensor([[0], [0]])).shape == (2, 1, 5)


def test_texts_that_are_too_long_are_refused():
    with pytest.raises(ValueError, match="texts of 12 tokens at most, found 13"):
        small_heads().encode_text(torch.zeros(1, 13, dtype=torch.long))


def test_some_of_a_memory():
    mask = torch.tensor([[True, True], [True, False]])
    memory = Memory(torch.arange(8.0).view(2, 2, 2), mask)
    found = memory.rows(torch.tensor([1, 1, 0]))
    assert torch.equal(found.mask, mask[[1, 1, 0]])
    assert found.tokens.shape == (3, 2, 2)
    assert Memory(memory.tokens).rows(torch.tensor([0])).mask is None


def test_blocks_can_be_alone():
    blocks = LookingBlocks(SMALL, 1, torch.nn.Embedding(5, SMALL.width))
    assert blocks(torch.tensor([[0, 1]]), None, memory_of(drawn_visual(1))).shape == (1, 2, SMALL.width)
