"""How busy the engine keeps encoders that do nothing but take time, and what the engine itself costs.

    python -m benchmarks.engine [--quick]

The encoders stand for accelerators: each sleeps for its time a shard, 100 ms for 1 and for 4 encoders, 1 s
for 16 and for 64 (quick: 1 and 4 only). Decoding is simulated too: it gives 1 MB of frames a shard at once.
Everything else is real: Ray's tasks, actors and object store, on this machine's cores.

`busy` by number of encoders is the share of their time that they spent on shards, between the moment when the
last of them had begun and the moment when the first of them had nothing more to do. `limit_shards_per_second`
is the rate at which shards go through encoders that take no time at all: beyond it the engine would be what
one waits for. `driver_ms_per_shard` is the driver's own processor time meanwhile, `engine_ms_per_shard` one
over the limit, and `engine_us_per_clip` the same for a clip of a shard of 27, as a ViT-B/16 bank has them.

Keys: `busy`, `limit_shards_per_second`, `engine_ms_per_shard`, `engine_us_per_clip`, `driver_ms_per_shard`,
`driver_growth_mb`: memory that the driver gained between a quarter and the end of the limit's shards.
"""

import argparse
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import psutil
import ray

from benchmarks.result import print_figures, write_result
from pipeline.engine import Engine, Stages
from training.cluster import connect

CASES = ((1, 0.1, 200), (4, 0.1, 800), (16, 1.0, 400), (64, 1.0, 1600))
"""Encoders, seconds a shard, shards."""
FREE = (4, 2000)
"""Encoders that take no time, and their shards."""
BARS = {"busy": 0.95}
SHARD_CLIPS = 27
FRAME_BYTES = 10**6
CPUS = {"num_cpus": 0.01}
Stay = tuple[int, float, float]
"""Process of an encoder; when it began and ended a shard."""


class Sleeper:
    """An encoder that takes its time, one shard at a time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.lock = seconds, threading.Lock()

    def __call__(self, task: int, decoded: list[Any]) -> Stay:
        with self.lock:
            began = time.time()
            time.sleep(self.seconds)
            return os.getpid(), began, time.time()


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="How busy the engine keeps its encoders.")
    parser.add_argument("--quick", action="store_true", help="few encoders and shards")
    quick: bool = parser.parse_args().quick
    figures = measure(CASES[:2] if quick else CASES, FREE)
    print_figures(f"simulated encoders, {os.cpu_count()} cores", figures)
    write_result("engine-quick" if quick else "engine", figures)


def measure(cases: tuple[tuple[int, float, int], ...], free: tuple[int, int]) -> dict[str, Any]:
    """All figures."""
    connect()
    busy = {str(count): busy_share(list(run(count, seconds, shards))) for count, seconds, shards in cases}
    process, count, held = psutil.Process(), free[1], 0
    cpu, began, first = process.cpu_times(), time.perf_counter(), 0.0
    for number, _ in enumerate(run(free[0], 0.0, count)):
        if number == count // 4:
            cpu, began, first = process.cpu_times(), time.perf_counter(), number
            held = process.memory_info().rss
    seconds, shards = time.perf_counter() - began, count - first
    after = process.cpu_times()
    used = after.user + after.system - cpu.user - cpu.system
    return {
        "busy": busy,
        "limit_shards_per_second": round(shards / seconds, 1),
        "engine_ms_per_shard": round(1e3 * seconds / shards, 2),
        "engine_us_per_clip": round(1e6 * seconds / shards / SHARD_CLIPS, 1),
        "driver_ms_per_shard": round(1e3 * used / shards, 2),
        "driver_growth_mb": round((process.memory_info().rss - held) / 1e6, 1),
        "cases": [list(case) for case in cases],
        "bars": BARS,
    }


def run(encoders: int, seconds: float, shards: int) -> Iterator[Stay]:
    """Every shard's stay with its encoder."""
    stages = Stages[int, Stay](
        parts=one_part,
        decode=frames,
        encoder=partial(Sleeper, seconds),
        decode_resources=CPUS | {"num_cpus": 0.25},
        encode_resources=CPUS,
        encoders=encoders,
    )
    yield from Engine(stages).run(range(shards))


def one_part(task: int) -> list[int]:
    """A shard is decoded in one go."""
    return [task]


def frames(part: int) -> list[np.ndarray]:
    """As many bytes as some clips' frames."""
    return [np.zeros(FRAME_BYTES, np.uint8)]


def busy_share(stays: list[Stay]) -> float:
    """Share of the encoders' time that was spent on shards, while all of them were at work."""
    encoders = {encoder for encoder, _, _ in stays}
    start = max(min(began for one, began, _ in stays if one == encoder) for encoder in encoders)
    end = min(max(ended for one, _, ended in stays if one == encoder) for encoder in encoders)
    if end <= start:
        raise ValueError("the encoders were never all at work; give them more shards")
    spent = sum(max(0.0, min(ended, end) - max(began, start)) for _, began, ended in stays)
    return round(spent / (end - start) / len(encoders), 3)


if __name__ == "__main__":
    main()
    ray.shutdown()
