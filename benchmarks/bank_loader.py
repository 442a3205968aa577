"""The batch loader under a training step, against the plain reader; and what it leaves behind.

    python -m benchmarks.bank_loader [--quick] [--folder FOLDER]

Rows of a ViT-B/16 on 8 frames, 4 blocks a clip, fp16: 104 clips, 1.0 GB (quick: 16 clips, 155 MB), in batches
of 8 clips in random order, all in the page cache and verified before. Each round is, in changing order, 24
batches or some more of `Bank.read` into reused buffers, which does nothing with what it reads, and as many of
`RowLoader`, each used up by a training step: a linear probe on max-pooled tokens with backward and optimiser
step, on one thread. It looks at every value, and takes about half as long as reading does. (Mean-pooling
would convert all to fp32 first, which takes longer than reading, so the step would be what is measured.)
`over_reader` says how much of the bare reading speed a training sees, its own work included; medians of
rounds. `step_share` is the step's processor time over the time of the loader's passes.

Then: how much the resident memory grew from the end of the first of ten epochs to that of the last; threads,
file descriptors, children and names in /dev/shm after all this, less those before; and the same of a child
that is reading when it gets SIGINT, and when it is killed, with its temporary files. /dev/shm is everybody's,
so nothing else should run.

Keys: `over_reader`, `mb_per_second`, `reader_mb_per_second`, `step_share`, `growth_mb`, `left`,
`left_by_ctrl_c`, `left_by_kill`.
"""

import argparse
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from benchmarks.disk import work_folder
from benchmarks.interrupted import left_by, more, standing
from benchmarks.result import print_figures, write_result
from benchmarks.sample_rows import BATCH, SampleRows, write_bank
from storage import Bank, RowLoader, RowOrder, array_name

BARS = {"over_reader": 0.9}
CLASSES = 10
EPOCHS = 10
STEPS = 24
"""Least number of batches in a pass; the first of a pass and the step on its last overlap with nothing."""


def main() -> None:
    """Write a bank, measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="The batch loader under a training step.")
    parser.add_argument("--quick", action="store_true", help="155 MB and fewer rounds")
    parser.add_argument("--folder", type=Path, help="where files are made (default: the temporary folder)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, rounds = (SampleRows(clips=16), 7) if options.quick else (SampleRows(clips=104), 11)
    figures = measure(rows, rounds=rounds, folder=options.folder)
    print_figures(f"{figures['gigabytes']} GB in random order, page cache warm", figures)
    write_result("bank_loader-quick" if options.quick else "bank_loader", figures)


def measure(rows: SampleRows, *, rounds: int, folder: Path | None = None) -> dict[str, Any]:
    """All figures; the bank lies in a folder within `folder` meanwhile."""
    with work_folder(folder, rows.bytes * 11 // 10) as place:
        write_bank(place / "bank", rows)
        before = standing()
        with Bank(place / "bank") as bank:
            race = Race(bank, rows)
            figures = speeds(race, rounds) | {"growth_mb": growth(race)}
        return {
            "clips": rows.clips,
            "gigabytes": round(rows.bytes / 1e9, 3),
            "rounds": rounds,
            "threads": race.loader.threads,
            **figures,
            "bars": BARS,
            "left": more(before, standing()),
            "left_by_ctrl_c": left_by(place / "bank", signal.SIGINT),
            "left_by_kill": left_by(place / "bank", signal.SIGKILL),
        }


class Race:
    """The plain reader and the loader on one bank, by turns, a few epochs in random order each pass."""

    def __init__(self, bank: Bank, rows: SampleRows) -> None:
        self.bank = bank
        self.names = [array_name(block, "out") for block in rows.blocks]
        self.loader = RowLoader(bank, self.names)
        self.order = RowOrder(bank.rows(), seed=0)
        self.epoch_steps = rows.clips // BATCH
        self.steps = -(-STEPS // self.epoch_steps) * self.epoch_steps
        self.done = 0
        self.probe = Probe(len(rows.blocks) * rows.width)
        self.buffers = [np.zeros((BATCH, *rows.shape), np.float16) for _ in rows.blocks]
        self.step_seconds = 0.0

    def read(self) -> None:
        """A pass of the plain reader."""
        for rows in self.order.batches(self.next_steps(self.steps), BATCH):
            for name, buffer in zip(self.names, self.buffers, strict=True):
                self.bank.read(name, rows, buffer)

    def train(self, steps: int = 0) -> None:
        """A pass of the loader (0), or some steps, every batch used up by a step of training."""
        for batch in self.loader.batches(self.order.batches(self.next_steps(steps or self.steps), BATCH)):
            begun = time.thread_time()
            self.probe.step([batch[name] for name in self.names])
            self.step_seconds += time.thread_time() - begun

    def next_steps(self, count: int) -> range:
        """Steps that nobody has taken yet."""
        self.done += count
        return range(self.done - count, self.done)


class Probe:
    """A linear classifier of max-pooled tokens, and its optimiser."""

    def __init__(self, width: int) -> None:
        self.head = torch.nn.Linear(width, CLASSES)
        self.optimizer = torch.optim.SGD(self.head.parameters(), lr=1e-3)
        self.targets = torch.arange(BATCH) % CLASSES

    def step(self, values: list[NDArray[np.float16]]) -> None:
        """One step on a batch, (N, T, L, C) of each block."""
        pooled = torch.from_numpy(np.concatenate([largest(block) for block in values], axis=1))
        loss = F.cross_entropy(self.head(pooled), self.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def largest(tokens: NDArray[np.float16]) -> NDArray[np.float32]:
    """(N, C) largest value of each channel over (N, T, L, C), at least 0. From 0 on, the bits of floats are
    in the order of the floats, and those of negative ones are negative integers.
    """
    bits = tokens.reshape(len(tokens), -1, tokens.shape[-1]).view(np.int16)
    return np.maximum(bits.max(axis=1), 0).view(np.float16).astype(np.float32)


def speeds(race: Race, rounds: int) -> dict[str, Any]:
    """Medians of rounds; one that is not counted verifies the rows and warms everything."""
    reader, loader = [], []
    for number in range(rounds + 1):
        first, second = (race.read, race.train) if number % 2 else (race.train, race.read)
        taken = {first: seconds(first), second: seconds(second)}
        if number:
            reader.append(taken[race.read])
            loader.append(taken[race.train])
        else:
            race.step_seconds = 0.0
    size = race.steps * sum(buffer.nbytes for buffer in race.buffers) / 1e6
    ratios = [plain / ours for plain, ours in zip(reader, loader, strict=True)]
    return {
        "over_reader": round(statistics.median(ratios), 3),
        "mb_per_second": round(size / statistics.median(loader)),
        "reader_mb_per_second": round(size / statistics.median(reader)),
        "step_share": round(race.step_seconds / sum(loader), 3),
    }


def seconds(run: Callable[[], None]) -> float:
    """Seconds that one call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def growth(race: Race) -> float:
    """MB by which the resident memory grew from the end of the first epoch to that of the last."""
    held = []
    for _ in range(EPOCHS):
        race.train(race.epoch_steps)
        held.append(psutil.Process().memory_info().rss)
    return round((held[-1] - held[0]) / 1e6, 2)


if __name__ == "__main__":
    main()
