"""The engine on a real small cluster: everything is done once, whatever dies on the way."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pipeline.engine import TRIES, Engine, Stages, fitting
from pipeline.errors import ExtractionError


class Sums:
    """An encoder that adds up what was decoded; it kills its process at some tasks."""

    def __init__(self, folder: Path, deadly: tuple[int, ...] = (), times: int = 0) -> None:
        self.folder, self.deadly, self.times = folder, deadly, times

    def __call__(self, task: int, decoded: list[int]) -> tuple[int, int]:
        if task in self.deadly and happened(self.folder / f"encode {task}") <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        if task < 0:
            raise ValueError(f"no task is {task}")
        return task, sum(decoded)


def happened(path: Path) -> int:
    """How often this was asked, this time included."""
    with open(path, "a") as file:
        file.write("x")
    return path.stat().st_size


def twice(part: int, folder: Path, deadly: int = -1) -> list[int]:
    """The decode stage; it kills its process the first time that it sees the deadly part."""
    if part == deadly and happened(folder / f"decode {part}") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return [part, part]


def three_parts(task: int) -> list[int]:
    return [task, task + 100, task + 200]


def engine(
    folder: Path, *, deadly: tuple[int, ...] = (), times: int = 0, bad_part: int = -1, encoders: int = 2
) -> Engine:
    return Engine(
        Stages(
            parts=three_parts,
            decode=partial(twice, folder=folder, deadly=bad_part),
            encoder=partial(Sums, folder, deadly, times),
            decode_resources={"num_cpus": 0.25},
            encode_resources={"num_cpus": 0.5},
            encoders=encoders,
        )
    )


EXPECTED = {(task, 6 * task + 600) for task in range(12)}


def test_every_task_is_done_once(ray_cluster, tmp_path):
    found = list(engine(tmp_path).run(range(12)))
    assert len(found) == 12
    assert set(found) == EXPECTED


def test_no_more_tasks_are_taken_than_there_is_room_for(ray_cluster, tmp_path):
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    running = engine(tmp_path)
    reports = running.run(tasks())
    next(reports)
    assert 0 < taken <= running.room < 20
    reports.close()
    assert taken < 20


def test_an_encoder_that_dies_is_replaced_and_its_tasks_are_done(ray_cluster, tmp_path):
    said: list[str] = []
    running = engine(tmp_path, deadly=(2, 7), times=1)
    running.say = said.append
    found = list(running.run(range(12)))
    assert set(found) == EXPECTED
    assert said == ["an encoder died; another takes its place"] * 2


def test_a_lost_decode_task_is_run_again(ray_cluster, tmp_path):
    assert set(engine(tmp_path, bad_part=103).run(range(12))) == EXPECTED
    assert (tmp_path / "decode 103").stat().st_size == 2


@pytest.mark.parametrize("encoders", [1, 2])
def test_a_task_that_always_kills_is_left_out_and_no_other_pays_for_it(ray_cluster, tmp_path, encoders):
    running, found = engine(tmp_path, deadly=(11,), times=99, encoders=encoders), []
    with pytest.raises(ExtractionError, match=rf"1 shards are not done .* died {TRIES} times, e\.g\. 11"):
        found.extend(running.run(range(12)))
    assert set(found) == {(task, value) for task, value in EXPECTED if task != 11}


def test_encoders_that_all_die_end_the_run(ray_cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.engine.DEATHS", 3)
    with pytest.raises(ExtractionError, match="3 encoders died one after another and no shard was done"):
        list(engine(tmp_path, deadly=tuple(range(12)), times=99).run(range(12)))


def test_what_an_encoder_raises_ends_the_run(ray_cluster, tmp_path):
    with pytest.raises(ValueError, match="no task is -5"):
        list(engine(tmp_path).run([1, -5, 2]))


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, TRIES])
def test_an_encoder_that_ray_ends_for_lack_of_memory_is_replaced(times):
    command = [sys.executable, "-m", "tests.greedy_encoder", str(times)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert said.count("an encoder died; another takes its place") >= times
    left_out = [line for line in said if line.startswith("1 shards are not done")]
    assert len(left_out) == (times == TRIES)
    assert all(re.search(r"e\.g\. 2: .*memory.*\. All else is committed", line) for line in left_out)
    assert said[-1] == str([task for task in range(10) if task != 2 or times < TRIES])


@pytest.mark.parametrize(
    ("needs", "room"),
    [({"num_cpus": 0.5}, 4), ({"num_cpus": 1.0, "num_gpus": 0.25}, 2), ({"num_gpus": 1}, 1)],
)
def test_how_many_fit(needs, room):
    assert fitting({"CPU": 2.0, "GPU": 1.0}, needs) == room
