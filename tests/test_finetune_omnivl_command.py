"""`framebank pretrain`, from a bank and from files."""

import os
import signal
from dataclasses import replace

import pytest

from finetune.omnivl.command import main, parse, pretrain, resume
from finetune.omnivl.origin import Origin
from finetune.place import Place
from framebank import dispatch
from tests.small_mixed_bank import small_config, write_mixed_bank
from tests.test_finetune_omnivl_tier import live, world  # noqa: F401
from training.interrupt import TrainingStopped
from training.metrics import read_metrics

ONE = Place(device="cpu")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    path = tmp_path_factory.mktemp("mixed") / "bank"
    write_mixed_bank(path)
    return path


def test_a_recipe_with_overrides_is_a_command():
    said = ["omnivl-lab", "--bank", "b", "--run", "r", "--schedule.schedule", "joint", "--heads.width", "64"]
    command = parse([*said, "--heads.heads", "4", "--workers", "2"])
    assert command.origin.bank == "b"
    assert command.config.schedule.schedule == "joint"
    assert (command.config.heads.width, command.place.workers) == (64, 2)


def test_a_run_is_finished_gone_on_with_and_refused_for_another(bank, tmp_path):
    origin, run = Origin(bank=str(bank)), tmp_path / "run"

    def stop(done, _):
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped, match="framebank pretrain resume --run"):
        pretrain(small_config(), origin, run=run, place=ONE, watch=stop)
    found = resume(run)
    assert found.steps == 7
    assert 0 < found.resumed_at < 7
    assert main(["resume", "--run", str(run)]) == 0
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl")] == list(range(1, 8))
    with pytest.raises(ValueError, match=r"config\.seed: the run has 0, asked for 1"):
        pretrain(small_config(seed=1), origin, run=run, place=ONE)


def test_workers_that_cannot_share_a_batch_leave_no_run_behind(bank, tmp_path):
    with pytest.raises(ValueError, match="3 processes can share"):
        pretrain(
            small_config(),
            Origin(bank=str(bank)),
            run=tmp_path / "run",
            place=Place(device="cpu", workers=3),
        )
    assert not (tmp_path / "run").exists()


def test_nothing_to_learn_from_is_one_line(tmp_path, capsys):
    assert dispatch(["pretrain", "shapes", "--run", str(tmp_path / "run")]) == 2
    assert "expected --bank, or --sources" in capsys.readouterr().err


def test_files_are_learned_from_end_to_end_and_gone_on_with(world, tmp_path):  # noqa: F811
    lists = tuple(str(world / name) for name in ("images.csv", "videos.csv"))
    origin, config = Origin(sources=lists, live=live(world)), small_config(label="")
    run = tmp_path / "run"

    def stop(done, _):
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingStopped):
        pretrain(config, origin, run=run, place=ONE, watch=stop)
    assert resume(run).steps == 7
    whole = tmp_path / "whole"
    pretrain(config, origin, run=whole, place=ONE)
    assert read_metrics(run / "metrics.jsonl") == read_metrics(whole / "metrics.jsonl")
    other = live(world, video_views=replace(origin.live.video_views, seed=1))
    with pytest.raises(ValueError, match=r"tier\.video_views\.seed: the run has 0, asked for 1"):
        pretrain(config, replace(origin, live=other), run=run, place=ONE)


@pytest.mark.slow
def test_two_workers_have_the_losses_of_one(bank, tmp_path, ray_cluster):
    origin, config = Origin(bank=str(bank)), small_config()
    pretrain(config, origin, run=tmp_path / "one", place=ONE)
    result = pretrain(config, origin, run=tmp_path / "two", place=Place(device="cpu", workers=2))
    assert result.steps == 7
    found = [
        [line["loss"] for line in read_metrics(tmp_path / run / "metrics.jsonl")] for run in ("one", "two")
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-5)
