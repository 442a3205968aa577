"""`framebank train --workers`: Ray Train runs the team, stops it, starts it anew, passes on its errors."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from decoders.heads import train_heads
from decoders.train import main, resume, train
from storage import CorruptShard
from tests.small_runs import CONFIG, write_learnable_bank
from training.checkpoint import list_checkpoints
from training.interrupt import TrainingStopped
from training.metrics import read_metrics
from training.post import Post
from training.run import RunDirectory, RunError
from training.team import Crew
from training.workers import SCRATCH

TWO = Crew(workers=2)
LONG = replace(CONFIG, steps=2000, log_every=1, save_every=5, eval_split="")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return write_learnable_bank(tmp_path_factory.mktemp("workers") / "bank")


def losses(run):
    return [line["loss"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line]


def workers():
    """Ray's workers below this process that train."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "RayTrainWorker" in " ".join(child.cmdline())]


def train_until(done, bank, folder):
    """LONG in a run directory `run`, in this process."""
    train_heads({"run": LONG}, bank=bank, folder=folder, until={"run": done})
    return folder / "run"


def test_stopped_on_two_workers_and_gone_on_with_in_this_process(bank, tmp_path, ray_cluster, monkeypatch):
    seen = []

    def interrupt(done, values):
        seen.append(done)
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.chdir(tmp_path)  # a relative path means the same to the workers
    with pytest.raises(TrainingStopped, match=r"go on with: framebank train resume --run run --workers 2"):
        train(LONG, bank=bank, run=Path("run"), crew=TWO, watch=interrupt)
    run = tmp_path / "run"
    done = list_checkpoints(run)[-1]
    assert seen == list(range(1, done + 1))
    session = RunDirectory.read(run).sessions()[0]
    assert (session["workers"], session["device"]) == (2, "cpu")
    assert not (run / SCRATCH).exists()
    train_until(done + 2, bank, tmp_path)
    alone = train_until(done + 2, bank, tmp_path / "alone")
    assert losses(run) == pytest.approx(losses(alone), abs=1e-5)
    assert (run / "config.json").read_text() == (alone / "config.json").read_text()


def test_mistakes_are_told_before_anything_is_started(bank, tmp_path):
    with pytest.raises(ValueError, match=r"that 4 workers can share, a multiple of 4, found 6"):
        train(CONFIG, bank=bank, run=tmp_path / "run", crew=Crew(workers=4))
    deep = replace(CONFIG, decoder=replace(CONFIG.decoder, layers=3))
    with pytest.raises(ValueError, match=r"holds 2 \(2, 3\)"):
        train(deep, bank=bank, run=tmp_path / "run", crew=TWO)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="workers must be at least 1"):
        Crew(workers=0)
    with pytest.raises(ValueError, match="expected --workers beside --gpus-per-worker"):
        main(["resume", "--run", str(tmp_path / "run"), "--gpus-per-worker", "1"])


def test_mistakes_about_the_cluster_and_the_run(bank, tmp_path, ray_cluster):
    train_until(1, bank, tmp_path)
    with pytest.raises(RunError, match=r"config\.seed: the run has 0, asked for 1"):
        train(replace(LONG, seed=1), bank=bank, run=tmp_path / "run", crew=TWO)
    with pytest.raises(ValueError, match="to agree, found 1 and cpu"):
        train(LONG, bank=bank, run=tmp_path / "run", device="cpu", crew=Crew(workers=2, gpus_per_worker=1))
    with pytest.raises(ValueError, match=r"expected 1 GPUs for each of 2 workers, found 0"):
        train(LONG, bank=bank, run=tmp_path / "run", device="cuda", crew=TWO)


def test_the_post_hands_lines_on_and_keeps_the_first_error():
    post = Post()
    assert not post.hand_in([(0, 1, {"loss": 2.0})])
    assert post.collect(True) == [(0, 1, {"loss": 2.0})]
    assert post.collect(False) == []
    assert post.hand_in([])
    first = ValueError("first")
    post.give_up(first)
    post.give_up(ValueError("second"))
    assert post.error() is first


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(bank, tmp_path, ray_cluster):
    killed = []

    def kill(done, values):
        if done >= 6 and not killed:
            killed.append(workers()[-1])
            killed[0].kill()

    config = replace(LONG, steps=300)
    result = train(config, bank=bank, run=tmp_path / "run", crew=TWO, watch=kill)
    assert killed
    assert result.resumed_at >= 5
    alone = train(config, bank=bank, run=tmp_path / "alone").run
    assert losses(result.run) == pytest.approx(losses(alone), abs=1e-4)


@pytest.mark.slow
def test_an_error_of_the_bank_is_passed_on_as_it_is(tmp_path, ray_cluster):
    bank = write_learnable_bank(tmp_path / "bank")
    for file in (bank / "features" / "block03" / "out" / "c").rglob("*"):
        if file.is_file():
            file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(CorruptShard):
        train(replace(CONFIG, eval_split=""), bank=bank, run=tmp_path / "run", crew=TWO)


@pytest.mark.slow
def test_the_same_command_goes_on_after_all_was_killed(bank, tmp_path):
    run = tmp_path / "run"
    small = ["--steps", "400", "--batch-size", "4", "--eval-split", "test", "--decoder.heads", "2"]
    often = ["--log-every", "1", "--save-every", "5", "--workers", "2"]
    arguments = ["train", "shapes", "--bank", str(bank), "--run", str(run), *small, *often]
    command = [sys.executable, "-m", "framebank", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not run.exists() or len(list_checkpoints(run)) < 2:
        assert process.poll() is None
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.wait()
    done = list_checkpoints(run)[-1]
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "400 steps, eval_top1" in again.stdout
    assert not again.stderr
    assert len(losses(run)) == 400
    assert resume(run).resumed_at == 400
    assert done < 400
