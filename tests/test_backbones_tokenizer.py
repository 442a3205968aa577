"""Tokens as the configuration says."""

import gzip

import open_clip
import pytest
import torch

from backbones.errors import BackboneError
from backbones.tokenizer import Tokenizer


def test_equals_open_clip():
    texts = ["a photo of a cat.", "Zwölf Boxkämpfer " * 30]
    assert torch.equal(Tokenizer({})(texts), open_clip.get_tokenizer("ViT-B-16")(texts))
    assert Tokenizer({"context_length": 20})("a cat").shape == (1, 20)


def test_a_folder_may_bring_its_own_merges(tmp_path):
    (tmp_path / "merges.txt.gz").write_bytes(gzip.compress(b"#version\na t</w>\nc at</w>"))
    tokenizer = Tokenizer(
        {"vocab_size": 516, "tokenizer_kwargs": {"bpe_path": "merges.txt.gz"}}, folder=tmp_path
    )
    tokens = tokenizer(["a cat"])
    assert tokens[0, :5].tolist() == [514, 64 + 256, 513, 515, 0]


def test_tokens_beyond_the_vocabulary_are_refused():
    with pytest.raises(BackboneError, match="token 49407, but the text tower has 100"):
        Tokenizer({"vocab_size": 100})("a cat")


def test_words_are_read_back():
    tokenizer = Tokenizer({})
    tokens = tokenizer("Zwölf  Boxkämpfer.")[0].tolist()
    assert tokenizer.decode(tokens[1 : tokens.index(49407)]) == "zwölf boxkämpfer ."
    assert Tokenizer({}).decode([]) == ""


def test_nothing_is_loaded_before_the_first_call():
    tokenizer = Tokenizer({"hf_tokenizer_name": "no/such-tokenizer"})
    with pytest.raises(BackboneError, match="could not get the tokenizer no/such-tokenizer"):
        tokenizer("a cat")
