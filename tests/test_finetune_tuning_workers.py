"""Fine-tuning on two processes is fine-tuning on one; killed, it goes on."""

import os
import signal
from dataclasses import replace

import psutil
import pytest
import torch

from finetune.place import Place
from finetune.tuning.command import finetune, resume
from finetune.tuning.data import Sources
from tests.small_tuning_team import tune_as_team
from tests.test_finetune_tuning import checkpoint, config_of, draw_lab, losses
from training.checkpoint import list_checkpoints
from training.interrupt import TrainingStopped
from training.losses import Diverged
from training.optim import OptimConfig

TWO = Place(device="cpu", workers=2, decode_processes=1)
ONE = Place(device="cpu", decode_processes=2)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return draw_lab(tmp_path_factory.mktemp("tuning-workers"))


def test_two_processes_give_the_losses_and_weights_of_one(lab, tmp_path):
    sources = Sources(source=str(lab / "videos"), eval_source=str(lab / "videos"))
    # Adam makes a step of the rate's size out of any gradient, also out of one that is mostly rounding
    config = config_of(lab, batch_split=2, epochs=2, optim=OptimConfig(lr=1e-4, floor=0.01))
    alone = finetune(config, sources, run=tmp_path / "alone", place=ONE)
    found, other = tune_as_team(config, sources, run=tmp_path / "two", size=2)
    assert found.scores == other.scores == pytest.approx(alone.scores)
    refuse_difference(tmp_path / "two", tmp_path / "alone", step=4)


@pytest.mark.slow
def test_workers_killed_stopped_and_gone_on_with_give_the_losses_of_one(lab, tmp_path, ray_cluster):
    sources = Sources(source=str(lab / "videos"), eval_source=str(lab / "videos"))
    config = config_of(lab, optim=OptimConfig(lr=1e-4, floor=0.01))
    alone = finetune(config, sources, run=tmp_path / "alone", place=ONE)
    seen = []

    def disturb(done, values):
        seen.append(done)
        if done == 2 and seen.count(2) == 1:
            victim = next(p for p in psutil.Process().children(recursive=True) if is_worker(p))
            victim.kill()
        if done == 4 and "loss" in values and seen.count(4) == 1:
            os.kill(os.getpid(), signal.SIGINT)

    run = tmp_path / "two"
    try:
        found = finetune(config, sources, run=run, place=TWO, watch=disturb)
    except TrainingStopped:
        found = resume(run, place=TWO)
    assert found.steps == 6
    assert 2 in seen
    assert found.scores == pytest.approx(alone.scores)
    refuse_difference(run, tmp_path / "alone", step=6)
    assert list_checkpoints(run)[-1] == 6


def refuse_difference(run, alone, *, step):
    for mine, other in zip(losses(run), losses(alone), strict=True):
        assert mine == pytest.approx(other, abs=1e-5)
    ours, theirs = checkpoint(run, step), checkpoint(alone, step)
    for name, values in theirs["model"].items():
        torch.testing.assert_close(ours["model"][name], values, atol=1e-5, rtol=0)
    for name, values in theirs["average"]["mean"].items():
        torch.testing.assert_close(ours["average"]["mean"][name], values, atol=1e-5, rtol=0)


def is_worker(process):
    return "RayTrainWorker" in " ".join(process.cmdline())


@pytest.mark.slow
def test_a_mistake_on_workers_is_told_as_it_is(lab, tmp_path, ray_cluster):
    config = replace(config_of(lab), weights=str(tmp_path / "nowhere.pt"))
    with pytest.raises(ValueError, match=r"nowhere\.pt"):
        finetune(config, Sources(source=str(lab / "videos")), run=tmp_path / "run", place=TWO)
    wild = config_of(lab, optim=OptimConfig(lr=1e30), warmup_epochs=0.0)
    with pytest.raises(Diverged, match="the loss is"):
        finetune(wild, Sources(source=str(lab / "videos")), run=tmp_path / "wild", place=TWO)
