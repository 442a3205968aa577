"""What a run costs before it encodes anything: a plan for a million clips, and going on with one nearly done.

    python -m benchmarks.plan [--quick]

*Plan*: a CSV list of 1,000,000 clips (quick: 50,000) becomes an enrolled bank's listing and the first of its
shard tasks, by the very functions of an extraction, the tower's process beside them. Then the tasks run for a
while through the engine with a decoder and encoders that do nothing, as fast as they go: memory must not
grow with them. The driver is this process; its peak is the system's own count.

*Resume*: a bank of 100,000 clips of which 99 % are committed (quick: 5,000). A new process is asked to
complete it, and is done waiting when the first new shard is committed: from its start to then, Python's
start, imports, listing, plan, Ray, an encoder's libraries and 27 decoded clips included. Its tower is tiny.

Keys: `plan_seconds` (to the first task), `driver_peak_mb`, `driver_growth_mb` (resident, between a quarter of
the simulated work and its end), `simulated_shards`; `resume_seconds`, `resume_seconds_on_cluster` (Ray runs
already), `resume_clips`, `resume_shards` (of the bank); and the parts of `plan_seconds` as `listing_seconds`,
`tower_seconds` (what the tower's process took longer), `enrol_seconds`, `first_task_seconds`.
"""

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import time
from io import StringIO
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import ray
from rich.console import Console

from backbones.config import BackboneConfig
from benchmarks.bank_write import draw_row
from benchmarks.disk import work_folder
from benchmarks.result import print_figures, write_result
from benchmarks.sample_rows import facts_line
from benchmarks.video_files import write_video
from pipeline.aside import Aside
from pipeline.config import ExtractConfig, origin
from pipeline.engine import Engine, Stages
from pipeline.extract import enrol, tower_request
from pipeline.listing import list_source
from pipeline.plan import Plan
from pipeline.task import ShardTask
from storage import BankSpec, BankWriter, ShardWriter
from training.cluster import connect
from video import Sampling, ViewPlan

CLIPS, SIMULATED = 1_000_000, 4000
"""Clips of the plan, and how many of its shards are simulated."""
RESUMED, LEFT = 100_000, 1000
"""Clips of the bank that is completed, and how many of them are left."""
SHARD_ROWS = 27
SIZE = 64
PATIENCE = 300.0
BARS = {"plan_seconds": 60, "driver_peak_mb": 1000, "resume_seconds": 15}
TOWER = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": SIZE, "layers": 2, "width": 64, "head_width": 16, "patch_size": 32},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
COMPLETE = """
import pickle, sys
from pipeline.extract import extract
extract(pickle.load(open(sys.argv[1], "rb")))
"""


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="What planning a million clips and going on cost.")
    parser.add_argument("--quick", action="store_true", help="fewer clips")
    quick: bool = parser.parse_args().quick
    with work_folder(None, 4 * 10**9) as folder:
        figures = measure_plan(folder, 50_000 if quick else CLIPS, 400 if quick else SIMULATED)
        ray.shutdown()
        figures |= measure_resume(folder, 5000 if quick else RESUMED)
    print_figures("before anything is encoded", figures)
    write_result("plan-quick" if quick else "plan", figures | {"bars": BARS})


def measure_plan(folder: Path, clips: int, shards: int) -> dict[str, Any]:
    """The plan's seconds and memory, in this process."""
    config = config_of(folder, "planned")
    write_list(Path(config.source), (f"videos/clip {number:07d}.mp4" for number in range(clips)))
    marks = [time.perf_counter()]
    with Aside(tower_request, config) as request:
        listed = list_source(config)
        marks.append(time.perf_counter())
        spec, weights = request.result()
    with BankWriter(config.bank, spec, shard_rows=SHARD_ROWS, weights=weights) as writer:
        marks.append(time.perf_counter())
        enrol(writer, listed, frozenset(), Console(file=StringIO()))
        marks.append(time.perf_counter())
        tasks = Plan(writer, attempts=3).tasks(0)
        first = next(tasks)
        marks.append(time.perf_counter())
        growth = simulate(islice(chain([first], tasks), shards), shards)
    listing, tower, enrolled, planned = np.diff(marks)
    return {
        "clips": clips,
        "plan_seconds": round(marks[-1] - marks[0], 1),
        "listing_seconds": round(listing, 1),
        "tower_seconds": round(tower, 1),
        "enrol_seconds": round(enrolled, 1),
        "first_task_seconds": round(planned, 1),
        "driver_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        "driver_growth_mb": growth,
        "simulated_shards": shards,
    }


def simulate(tasks: Any, count: int) -> float:
    """Let tasks through an engine whose stages do nothing; megabytes gained since a quarter of them."""
    connect()
    stages = Stages[ShardTask, int](
        parts=lambda task: [len(task.lines)],
        decode=nothing,
        encoder=Nothing,
        decode_resources={"num_cpus": 0.25},
        encode_resources={"num_cpus": 0.01},
        encoders=2,
    )
    process, held = psutil.Process(), 0
    for number, _ in enumerate(Engine(stages).run(tasks)):
        if number == count // 4:
            held = process.memory_info().rss
    return round((process.memory_info().rss - held) / 1e6, 1)


def nothing(part: int) -> list[Any]:
    """A decoder that does nothing."""
    return []


class Nothing:
    """An encoder that does nothing."""

    def __call__(self, task: ShardTask, decoded: list[Any]) -> int:
        return task.shard


def measure_resume(folder: Path, clips: int, left: int = LEFT) -> dict[str, Any]:
    """Seconds until a process that completes a bank has committed its first shard."""
    config = config_of(folder, "resumed")
    done = (clips - left) // SHARD_ROWS * SHARD_ROWS
    for number in (0, *range(done, clips)):
        draw_video(folder / f"videos/clip {number:07d}.mp4", number)
    write_list(Path(config.source), (f"videos/clip {number:07d}.mp4" for number in range(clips)))
    with Aside(tower_request, config) as request:
        spec, _ = request.result()
    with BankWriter(config.bank, spec, shard_rows=SHARD_ROWS, made=origin(config)) as writer:
        enrol(writer, list_source(config), frozenset(), Console(file=StringIO()))
        commit_shards(writer, spec, done // SHARD_ROWS)
    asked = folder / "config.pkl"
    asked.write_bytes(pickle.dumps(config))
    alone = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    cold = seconds_to_shard(config, asked, alone)
    connect()
    joined = seconds_to_shard(config, asked, alone | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address})
    return {
        "resume_seconds": round(cold, 1),
        "resume_seconds_on_cluster": round(joined, 1),
        "resume_clips": clips,
        "resume_shards": done // SHARD_ROWS,
    }


def seconds_to_shard(config: ExtractConfig, asked: Path, environment: dict[str, str]) -> float:
    """Seconds from the start of a process that completes the bank to the first shard that it commits."""
    shards = Path(config.bank) / "shards"
    have = count_records(shards)
    began = time.perf_counter()
    command = [sys.executable, "-c", COMPLETE, str(asked)]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        return wait_for_shard(shards, have, run, began)
    finally:
        run.terminate()
        run.wait()


def count_records(folder: Path) -> int:
    """Committed shards."""
    return sum(name.endswith(".json") for name in os.listdir(folder))


def wait_for_shard(folder: Path, have: int, run: subprocess.Popen[bytes], began: float) -> float:
    """Seconds since `began` at which there are more records than `have`.

    Raises:
        RuntimeError: the run ended without one, or it took too long.
    """
    while True:
        if count_records(folder) > have:
            return time.perf_counter() - began
        if run.poll() is not None or time.perf_counter() - began > PATIENCE:
            raise RuntimeError(f"no new shard after {time.perf_counter() - began:.0f} s")
        time.sleep(0.05)


def commit_shards(writer: BankWriter, spec: BankSpec, count: int) -> None:
    """The first shards, with drawn values."""
    values = draw_row(spec, 0)
    for shard in range(count):
        rows = range(shard * SHARD_ROWS, (shard + 1) * SHARD_ROWS)
        with ShardWriter(writer.path, shard, run=writer.run) as file:
            for row in rows:
                file.append(row, values)
            file.commit([facts_line(row) for row in rows], {})


def config_of(folder: Path, name: str) -> ExtractConfig:
    """An extraction of one block of a tiny tower, one frame a clip."""
    tower = folder / "tiny.json"
    tower.write_text(json.dumps(TOWER))
    (folder / "videos").mkdir(exist_ok=True)
    (folder / "videos/clip 0000000.mp4").touch()
    return ExtractConfig(
        source=str(folder / f"{name}.csv"),
        bank=str(folder / name),
        backbone=BackboneConfig(name=str(tower), weights="random:0"),
        views=ViewPlan(sampling=Sampling(kind="tsn", frames=1), size=SIZE),
        last_blocks=1,
        attention="none",
        shard_rows=SHARD_ROWS,
    )


def write_list(path: Path, names: Any) -> None:
    """A table of videos with labels."""
    with open(path, "w") as file:
        file.write("path,label\n")
        file.writelines(f"{name},{number % 400}\n" for number, name in enumerate(names))


def draw_video(path: Path, seed: int) -> None:
    """Four frames of coarse noise, in MPEG-4."""
    pixels = np.random.default_rng(seed).integers(0, 255, (4, 8, 8, 3), dtype=np.uint8)
    write_video(path, pixels.repeat(8, 1).repeat(8, 2), "mpeg4", "yuv420p")


if __name__ == "__main__":
    main()
