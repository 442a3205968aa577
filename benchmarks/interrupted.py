"""What a process that is reading with the loader leaves behind when it gets Ctrl-C, and when it is killed.

    python -m benchmarks.interrupted BANK

is that process: it reads batches as long as its parent lives, says so after the first few, and on SIGINT
says, as one JSON line, what is still there of the loader.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from storage import Bank, RowLoader, RowOrder

SHM = Path("/dev/shm")
BATCH = 8
SECONDS = 60
"""How long a child may take to begin or to end."""


def main(bank: Path) -> None:
    """Read until interrupted, or left alone."""
    before = standing()
    with suppress(KeyboardInterrupt):
        keep_reading(bank)
    print(json.dumps(more(before, standing())), flush=True)  # the traceback and what it holds is gone by now


def keep_reading(location: Path) -> None:
    """Says `reading` when it does."""
    parent = os.getppid()
    with Bank(location) as bank:
        loader = RowLoader(bank, [name for name in bank.layouts if name.endswith("/out")])
        order = RowOrder(bank.rows(), seed=0)
        for number, _ in enumerate(loader.batches(order.batches(range(sys.maxsize), BATCH))):
            if number == 2:
                print("reading", flush=True)
            if os.getppid() != parent:
                return


def standing() -> dict[str, int]:
    """What this process has that could be left behind."""
    return {
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "children": len(psutil.Process().children()),
        "shared_memory": len(shared_memory()),
    }


def more(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What has been added since."""
    return {name: after[name] - count for name, count in before.items()}


def shared_memory() -> set[str]:
    """Names in /dev/shm, whoever they belong to."""
    return {path.name for path in SHM.iterdir()}


def left_by(bank: Path, sign: signal.Signals) -> dict[str, Any]:
    """What is left of a child that was reading when it got a signal: counts, 0 of each if all is well; with
    its exit code and the seconds that its end took.
    """
    before = shared_memory()
    with TemporaryDirectory(prefix="framebank-child-") as temporary, reading_child(bank, temporary) as child:
        begun = time.perf_counter()
        child.send_signal(sign)
        said, _ = child.communicate(timeout=SECONDS)
        return {
            "seconds": round(time.perf_counter() - begun, 3),
            "exit_code": child.returncode,
            **(json.loads(said) if said else {}),
            "processes": processes_of(child.pid),
            "temporary_files": len(os.listdir(temporary)),
            "shared_memory": len(shared_memory() - before),
        }


@contextmanager
def reading_child(bank: Path, temporary: str) -> Iterator[subprocess.Popen[str]]:
    """A child of this program that is reading, in a session and with temporary files of its own."""
    command = [sys.executable, "-m", "benchmarks.interrupted", str(bank)]
    environment, here = os.environ | {"TMPDIR": temporary}, Path(__file__).resolve().parent.parent
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, env=environment, cwd=here
    ) as child:
        try:
            assert child.stdout is not None
            if child.stdout.readline() != "reading\n":
                raise RuntimeError(f"expected `{' '.join(command)}` to read, but it ended")
            yield child
        finally:
            child.kill()


def processes_of(session: int) -> int:
    """How many live processes belong to a session."""
    return sum(session_of(pid) == session for pid in psutil.pids())


def session_of(pid: int) -> int:
    """The session of a process; -1 where it has just ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return -1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
