"""Views made anew: what a bank would hold of them, and training on them."""

import os
import shutil
import signal
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
import torch

from ablations.online import OnlineData, OnlineViews, clips_of, train_online
from backbones.config import BackboneConfig
from backbones.taps import FrozenTower
from backbones.weights import load_clip
from decoders.config import DecoderConfig, TrainConfig
from decoders.dataset import open_features
from decoders.heads import Entry, identity, open_data, open_head
from decoders.task import build_decoder, pose_task
from finetune.live import LiveEVL
from storage import Bank
from tests.small_clips import write_config
from tests.small_extractions import config_for, draw_classes, extract, quiet, run_here
from training.interrupt import TrainingStopped
from training.metrics import read_metrics
from training.run import open_run
from video import Sampling, ViewPlan

CLIPS, CPU = 6, torch.device("cpu")
PLAN = ViewPlan(kind="train", augmented_views=2, seed=3, sampling=Sampling(kind="tsn", frames=4), size=64)
CONFIG = TrainConfig(
    decoder=DecoderConfig(layers=2, qkv_width=16, heads=2, mlp_ratio=1.0),
    split="",
    steps=4,
    batch_size=4,
    log_every=1,
    save_every=2,
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Two random views of every clip; the weights of the tower are drawn from a seed."""
    folder = tmp_path_factory.mktemp("online")
    (folder / "videos").mkdir()
    source = draw_classes(folder / "videos", CLIPS)
    model = str(write_config(folder / "small.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.extract.run_tasks", run_here)
        config = config_for(source, model, folder / "bank", views=PLAN, shard_rows=4)
        found = extract(config, quiet())
    return Bank.open(found.path), config.backbone


@pytest.fixture(scope="module")
def live(bank):
    opened, backbone = bank
    clip = load_clip(BackboneConfig(name=backbone.name, weights=backbone.weights))
    task = pose_task(opened, CONFIG)
    tower = FrozenTower(clip.model.visual, task.blocks, clip.mean, clip.std)
    return LiveEVL(tower, build_decoder(task, CONFIG))


def source_of(bank, live, plan=PLAN):
    return OnlineViews(clips_of(bank, open_data(CONFIG, bank, bank, CPU).clips), plan, live)


def test_an_epoch_is_what_a_bank_of_its_seed_holds(bank, live):
    opened, _ = bank
    source = source_of(opened, live, replace(PLAN, seed=PLAN.seed - 1))
    numbers = np.array([4, 0, 5])
    [found] = list(source.batches([(numbers, 0)], threads=2))
    rows = open_data(CONFIG, opened, opened, CPU).clips.rows[numbers, 0]
    reader = open_features(opened, pose_task(opened, CONFIG), CONFIG, CPU)
    for made, kept in zip(found, reader.read(rows), strict=True):
        for name in ("out", "map_prev", "map_next"):
            torch.testing.assert_close(getattr(made, name), getattr(kept, name), atol=2e-3, rtol=2e-3)


def test_each_epoch_has_views_of_its_own(bank, live):
    source = source_of(bank[0], live)
    frames = [source.frames(0, epoch) for epoch in (0, 1, 0)]
    assert np.array_equal(frames[0], frames[2])
    assert not np.array_equal(frames[0], frames[1])
    numbers = np.arange(CLIPS)
    across, alone = (
        [block[0].out for block in source.batches(order, threads=2)]
        for order in ([(numbers, 3)], [(numbers[:3], 3), (numbers[3:], 6)])
    )
    torch.testing.assert_close(across[0], torch.cat(alone))


def heads_of(bank, folder, stack, seeds=(0, 1), watch=lambda name, done: None):
    heads = []
    for seed in seeds:
        config, run = replace(CONFIG, seed=seed, order_seed=0), folder / f"seed-{seed}"
        read = open_data(config, bank, bank, CPU)
        data = OnlineData(reader=read.reader, clips=read.clips, held_out=None, task=read.task, plan=PLAN)
        directory = stack.enter_context(open_run(run, identity(config, data), {}))
        entry = Entry(config=config, run=run, watch=lambda done, values, name=seed: watch(name, done))
        heads.append(open_head(entry, data, directory, CPU))
        stack.callback(heads[-1].close)
    return heads


def trained(bank, live, folder, **options):
    """Seconds of a call that trains two heads, or goes on with them."""
    with ExitStack() as stack:
        heads = heads_of(bank[0], folder, stack, **options)
        return train_online(heads, source_of(bank[0], live), threads=2)


def losses_of(folder):
    return [read_metrics(folder / f"seed-{seed}" / "metrics.jsonl") for seed in (0, 1)]


def test_training_is_reproducible_and_goes_on_to_the_bit(bank, live, tmp_path):
    spent = trained(bank, live, tmp_path / "a")
    assert (spent.steps, len(spent.heads)) == (CONFIG.steps, 2)
    assert min(spent.views, *spent.heads) > 0
    whole = losses_of(tmp_path / "a")
    assert [len(lines) for lines in whole] == [4, 4]
    assert whole[0] != whole[1]

    def interrupt(name, done):
        if (name, done) == (1, 3):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped, match="after step 3 of 4"):
        trained(bank, live, tmp_path / "b", watch=interrupt)
    assert trained(bank, live, tmp_path / "b").steps == 1
    assert losses_of(tmp_path / "b") == whole


def test_a_head_that_is_further_waits_for_the_others(bank, live, tmp_path):
    trained(bank, live, tmp_path)
    whole = losses_of(tmp_path)
    shutil.rmtree(tmp_path / "seed-1")
    assert trained(bank, live, tmp_path).steps == 4
    assert losses_of(tmp_path) == whole
    assert trained(bank, live, tmp_path).steps == 0


def test_another_plan_is_another_run(bank, tmp_path):
    with ExitStack() as stack:
        [head] = heads_of(bank[0], tmp_path, stack, seeds=(0,))
        described = head.data.describe()
    assert described["views made anew"]["seed"] == PLAN.seed
    assert described["digest"] == head.data.clips.digest
