"""BLEU, ROUGE-L and CIDEr-D against pycocoevalcap's numbers, and captions cut to words.

`tests/golden/caption_scores.py` says how the numbers were made.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from decoders.omnivl.captions.cider import cider
from decoders.omnivl.captions.scores import bleu, caption_scores, rouge_l
from decoders.omnivl.captions.tokens import ngrams, tokenise

GOLDEN = Path(__file__).parent / "golden" / "caption_scores.json"


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


@pytest.fixture(scope="module")
def captions(golden):
    said = [one["said"].split() for one in golden["captions"]]
    return said, [[text.split() for text in one["references"]] for one in golden["captions"]]


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_there_is_something_to_compare(golden):
    assert golden["made_by"] == "pycocoevalcap 1.2"
    assert len(golden["captions"]) > 30
    assert max(len(one["references"]) for one in golden["captions"]) == 20


def test_bleu(golden, captions):
    corpus, each = bleu(*captions)
    close(corpus, golden["bleu"]["corpus"])
    close(each, golden["bleu"]["each"])


def test_rouge_l(golden, captions):
    found = rouge_l(*captions)
    close(found, golden["rouge"]["each"])
    close(found.mean(), golden["rouge"]["corpus"])


def test_cider(golden, captions):
    found = cider(*captions)
    close(found, golden["cider"]["each"])
    close(found.mean(), golden["cider"]["corpus"])


def test_texts_are_cut_and_scored(golden):
    said = [one["said"].capitalize() + " ." for one in golden["captions"]]
    found = caption_scores(said, [one["references"] for one in golden["captions"]])
    expected = [*golden["bleu"]["corpus"], golden["rouge"]["corpus"], golden["cider"]["corpus"]]
    assert list(found) == ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"]
    close(list(found.values()), expected)


def test_what_people_say_scores_highest():
    texts = ["a dog runs over the wet sand", "two birds sit in a tall tree", "a man rides a blue bus"]
    found = caption_scores(texts, [[text] for text in texts])
    assert [found[f"BLEU-{n}"] for n in (1, 2, 3, 4)] == pytest.approx([1.0] * 4)
    assert found["ROUGE-L"] == pytest.approx(1.0)
    assert found["CIDEr"] == pytest.approx(10.0)


def test_a_single_image_has_no_rare_words():
    assert caption_scores(["a dog runs fast"], [["a dog runs fast"]])["CIDEr"] == 0.0


def test_captions_without_references():
    for said, references in (([], []), (["a"], [[]]), (["a"], [])):
        with pytest.raises(ValueError, match="expected captions with a reference at least for each"):
            caption_scores(said, references)


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's dog doesn't run.", "a man 's dog does n't run"),
        ("It’s 3.5 ft, or 10,000!", "it 's 3.5 ft or 10,000"),
        ("A well-lit T-shirt -- (red)...", "a well-lit t-shirt red"),
        ("I can't; they won't, we'll", "i ca n't they wo n't we 'll"),
        ("“Stop” sign / café", "stop sign café"),
        ("mint and isn't n't", "mint and is n't n't"),
        ("", ""),
    ],
)
def test_words(caption, words):
    assert tokenise(caption) == words.split()


def test_ngrams():
    assert [dict(order) for order in ngrams(["a", "b", "a", "b"])] == [
        {("a",): 2, ("b",): 2},
        {("a", "b"): 2, ("b", "a"): 1},
        {("a", "b", "a"): 1, ("b", "a", "b"): 1},
        {("a", "b", "a", "b"): 1},
    ]
