"""Sweeps on a Ray cluster: the same curves and winner as here, also when a worker is lost."""

import json
import os
import signal
from dataclasses import replace

import pytest

from decoders.sweeps.config import RayOptions, SearchPlan
from decoders.sweeps.jobs import Job
from decoders.sweeps.sweep import sweep
from decoders.sweeps.tune import WorkerFailed, on_ray
from tests.small_runs import write_learnable_bank
from tests.small_sweeps import BASE, curves, places, quiet, sweep_config


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return write_learnable_bank(tmp_path_factory.mktemp("tune") / "bank", train=20, test=8)


def test_the_same_curves_and_winner_as_without_ray(ray_cluster, bank, tmp_path):
    config = sweep_config(plan=SearchPlan(halving=0))
    here = sweep(config, places(bank, tmp_path / "here"), display=quiet())
    there = sweep(
        config,
        places(bank, tmp_path / "there", heads=2),
        display=quiet(),
        run_jobs=on_ray(RayOptions(ray=True)),
    )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert curves(tmp_path / "there") == curves(tmp_path / "here")
    assert there["settings"] == here["settings"]
    assert there["winners"][0]["test"] == here["winners"][0]["test"]


@pytest.mark.slow
def test_halved_the_same_though_a_worker_is_lost(ray_cluster, bank, tmp_path):
    here = sweep(sweep_config(), places(bank, tmp_path / "here"), display=quiet())
    heard = []

    def listening(jobs, where, watch):
        def both(name, done, values):
            if not heard:
                lock = tmp_path / "there" / "trials" / name / "lock.json"
                os.kill(json.loads(lock.read_text())["pid"], signal.SIGKILL)
            heard.append((name, done, values))
            watch(name, done, values)

        on_ray(RayOptions(ray=True))(jobs, where, both)

    there = sweep(
        sweep_config(), places(bank, tmp_path / "there", heads=3), display=quiet(), run_jobs=listening
    )
    assert curves(tmp_path / "there") == curves(tmp_path / "here")
    assert there["settings"] == here["settings"]
    assert there["winners"][0]["test"] == here["winners"][0]["test"]
    assert {done for _, done, values in heard if "eval_top1" in values} >= {3, 9}
    sessions = (tmp_path / "there" / "trials" / heard[0][0] / "sessions.jsonl").read_text().splitlines()
    assert len(sessions) >= 2


@pytest.mark.slow
def test_what_cannot_be_trained_is_told_after_the_retries(ray_cluster, bank, tmp_path):
    job = Job(heads={"a": replace(BASE, split="none")}, until={"a": 9})
    with pytest.raises(WorkerFailed, match="failed 1 times"):
        on_ray(RayOptions(ray=True, ray_retries=0))([job], places(bank, tmp_path), lambda *_: None)


def test_a_relative_path_that_workers_cannot_follow_is_refused(ray_cluster, bank, tmp_path):
    relative = Job(heads={"a": replace(BASE, init="some.pth")}, until={"a": 9})
    with pytest.raises(ValueError, match="absolute path for --init"):
        on_ray(RayOptions(ray=True))([relative], places(bank, tmp_path), lambda *_: None)
