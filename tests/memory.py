"""How much memory something takes, asked so that no other thread of the tests can be hurt by it.

Before Python 3.12.9, `tracemalloc.stop` crashes the process when a thread of Ray's or obstore's allocates
at that moment (python/cpython#128679). So either the peak of the whole process is read from the system,
or tracemalloc counts in a process of its own and is never stopped.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any


def in_a_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a module's function returns, or raises, in a process that has no threads yet."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class ResidentPeak:
    """The most resident bytes that this process took since, above those it had then; for Linux."""

    def __init__(self) -> None:
        """Begin anew: writing 5 sets the peak back to what is resident now."""
        Path("/proc/self/clear_refs").write_text("5")
        self.before = status_bytes("VmRSS")

    def taken(self) -> int:
        """Bytes above those at the beginning."""
        return status_bytes("VmHWM") - self.before


def status_bytes(field: str) -> int:
    """A figure of /proc/self/status, where it stands in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
