"""Augmented views from end to end: extracted once, one drawn per clip and epoch, tested on views of another
bank.
"""

import json

import numpy as np
import pytest

from decoders.clips import ClipOrder, class_list, labelled_clips
from decoders.evaluate import main as evaluate_main
from decoders.train import main as train_main
from storage import Bank, array_name
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_classes, extract, quiet, run_here
from training.metrics import read_metrics
from video import Sampling, ViewPlan

TSN = Sampling(kind="tsn", frames=4)
TRAIN = ViewPlan(
    kind="train", augmented_views=3, seed=7, flip=True, randaugment="rand-m7-n2", sampling=TSN, size=64
)
TEST = ViewPlan(temporal_views=2, spatial_views=3, sampling=TSN, size=64)
SMALL = ["--label", "label", "--eval-split", "", "--split", "", "--batch-size", "4", "--steps", "6"]


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """A bank of three random views of 6 clips, and one of six test views of the same clips."""
    folder = tmp_path_factory.mktemp("views")
    (folder / "videos").mkdir()
    source = draw_classes(folder / "videos", 6)
    model = str(write_config(folder / "small.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.extract.run_tasks", run_here)
        return [
            extract(config_for(source, model, folder / name, views=views, shard_rows=6), quiet())
            for name, views in (("train", TRAIN), ("test", TEST))
        ]


def test_what_decides_the_views_is_in_the_spec(banks):
    video = Bank.open(banks[0].path).spec.to_json()["video"]["plan"]
    assert (video["kind"], video["augmented_views"], video["seed"]) == ("train", 3, 7)
    assert (video["flip"], video["randaugment"]) == (True, "rand-m7-n2")


def test_the_views_of_a_clip_differ(banks):
    tokens = Bank.open(banks[0].path).read(array_name(3, "out"), np.arange(18)).reshape(6, 3, -1)
    assert not any(np.array_equal(clip[a], clip[b]) for clip in tokens for a, b in ((0, 1), (0, 2), (1, 2)))


def test_each_epoch_draws_one_view_a_clip(banks):
    bank = Bank.open(banks[0].path)
    clips = labelled_clips(bank, split="", label="label", classes=class_list(bank.table, "label"))
    order = ClipOrder(clips, seed=0)
    epochs = [order.batch(epoch, 6)[0] for epoch in range(12)]
    assert all(sorted(rows // 3) == list(range(6)) for rows in epochs)
    assert {tuple(sorted(rows % 3)) for rows in epochs} != {tuple(sorted(epochs[0] % 3))}


def test_trained_on_random_views_and_tested_on_those_of_another_bank(banks, tmp_path, capsys):
    run, (train, test) = tmp_path / "run", (bank.path for bank in banks)
    assert train_main(["shapes", "--bank", train, "--run", str(run), "--eval-bank", test, *SMALL]) == 0
    assert len([line for line in read_metrics(run / "metrics.jsonl") if "loss" in line]) == 6
    assert evaluate_main([str(run), "--bank", test, "--split", ""]) == 0
    assert "6 clips x 6 views" in capsys.readouterr().out
    report = json.loads((run / "evaluation-all.json").read_text())
    assert (report["views"], report["bank"]) == (6, test)
