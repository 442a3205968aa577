"""Evaluation: mean of softmaxes over views, by hand; the report; what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from decoders.dataset import FeatureReader
from decoders.evaluate import evaluate, main, mean_over_views
from decoders.evl import BlockFeatures, load_evl_weights
from decoders.task import Task, build_decoder
from decoders.train import train
from decoders.wanted import everything
from storage import MAPS, Bank, array_name
from tests.small_banks import BACKBONE, small_spec
from tests.small_runs import CONFIG, write_learnable_bank
from training.run import RunDirectory, RunError


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return write_learnable_bank(
        tmp_path_factory.mktemp("evaluate") / "bank", spec=small_spec(views=3), skip=(21,)
    )


@pytest.fixture(scope="module")
def run(bank, tmp_path_factory):
    return train(CONFIG, bank=bank, run=tmp_path_factory.mktemp("run") / "run").run


def test_mean_over_views_by_hand():
    logits = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = mean_over_views(logits, 2)
    soft = logits.softmax(dim=-1)
    torch.testing.assert_close(found, torch.stack([(soft[0] + soft[1]) / 2, soft[2]]))


def test_report_equals_a_pass_by_hand(bank, run):
    report = evaluate(run, bank=bank, split="test")
    directory, opened = RunDirectory.read(run), Bank.open(bank)
    model = build_decoder(Task.from_json(directory.document["task"]), CONFIG).eval()
    load_evl_weights(model, directory.checkpoint)
    reader = FeatureReader(opened, everything(2, 3), device=torch.device("cpu"), dtype=torch.float32)
    confusion = np.zeros((2, 2), dtype=int)
    rows = {}
    for line in opened.table.to_pylist():
        if line["split"] == "test" and line["outcome"] == "written":
            rows.setdefault((line["key"], line["label"]), []).append(line["row"])
    for (_, label), views in rows.items():
        with torch.no_grad():
            scores = model(reader.read(np.array(views))).softmax(dim=-1).mean(dim=0)
        confusion[label, int(scores.argmax())] += 1
    assert report["confusion"] == confusion.tolist()
    assert report["top1"] == pytest.approx(np.trace(confusion) / 7)
    assert (report["clips"], report["views"], report["top5"], report["chance"]) == (7, 3, 1.0, 0.5)
    assert json.loads((run / "evaluation-test.json").read_text()) == report


def test_the_same_classes_under_another_name(bank, run, tmp_path):
    with pytest.raises(ValueError, match="these are other classes"):
        evaluate(run, bank=bank, split="test", label="parity")
    with pytest.raises(ValueError, match="expected at least two classes under 'motion'"):
        evaluate(run, bank=bank, split="test", label="motion")


@pytest.mark.parametrize(
    "decoder",
    [
        replace(CONFIG.decoder, tokens="pooled", cross_frame=False),
        replace(CONFIG.decoder, layers=3, multi_layer=False),
    ],
    ids=["pooled", "last"],
)
def test_variants_of_what_is_read_are_evaluated_as_they_were_trained(bank, tmp_path, decoder):
    config = replace(CONFIG, decoder=decoder, eval_split="")
    run = train(config, bank=bank, run=tmp_path / "run").run
    report = evaluate(run, bank=bank)
    assert evaluate(run, bank=bank) == report | {"seconds": pytest.approx(report["seconds"], abs=60)}
    directory, opened = RunDirectory.read(run), Bank.open(bank)
    task = Task.from_json(directory.document["task"])
    model = build_decoder(task, config).eval()
    load_evl_weights(model, directory.checkpoint)
    right = 0
    for line in opened.table.to_pylist():
        if (line["split"], line["outcome"], line["view"]) == ("test", "written", 0):
            with torch.no_grad():
                logits = model([plain_features(opened, block, line["row"], decoder) for block in task.blocks])
            right += int(logits.softmax(dim=-1).mean(dim=0).argmax()) == line["label"]
    assert report["top1"] == pytest.approx(right / 7)


def plain_features(bank, block, row, decoder):
    """All three views of a clip, straight from the bank."""
    values = {tap: bank.read(array_name(block, tap), range(row, row + 3)) for tap in ("out", *MAPS)}
    out, *maps = (torch.from_numpy(found).float() for found in values.values())
    if decoder.tokens == "pooled":
        return BlockFeatures(out=out[:, :, 0][:, :, None])
    return BlockFeatures(out=out, map_prev=maps[0], map_next=maps[1])


def test_another_bank_of_the_same_backbone_will_do(run, tmp_path):
    qk = write_learnable_bank(tmp_path / "qk", spec=small_spec(attention="qk", blocks=(1, 2, 3)))
    assert evaluate(run, bank=qk, split="test")["views"] == 1


def test_banks_that_do_not_fit(run, tmp_path):
    other = replace(BACKBONE, weights="1" * 64)
    path = write_learnable_bank(tmp_path / "weights", spec=small_spec(backbone=other, frames=4))
    with pytest.raises(ValueError, match="can be evaluated on") as caught:
        evaluate(run, bank=path, split="test")
    assert f"backbone.weights: the bank has '{'1' * 64}', asked for '{'0' * 64}'" in str(caught.value)
    assert "frames: the bank has 4, asked for 3" in str(caught.value)
    path = write_learnable_bank(tmp_path / "blocks", spec=small_spec(blocks=(3,)))
    with pytest.raises(ValueError, match=r"blocks: the bank has \[3\], asked for \[2, 3\]"):
        evaluate(run, bank=path, split="test")


def test_a_run_without_a_checkpoint(bank, run, tmp_path):
    (tmp_path / "config.json").write_text((run / "config.json").read_text())
    with pytest.raises(RunError, match="found none yet"):
        evaluate(tmp_path, bank=bank, split="test")


def test_command(bank, run, capsys):
    assert main([str(run), "--bank", str(bank), "--split", "train"]) == 0
    assert "label on train: 20 clips x 3 views" in capsys.readouterr().out
    assert main([str(run), "--bank", str(bank), "--split", "", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 27
