"""Extractions on a cluster that are hit by one misfortune each, at a moment that a seed decides.

    python -m tests.chaotic_runs SOURCE MODEL BANK

The command is the driver: an extraction in a process of its own, into shards that are large enough for their
frames to lie in Ray's object store. Once some shards are committed, and a little later, something is killed.
A process is stopped first and killed only if it is found at work, so a hit is one in mid-task.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from pipeline.config import ExtractConfig
from tests.cluster_apart import ClusterApart, command_of
from tests.small_extractions import config_for, extract
from video import Sampling, ViewPlan

SHARD_ROWS = 3
LATER = 0.3
"""Seconds that a misfortune comes at most after the commit that it waits for."""


def chaotic_config(source, model, bank) -> ExtractConfig:
    """Shards of three rows of eight frames, two encoders."""
    views = ViewPlan(sampling=Sampling(kind="tsn", frames=8), size=64)
    return config_for(source, str(model), bank, views=views, shard_rows=SHARD_ROWS, encoders=2)


@dataclass(frozen=True, kw_only=True)
class Run:
    """An extraction that runs on a cluster."""

    cluster: ClusterApart
    driver: subprocess.Popen[str]
    bank: Path
    shards: int
    """Shards that the bank has in the end."""

    @property
    def committed(self) -> int:
        """Shards committed by now."""
        return len(list(self.bank.glob("shards/*.json")))

    @property
    def unfinished(self) -> bool:
        """Whether there is still something to break."""
        return self.driver.poll() is None and self.committed < self.shards

    def end(self, seconds: float) -> tuple[int, str]:
        """Wait for the driver's end: its exit code and what it said."""
        try:
            said, _ = self.driver.communicate(timeout=seconds)
        finally:
            self.driver.kill()
        return self.driver.returncode, said


def start(cluster: ClusterApart, source: Path, model: Path, bank: Path, shards: int) -> Run:
    """An extraction on this cluster."""
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.chaotic_runs", str(source), str(model), str(bank)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"RAY_ADDRESS": cluster.address},
    )
    return Run(cluster=cluster, driver=driver, bank=bank, shards=shards)


def kill_encoder(run: Run, draw: random.Random) -> bool:
    """SIGKILL an encoder that has a shard in hand."""
    return kill_at_work(run, draw, lambda: run.cluster.processes("ray::Host"), "ray::Host.run")


def kill_decode_worker(run: Run, draw: random.Random) -> bool:
    """SIGKILL the process of a decode task."""
    return kill_at_work(run, draw, lambda: parents(decoders(run)), "ray::decode")


def kill_decoder(run: Run, draw: random.Random) -> bool:
    """SIGKILL the child process of a decode task, which has a video open."""
    return kill_at_work(run, draw, lambda: decoders(run), "ray::decode", at_work=psutil.Process.parent)


def decoders(run: Run) -> list[psutil.Process]:
    """The processes that decode videos."""
    return run.cluster.processes("video.decode_child")


def parents(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that hold them."""
    found = []
    for process in processes:
        with suppress(psutil.Error):
            found.append(process.parent())
    return list(filter(None, found))


def kill_at_work(
    run: Run,
    draw: random.Random,
    find: Callable[[], list[psutil.Process]],
    title: str,
    at_work: Callable[[psutil.Process], psutil.Process | None] = lambda process: process,
) -> bool:
    """Look for a process whose command, or that of another, says that it is at work, and kill it."""
    while run.unfinished:
        found = find()
        draw.shuffle(found)
        for process in found:
            with suppress(psutil.Error):
                process.suspend()
                if run.unfinished and command_of(at_work(process)).startswith(title):
                    process.kill()
                    return True
                process.resume()
    return False


def lose_node(run: Run, draw: random.Random) -> bool:
    """Take a worker node away, then add a new one."""
    run.cluster.lose_node(draw.randrange(2))
    hit = run.unfinished
    run.cluster.add_node()
    return hit


def kill_driver(run: Run, draw: random.Random) -> bool:
    """SIGKILL the driver."""
    hit = run.unfinished
    run.driver.kill()
    run.driver.wait()
    return hit and run.committed < run.shards


def strike(run: Run, misfortune: Callable[[Run, random.Random], bool], draw: random.Random) -> bool:
    """Wait for the moment, within the next two thirds of what is left, and do it; whether it came in time."""
    left = run.shards - run.committed
    moment = run.shards - left + draw.randint(1, max(1, left * 2 // 3))
    while run.driver.poll() is None and run.committed < moment:
        time.sleep(0.002)
    time.sleep(draw.uniform(0, LATER))
    hit = run.unfinished and misfortune(run, draw)
    print(f"{misfortune.__name__}: {'hit' if hit else 'missed'}, {run.committed} of {run.shards} shards done")
    return hit


if __name__ == "__main__":
    extract(chaotic_config(*sys.argv[1:4]), Console(stderr=True))
