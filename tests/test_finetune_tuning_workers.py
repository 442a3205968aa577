"""Fine-tuning on two processes is fine-tuning on one; killed, it goes on."""

import os
import signal
from dataclasses import replace

import psutil
import pytest
import torch

from finetune.tuning.command import finetune, resume
from finetune.tuning.data import Sources
from finetune.tuning.place import Place
from tests.small_clips import small_model, write_folder
from tests.small_extractions import draw_classes
from tests.test_finetune_tuning import CLIPS, checkpoint, config_of, losses
from training.checkpoint import list_checkpoints
from training.interrupt import TrainingStopped

TWO = Place(device="cpu", workers=2, decode_processes=1)
ONE = Place(device="cpu", decode_processes=2)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning-workers")
    (folder / "videos").mkdir()
    draw_classes(folder / "videos", CLIPS)
    write_folder(folder / "model", small_model(3))
    return folder


def test_two_processes_killed_stopped_and_gone_on_with_give_the_losses_of_one(lab, tmp_path, ray_cluster):
    sources = Sources(source=str(lab / "videos"), eval_source=str(lab / "videos"))
    config = config_of(lab)
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
    for mine, other in zip(losses(run), losses(tmp_path / "alone"), strict=True):
        assert mine == pytest.approx(other, abs=1e-5)
    assert found.scores == pytest.approx(alone.scores)
    ours, theirs = checkpoint(run, 6), checkpoint(tmp_path / "alone", 6)
    for name, values in theirs["model"].items():
        torch.testing.assert_close(ours["model"][name], values, atol=1e-5, rtol=0)
    for name, values in theirs["average"]["mean"].items():
        torch.testing.assert_close(ours["average"]["mean"][name], values, atol=1e-5, rtol=0)
    assert list_checkpoints(run)[-1] == 6


def is_worker(process):
    return "RayTrainWorker" in " ".join(process.cmdline())


def test_a_mistake_on_workers_is_told_as_it_is(lab, tmp_path, ray_cluster):
    config = replace(config_of(lab), weights=str(tmp_path / "nowhere.pt"))
    with pytest.raises(ValueError, match=r"nowhere\.pt"):
        finetune(config, Sources(source=str(lab / "videos")), run=tmp_path / "run", place=TWO)
