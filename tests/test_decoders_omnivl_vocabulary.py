"""Texts to tokens and back."""

import torch

from backbones.tokenizer import Tokenizer
from decoders.omnivl.language.vocabulary import PAD, Words, begun_with, detokenise, text_mask, text_tokenizer

SOT, EOT, ENC, DEC = Words().start, Words().end, Words().enc, Words().dec


def test_a_text_ends_with_its_first_end():
    tokens = torch.tensor([[SOT, 5, PAD, EOT, PAD, PAD], [SOT, 5, EOT, EOT, 6, EOT], [SOT, 1, 2, 3, 4, 5]])
    assert text_mask(tokens, EOT).sum(dim=1).tolist() == [4, 3, 6]
    assert text_mask(tokens, EOT)[0].tolist() == [True] * 4 + [False] * 2


def test_long_texts_are_cut_and_end():
    tokens = text_tokenizer(6)(["one two three four five six seven", "one"])
    assert tokens.shape == (2, 6)
    assert tokens[0, -1] == EOT
    assert text_mask(tokens, EOT).sum(dim=1).tolist() == [6, 3]


def test_a_task_takes_the_place_of_the_beginning():
    tokens = text_tokenizer(6)(["one two"])
    begun = begun_with(tokens, ENC)
    assert begun[0, 0] == ENC
    assert torch.equal(begun[:, 1:], tokens[:, 1:])
    assert tokens[0, 0] == SOT


def test_words_come_back_without_anything_special():
    tokenizer = text_tokenizer(16)
    texts = ["a red circle moves left", "zwölf boxkämpfer", "wow ! ! 7"]
    assert detokenise(tokenizer, tokenizer(texts)) == texts
    spoken = begun_with(tokenizer(texts), DEC)
    spoken[0, 3] = ENC
    assert detokenise(tokenizer, spoken)[0] == "a red moves left"
    assert detokenise(text_tokenizer(16), torch.tensor([[DEC, EOT, 320, 320]])) == [""]


def test_our_tasks_stand_behind_all_words():
    tokenizer = Tokenizer({})
    assert int(tokenizer("a cat").max()) == EOT == ENC - 1 == DEC - 2


def test_fewer_byte_pairs_spell_the_same_texts_in_more_tokens():
    few = Words(merges=300)
    texts = ["a red circle that moves left", "zwölf boxkämpfer"]
    short, long = text_tokenizer(40)(texts), text_tokenizer(40, few)(texts)
    assert int(long.max()) == few.end < few.rows == 816
    assert (text_mask(long, few.end).sum(dim=1) > text_mask(short, EOT).sum(dim=1)).all()
    assert detokenise(text_tokenizer(40, few), long) == texts
