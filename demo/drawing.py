"""Drawing many videos: some processes, and the list of what was drawn."""

import csv
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

Job = TypeVar("Job")


def in_processes(draw: Callable[[Job], None], jobs: Sequence[Job], workers: int) -> Iterator[None]:
    """Draw each, in so many processes; 1 is the calling one. Yields after each that is done, in order."""
    if workers == 1 or not jobs:
        yield from map(draw, jobs)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(draw, jobs, chunksize=8)


def write_list(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Write a table of videos; under its name it is whole."""
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    os.replace(unfinished, path)
    return path
