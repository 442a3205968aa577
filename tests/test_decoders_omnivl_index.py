"""Models opened, and indexes of a bank of images and clips: exact, whole or absent, refused when stale."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from decoders.omnivl.bank_source import BankSource
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.finding.index import Index, IndexRefused, refuse_stale
from decoders.omnivl.finding.indexing import IndexCommand, main, write_index
from decoders.omnivl.finding.search import Searcher
from decoders.omnivl.model import open_model
from decoders.omnivl.pretraining.bank_tier import BankTier
from decoders.omnivl.pretraining.session import document, pretrain, samples_by_kind
from decoders.omnivl.shown import Shown
from storage import Bank, BankWriter
from tests import small_mixed_bank as mixed
from tests.small_banks import clip_line, small_spec, write_bank, write_shard
from tests.small_omnivl import FRAMES, line, write_mixed_bank, write_run
from training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.interrupt import StopRequest
from training.run import RunError, open_run
from training.session import Part

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("omnivl")
    write_run(folder / "run", write_mixed_bank(folder / "bank"))
    return folder


@pytest.fixture
def model(place):
    return open_model(place / "run", CPU)


@pytest.fixture
def source(place, model):
    return BankSource(model, Bank(place / "bank"))


def indexed(place, out, **changes):
    model = open_model(place / "run", CPU)
    command = IndexCommand(
        run=place / "run", shown=Shown(bank=str(place / "bank")), out=out, batch=4, **changes
    )
    return write_index(model, BankSource(model, Bank(place / "bank"), split=command.split), out, command)


def test_an_index_holds_what_the_model_sees(place, source, tmp_path):
    index = indexed(place, tmp_path / "index")
    assert (len(index), index.facts.images, index.facts.videos) == (11, 5, 6)
    assert not index.facts.averaged
    for kind, tokens in (("image", 7), ("video", 21)):
        items = source.items(kind)
        [(_, seen)] = source.seen(items, 16)
        places = index.places(kind)
        assert [item.to_json() for item in index.items(places)] == [item.to_json() for item in items]
        assert (index.lengths[places] == tokens).all()
        np.testing.assert_allclose(index.embeddings[places], seen.embedding, atol=1e-6)
        np.testing.assert_allclose(index.tokens[places, :tokens], seen.tokens, atol=2e-3)
        assert not index.tokens[places, tokens:].any()
    assert [item.kind for item in index.items(index.places())] == ["image"] * 5 + ["video"] * 6
    assert index.item(0).captions == ("image of a number 6",)


def test_full_tokens_score_as_the_model_does(place, source, model, tmp_path):
    index = indexed(place, tmp_path / "index", full_tokens=True)
    texts = model.tokenise([f"here is clip {number}" for number in range(6)])
    [(_, seen)] = source.seen(source.items("video"), 16)
    exact = model.heads.match(seen, texts)
    places = np.arange(len(index))[index.places("video")]
    found = Searcher(model, index).judged(texts, places)
    np.testing.assert_allclose(found, (exact[:, 1] - exact[:, 0]).numpy(), atol=2e-3)


def test_averaged_tokens_are_said_to_be_so_and_score_otherwise(place, model, tmp_path):
    full, few = indexed(place, tmp_path / "full"), indexed(place, tmp_path / "few", tokens=9)
    assert few.facts.averaged
    assert few.facts.tokens == 9
    assert few.lengths.tolist() == [7] * 5 + [9] * 6
    texts = model.tokenise(["a clip"] * 11)
    scores = [Searcher(model, index).judged(texts, np.arange(11)) for index in (full, few)]
    np.testing.assert_allclose(scores[0][:5], scores[1][:5], atol=1e-5)
    assert (abs(scores[0][5:] - scores[1][5:]) > 1e-4).any()


def test_a_split_alone(place, tmp_path):
    index = indexed(place, tmp_path / "index", split="test")
    assert {item.split for item in index.items(index.places())} == {"test"}
    with pytest.raises(ValueError, match="found none"):
        indexed(place, tmp_path / "none", split="nowhere")
    assert not (tmp_path / "none").exists()


def test_equal_content_is_one_item_with_both_keys_and_captions(tmp_path):
    with BankWriter(tmp_path / "bank", small_spec(attention="none")) as writer:
        lines = [line(number, frames=FRAMES) for number in range(3)]
        writer.enrol(lines, twins={lines[2]["key"]: lines[0]["key"]})
        write_shard(tmp_path / "bank", 0, writer=writer)
    bank = Bank(tmp_path / "bank")
    source = BankSource(open_model(write_run(tmp_path / "run", bank), CPU), bank)
    first, second = source.items("video")
    assert first.keys == (lines[0]["key"], lines[2]["key"])
    assert first.captions == ("clip of a number 0", "clip of a number 2")
    assert second.keys == (lines[1]["key"],)
    assert source.items("image") == []


def interrupted(place, out):
    """An index whose making ends after the first batch."""

    def first_alone(batches):
        yield next(iter(batches))
        raise KeyboardInterrupt

    model = open_model(place / "run", CPU)
    command = IndexCommand(run=place / "run", shown=Shown(bank=str(place / "bank")), out=out, batch=2)
    write_index(model, BankSource(model, Bank(place / "bank")), out, command, first_alone)


def test_an_index_is_whole_or_absent_and_begun_anew(place, tmp_path):
    index = indexed(place, tmp_path / "index")
    kept = index.embeddings[:].copy()
    with pytest.raises(KeyboardInterrupt):
        interrupted(place, tmp_path / "index")
    with pytest.raises(IndexRefused, match="interrupted"):
        Index(tmp_path / "index")
    again = indexed(place, tmp_path / "index", tokens=9)
    np.testing.assert_array_equal(again.embeddings, kept)
    np.testing.assert_array_equal(index.embeddings, kept)  # open since before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(IndexRefused, match="something else"):
        indexed(place, tmp_path / "other")
    with pytest.raises(IndexRefused, match="found none"):
        Index(tmp_path / "nowhere")


def test_damage_is_refused(place, tmp_path):
    indexed(place, tmp_path / "index")
    file = tmp_path / "index" / "tokens.npy"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(IndexRefused, match=r"tokens\.npy.*make the index again"):
        Index(tmp_path / "index")
    np.save(file, np.zeros((2, 3), np.float16))
    with pytest.raises(IndexRefused, match=r"expected float16 \(11, 21, 16\)"):
        Index(tmp_path / "index")
    facts = json.loads((tmp_path / "index" / "index.json").read_text())
    (tmp_path / "index" / "index.json").write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(IndexRefused, match="found format 99"):
        Index(tmp_path / "index")


def test_another_checkpoint_makes_an_index_stale(tmp_path):
    bank = write_mixed_bank(tmp_path / "bank")
    run = write_run(tmp_path / "run", bank)
    index = indexed(tmp_path, tmp_path / "index")
    state = load_checkpoint(run / "checkpoint-7.pth")
    state["heads"]["log_temperature"] += 0.1
    save_checkpoint(run, state | {"next_step": 8}, keep=2)
    with pytest.raises(
        IndexRefused, match=r"is stale: expected weights of .* make it again with: framebank index"
    ):
        Searcher(open_model(run, CPU), index)


def test_other_rows_make_an_index_stale(tmp_path):
    spec = small_spec(attention="none")
    write_bank(tmp_path / "bank", 3, spec)
    write_run(tmp_path / "run", Bank(tmp_path / "bank"))
    index = indexed(tmp_path, tmp_path / "index")
    refuse_stale(index.facts, {"rows": Bank(tmp_path / "bank").digest}, index.path)
    with BankWriter(tmp_path / "bank", spec) as writer:
        writer.enrol([clip_line(number) for number in range(4)])
        write_shard(tmp_path / "bank", 0, writer=writer)
    with pytest.raises(IndexRefused, match="is stale: expected rows of"):
        refuse_stale(index.facts, {"rows": Bank(tmp_path / "bank").digest}, index.path)


def test_what_is_no_pretrained_run_is_refused(place, tmp_path):
    with pytest.raises(RunError, match="expected a run directory"):
        open_model(tmp_path / "nowhere", CPU)
    with (
        open_run(tmp_path / "other", {"config": {}}, {}),
        pytest.raises(RunError, match="framebank pretrain"),
    ):
        open_model(tmp_path / "other", CPU)
    live = {"config": PretrainConfig().to_json(), "tier": {"tier": "live"}}
    with open_run(tmp_path / "live", live, {}):
        save_checkpoint(tmp_path / "live", {"next_step": 1}, keep=1)
        with pytest.raises(RunError, match="found one of the 'live' tier"):
            open_model(tmp_path / "live", CPU)
    run = write_run(tmp_path / "run", Bank(place / "bank"))
    state = load_checkpoint(run / "checkpoint-7.pth")
    del state["visual"]["norm.weight"]
    save_checkpoint(run, state, keep=2)
    with pytest.raises(CheckpointError, match="visual of another one"):
        open_model(run, CPU)
    (run / "checkpoint-7.pth").unlink()
    with pytest.raises(RunError, match="none yet"):
        open_model(run, CPU)


def test_a_bank_of_another_tower_is_refused(model, tmp_path):
    spec = small_spec(attention="none")
    write_bank(tmp_path / "bank", 2, replace(spec, backbone=replace(spec.backbone, weights="1" * 64)))
    with pytest.raises(ValueError, match="weights"):
        BankSource(model, Bank(tmp_path / "bank"))


def test_equal_weights_have_equal_digests_and_others_another(place, model, tmp_path):
    bank = Bank(place / "bank")
    assert open_model(write_run(tmp_path / "a", bank), CPU).digest == model.digest
    assert open_model(write_run(tmp_path / "b", bank, seed=1), CPU).digest != model.digest


def test_the_command(place, tmp_path, capsys):
    words = [str(place / "run"), "--bank", str(place / "bank"), "--out", str(tmp_path / "index")]
    assert main([*words, "--tokens", "9", "--device", "cpu"]) == 0
    assert "5 images, 6 clips; 9 alignment tokens" in " ".join(capsys.readouterr().out.split())


def test_a_run_of_the_pretraining_is_opened_as_it_was_saved(tmp_path):
    mixed.write_mixed_bank(tmp_path / "bank")
    bank, config = Bank(tmp_path / "bank"), mixed.small_config()
    tier = BankTier(bank, config.adapter, config.heads, CPU, split=config.split, label=config.label)
    samples = samples_by_kind(tier, config)
    with open_run(tmp_path / "run", document(config, tier, samples), {}) as directory:
        pretrain(config, tier, samples, directory, Part(device=CPU, stop=StopRequest()))
    model = open_model(tmp_path / "run", CPU)
    saved = load_checkpoint(model.checkpoint)
    for name, module in (("visual", model.visual), ("heads", model.heads)):
        assert all(torch.equal(saved[name][key], value) for key, value in module.state_dict().items())
    index = indexed(tmp_path, tmp_path / "index")
    assert (index.facts.images, index.facts.videos) == (mixed.IMAGES, mixed.CLIPS)
    [hits] = Searcher(model, index).search(["a photo of a class 1."], kind="image")
    assert len(hits) == mixed.IMAGES
