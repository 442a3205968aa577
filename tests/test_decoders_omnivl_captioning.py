"""Captions of a bank's images and clips, and their scores."""

import json

import pytest
import torch

from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.captions.captioning import Caption, captions, items_by_kind, main, scores_of
from decoders.omnivl.items import Item
from decoders.omnivl.language.beams import BeamConfig
from decoders.omnivl.model import open_model
from storage import Bank
from tests.small_omnivl import write_mixed_bank, write_run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captioning")
    write_run(folder / "run", write_mixed_bank(folder / "bank"))
    return folder


@pytest.fixture
def source(place):
    return BankSource(open_model(place / "run", torch.device("cpu")), Bank(place / "bank"))


def item(kind, number, *texts):
    return Item(kind=kind, row=number, keys=(str(number),), split="", captions=texts, attributes={})


def test_batches_do_not_matter(source):
    items, beams = source.items("video"), BeamConfig(beams=2, longest=6)
    together = list(captions(source.model, source, items, beams))
    alone = list(captions(source.model, source, items, beams, batch=1))
    assert [one.item for one in together] == items
    assert [one.text for one in together] == [one.text for one in alone]


def test_a_caption_says_what_the_heads_would(source):
    """A model that has learned one text by heart says it, of images and of clips."""
    heads, tokenise = source.model.heads, source.model.tokenise
    heads.requires_grad_(True).train()
    optimizer = torch.optim.Adam(heads.parameters(), lr=1e-2)
    items = source.items("image")
    [(_, seen)] = [(some, visual) for some, visual in source.seen(items, 8)]
    seen = seen.rows(torch.arange(len(items)))
    tokens = tokenise(["a red star"] * len(items))
    for _ in range(150):
        optimizer.zero_grad()
        losses, counts = heads.caption_loss(seen, tokens, smoothing=0.0)
        (losses.sum() / counts.sum()).backward()
        optimizer.step()
    heads.eval()
    for kind in ("image", "video"):
        said = list(captions(source.model, source, source.items(kind), BeamConfig(longest=10)))
        assert {one.text for one in said} == {"a red star"}


def test_scores_are_of_each_kind_that_has_references():
    said = [
        Caption(item=item("image", 0, "a red circle", "the circle is red"), text="a red circle"),
        Caption(item=item("image", 1), text="no reference"),
        Caption(item=item("video", 2), text="no reference either"),
    ]
    found = scores_of(said)
    assert found.keys() == {"image"}
    assert found["image"]["items"] == 1
    assert found["image"]["BLEU-1"] == pytest.approx(1.0)
    assert found["image"]["ROUGE-L"] == pytest.approx(1.0)


def test_items_are_chosen_by_key_and_kind(source):
    key = source.items("image")[2].keys[0]
    assert items_by_kind(source, [key], "any") == {"image": [source.items("image")[2]], "video": []}
    with pytest.raises(ValueError, match="found 'nothing'"):
        items_by_kind(source, ["nothing"], "any")
    with pytest.raises(ValueError, match=r"written videos in the split"):
        items_by_kind(BankSource(source.model, source.bank, split="nowhere"), [], "video")


def test_the_command(place, tmp_path, capsys):
    words = [str(place / "run"), "--bank", str(place / "bank"), "--device", "cpu"]
    assert main([*words, "--split", "test", "--out", str(tmp_path / "said.jsonl"), "--longest", "4"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["image"] * 1 + ["video"] * 2
    assert lines[0]["references"] == ["image of a number 8"]
    scores = json.loads((tmp_path / "said.scores.json").read_text())
    assert scores["video"]["items"] == 2
    assert "CIDEr" in capsys.readouterr().out
    assert main([*words, "--keys", lines[1]["key"], "--longest", "4"]) == 0
    assert main([*words, "--kind", "image", "--split", "", "--longest", "4"]) == 0
