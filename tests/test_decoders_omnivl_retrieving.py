"""Recalls of an index both ways, after either stage."""

import json

import numpy as np
import pytest
import torch

from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.finding.indexing import IndexCommand, write_index
from decoders.omnivl.finding.retrieving import captioned, main, retrieve
from decoders.omnivl.finding.search import Now, open_search
from decoders.omnivl.finding.two_stage import TwoStage
from decoders.omnivl.model import open_model
from decoders.omnivl.shown import Shown
from storage import Bank
from tests.small_omnivl import write_mixed_bank, write_run


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    place = tmp_path_factory.mktemp("retrieving")
    run = write_run(place / "run", write_mixed_bank(place / "bank", images=9, clips=12))
    model = open_model(run, torch.device("cpu"))
    command = IndexCommand(run=run, shown=Shown(bank=str(place / "bank")), out=place / "index")
    write_index(model, BankSource(model, Bank(place / "bank")), place / "index", command)
    return place / "index"


@pytest.fixture
def searcher(index):
    return open_search(index, Now(device="cpu"))


def test_captions_belong_to_their_items(searcher):
    those = captioned(searcher, "video", "test")
    assert those.places.tolist() == [11, 14, 17, 20]
    assert those.texts[:3] == ("clip of a number 2", "clip of a number 5", "here is clip 5")
    assert those.owners.tolist() == [0, 1, 1, 2, 3, 3]


def test_every_pair_judged_equals_brute_force(searcher):
    report = retrieve(searcher, TwoStage(score="itm"))["kinds"]["video"]
    those = captioned(searcher, "video", "")
    tokens, _ = searcher.encoded(those.texts)
    table = np.stack([searcher.judged(tokens, np.full(len(tokens), place)) for place in those.places])
    own = table[those.owners, np.arange(len(tokens))]
    by_text = 1 + (table > own).sum(axis=0)
    assert report["text_to_visual"]["stage_two"]["mean_rank"] == pytest.approx(by_text.mean())
    mine = those.owners == np.arange(len(table))[:, None]
    best = np.where(mine, table, -np.inf).max(axis=1, keepdims=True)
    by_item = 1 + (~mine & (table > best)).sum(axis=1)
    assert report["visual_to_text"]["stage_two"]["mean_rank"] == pytest.approx(by_item.mean())
    assert report["visual_to_text"]["stage_two"]["recall_at_5"] == pytest.approx((by_item <= 5).mean())


def test_one_candidate_changes_no_recall_at_one(searcher):
    for found in retrieve(searcher, TwoStage(candidates=1, score="itm"))["kinds"].values():
        for way in ("text_to_visual", "visual_to_text"):
            assert found[way]["stage_two"]["recall_at_1"] == found[way]["stage_one"]["recall_at_1"]


@pytest.mark.parametrize("count", [2, 5])
def test_exactly_the_candidates_are_judged_and_bound_the_recall(searcher, count):
    report = retrieve(searcher, TwoStage(candidates=count))
    kinds = report["kinds"].values()
    assert searcher.effort.pairs == sum(count * (found["items"] + found["captions"]) for found in kinds)
    for found in kinds:
        for way in ("text_to_visual", "visual_to_text"):
            assert found[way]["stage_two"]["recall_at_1"] <= found[way]["candidates_recall"]
            assert found[way]["candidates_recall"] >= found[way]["stage_one"]["recall_at_1"]


def test_a_split_without_captions_is_refused(searcher):
    with pytest.raises(ValueError, match="captions of items in split 'nowhere'"):
        retrieve(searcher, TwoStage(), split="nowhere")


def test_the_command(index, tmp_path, capsys):
    out = tmp_path / "report.json"
    assert (
        main([str(index), "--split", "test", "--candidates", "3", "--out", str(out), "--device", "cpu"]) == 0
    )
    assert json.loads(out.read_text())["kinds"].keys() == {"image", "video"}
    assert "text to visual" in capsys.readouterr().out
