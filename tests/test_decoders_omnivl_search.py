"""Searches in an index, by library and by command."""

import json

import numpy as np
import pytest
import torch

import framebank
from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.finding.indexing import IndexCommand, write_index
from decoders.omnivl.finding.search import Now, main, open_search
from decoders.omnivl.finding.two_stage import TwoStage
from decoders.omnivl.model import open_model
from decoders.omnivl.shown import Shown
from storage import Bank
from tests.small_omnivl import write_mixed_bank, write_run

QUERIES = ["a red circle", "a clip that moves left", "here is image 7"]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    place = tmp_path_factory.mktemp("search")
    run = write_run(place / "run", write_mixed_bank(place / "bank"))
    model = open_model(run, torch.device("cpu"))
    command = IndexCommand(run=run, shown=Shown(bank=str(place / "bank")), out=place / "index")
    write_index(model, BankSource(model, Bank(place / "bank")), place / "index", command)
    return place / "index"


@pytest.fixture
def searcher(index):
    return open_search(index, Now(device="cpu"))


def test_every_kind_is_searched_among_itself(searcher):
    for kind, count in (("image", 5), ("video", 6), (None, 11)):
        for hits in searcher.search(QUERIES, top=20, kind=kind):
            assert len(hits) == count
            assert {hit.item.kind for hit in hits} == ({kind} if kind else {"image", "video"})
            scores = [hit.score for hit in hits]
            assert scores == sorted(scores, reverse=True)


def test_many_queries_find_what_each_finds_alone(searcher):
    together = searcher.search(QUERIES, how=TwoStage(candidates=4))
    for query, hits in zip(QUERIES, together, strict=True):
        [alone] = searcher.search([query], how=TwoStage(candidates=4))
        assert [hit.item for hit in alone] == [hit.item for hit in hits]
        np.testing.assert_allclose([h.score for h in alone], [h.score for h in hits], atol=1e-4)


def test_all_candidates_equal_brute_force(searcher):
    tokens, vectors = searcher.encoded(QUERIES[:1])
    index = searcher.index
    logits = searcher.judged(tokens.expand(11, -1), np.arange(11))
    brute = logits + (index.embeddings[:] @ vectors[0]) / searcher.temperature
    [hits] = searcher.search(QUERIES[:1], top=11)
    assert [hit.item.row for hit in hits] == [index.item(place).row for place in np.argsort(-brute).tolist()]


def test_effort_is_counted(searcher):
    searcher.search(QUERIES, how=TwoStage(candidates=3), kind="video")
    effort, facts = searcher.effort, searcher.index.facts
    assert (effort.queries, effort.pairs) == (3, 9)
    assert effort.compared_bytes == 6 * facts.embed * 4
    assert effort.judged_bytes == 9 * facts.tokens * facts.width * 2
    assert effort.judged_seconds > 0


def test_the_command(index, capsys):
    words = [str(index), "a red circle", "--top", "3", "--kind", "image", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [hit["kind"] for hit in found["hits"]] == ["image"] * 3
    assert found["effort"]["pairs"] == 5
    assert main([*words, "--score", "sim"]) == 0
    assert "judged 0 pairs" in " ".join(capsys.readouterr().out.split())


def test_a_bank_that_is_gone_is_not_passed_over(index, tmp_path, capsys):
    words = ["search", str(index), "a red circle", "--device", "cpu"]
    assert framebank.dispatch([*words, "--bank", str(tmp_path / "moved")]) == framebank.MISUSED
    assert "name where it is with --bank" in capsys.readouterr().err
    assert framebank.dispatch([*words, "--bank", ""]) == 0


def test_texts_are_encoded_once_by_a_model(index, searcher, tmp_path):
    tokens, vectors = searcher.encoded([*QUERIES, QUERIES[0]])
    assert (len(tokens), len(vectors)) == (4, 4)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    for _ in range(2):
        cached = open_search(index, Now(text_cache=tmp_path, device="cpu"))
        again, found = cached.encoded([*QUERIES, QUERIES[0]])
        assert torch.equal(again, tokens)
        np.testing.assert_allclose(found, vectors, atol=1e-6)
    [folder] = tmp_path.iterdir()
    assert folder.name == cached.model.digest
    assert len(list(folder.iterdir())) == 1
    assert cached.search(QUERIES)[0][0].item == searcher.search(QUERIES)[0][0].item
