"""Runs an engine on a cluster whose memory monitor ends an encoder; a script, since it needs its own cluster.

    python -m tests.greedy_encoder TIMES

The encoder takes memory at task 2 until Ray ends it, TIMES times. Prints what the engine says, then what was
done. The limit is 2 GB above what is in use, so it says little where other programs take that much meanwhile.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import ray

from pipeline.engine import Engine, Stages
from pipeline.errors import ExtractionError

ROOM = 2e9
"""Bytes that may be taken."""
TAKEN = 3e9


class Greedy:
    """An encoder that takes too much at task 2."""

    def __init__(self, folder: Path, times: int) -> None:
        self.folder, self.times = folder, times

    def __call__(self, task: int, decoded: list[int]) -> int:
        deaths = len(list(self.folder.iterdir()))
        if task == 2 and deaths < self.times:
            (self.folder / f"{deaths}").touch()
            taken = np.ones(int(TAKEN), np.uint8)
            time.sleep(60)
            del taken
        return task


def main(times: int) -> None:
    """See the module's docstring."""
    memory = psutil.virtual_memory()
    limit = (memory.total - memory.available + ROOM) / memory.total
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=80 * 2**20,
            _temp_dir=folder,
            _system_config={"memory_usage_threshold": limit, "memory_monitor_refresh_ms": 100},
        )
        with tempfile.TemporaryDirectory() as marks:
            run(Path(marks), times)
        ray.shutdown()


def run(folder: Path, times: int) -> None:
    """Ten tasks, one encoder."""
    stages = Stages(
        parts=lambda task: [task],
        decode=lambda part: [part],
        encoder=lambda: Greedy(folder, times),
        decode_resources={"num_cpus": 0.25},
        encode_resources={"num_cpus": 0.5},
        encoders=1,
    )
    done = []
    try:
        done.extend(Engine(stages, print).run(range(10)))
    except ExtractionError as error:
        print(error)
    print(sorted(done))


if __name__ == "__main__":
    main(int(sys.argv[1]))
