"""A Ray cluster of a head and two worker nodes in a process of its own, for tests that break it.

    python -m tests.cluster_apart

Says its address, then obeys its input line by line, and stops with it: whatever becomes of the tests, nothing
is left. Nothing is placed on the head, which the drivers use, so work is lost with either node. Its files are
in a folder of its own, for Ray notes the latest cluster in its usual one, and other programs would join this.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil
from ray.cluster_utils import Cluster

MEMORY = 80 * 2**20
"""Object store of a node in bytes; Ray takes no less than 75 MiB."""
WORKER = {"num_cpus": 1, "object_store_memory": MEMORY}
HEAD = {
    "num_cpus": 0,
    "object_store_memory": MEMORY,
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
    # a lost node is noticed within seconds; by default it takes up to half a minute
    "_system_config": {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500},
}


@dataclass(frozen=True)
class ClusterApart:
    """The process, and where its cluster can be joined."""

    process: subprocess.Popen[str]
    address: str

    def lose_node(self, place: int) -> None:
        """Take the first or second worker node away, without a warning."""
        print(place, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "lost\n"

    def add_node(self) -> None:
        """Have another worker node started, which takes seconds; does not wait for it."""
        print("add", file=self.process.stdin, flush=True)

    def processes(self, title: str) -> list[psutil.Process]:
        """The cluster's processes in whose command this text is."""
        return [
            process
            for process in psutil.Process(self.process.pid).children(recursive=True)
            if title in command_of(process)
        ]


def command_of(process: psutil.Process | None) -> str:
    """A process's command, which of a Ray worker says what it does now; empty once it is gone."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline()) if process else ""
    return ""


@contextmanager
def cluster_apart() -> Iterator[ClusterApart]:
    """Start it, and stop it in the end."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster_apart"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment | {"RAY_BACKEND_LOG_LEVEL": "fatal"},
    )
    try:
        yield ClusterApart(process, process.stdout.readline().strip())
    finally:
        left = psutil.Process(process.pid).children(recursive=True)
        process.communicate(timeout=60)
        psutil.wait_procs(left, timeout=30)


def main() -> None:
    """See the module's docstring."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        cluster = Cluster()
        cluster.add_node(**HEAD)
        for _ in range(2):
            cluster.add_node(**WORKER)
        print(cluster.address, flush=True)
        for line in sys.stdin:
            obey(cluster, line.strip())
        cluster.shutdown()


def obey(cluster: Cluster, line: str) -> None:
    """Add a worker node, or lose that of a number."""
    if line == "add":
        cluster.add_node(**WORKER)
        return
    nodes = sorted(cluster.worker_nodes, key=lambda node: node.unique_id)
    cluster.remove_node(nodes[int(line)], allow_graceful=False)
    print("lost", flush=True)


if __name__ == "__main__":
    main()
