"""Eight decoders on one read of a bank, against one, and against eight runs one after another.

    python -m benchmarks.heads [--quick] [--dtype float16|int8] [--folder FOLDER]

The bank has 32 clips of a ViT-B/16 on 8 frames, 4 blocks with tokens and maps, 450 MB in fp16 (quick: 16
small clips, 1 MB); a batch is 8 clips in random order. The heads are EVL decoders of a layer a block, without
maps and again with maps, that differ in seed, rate and decay and share the order of clips. Time is that of
steps 2 to 6 (quick: 2 to 9) of `train` and `train_heads` themselves; opening, first step and saving are left
out, since a real run has thousands of steps. torch uses all cores.

`eight_over_one`: reading is the limit. Every read of a bank is held up so that all together keep a rate, at
which one head alone waits for data at least nine tenths of its time (`one_waits`: the share that its thread
did not compute). How many times as long eight heads take; of both kinds the worse.

`eight_over_sequential`: the bank lies in the page cache. Time of eight heads together over that of eight runs
one after another, in turns, median of rounds. The limit is 0.8 without maps and 1.0 with maps, where the step
takes longer and reading is a smaller part; reported is the kind that is worse against its own limit, as
`eight_over_sequential_kind`.

`losses_equal`: every loss of every head is that of its solo run, to the bit.

Keys: `eight_over_one`, `eight_over_sequential`, `eight_over_sequential_kind`, `losses_equal`, `one_waits`,
`dtype` of the bank, `kinds`: the same and seconds a step of each kind.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.disk import work_folder
from benchmarks.labelled_bank import write_bank
from benchmarks.result import write_result
from benchmarks.rounds import ratio, rounded
from benchmarks.sample_rows import SampleRows
from decoders.config import DecoderConfig, TrainConfig
from decoders.heads import train_heads
from decoders.train import train
from storage import (
    MAPS,
    Bank,
    array_name,
    scales_of,
)
from training.optim import OptimConfig

BATCH = 8
LIMITS = {"no_maps": 0.8, "maps": 1.0}
"""Of `eight_over_sequential`."""


@dataclass(frozen=True, slots=True)
class Size:
    """A bank, and how much is measured."""

    rows: SampleRows
    steps: int
    """Steps whose time counts, after one whose does not."""
    rounds: int
    heads: int = 8
    waits: float = 0.9
    """Share of its time that one head waits where reading is the limit."""


FULL = Size(SampleRows(clips=32), 5, 3)
QUICK = Size(SampleRows(clips=16, blocks=(0, 1), frames=4, grid=(5, 5), width=128), 8, 1)


class Enough(Exception):
    """All steps that count are done."""


class Timer:
    """Watches heads: when steps end, what their losses are; ends the run after the last that counts."""

    def __init__(self, heads: int, steps: int) -> None:
        self.losses: dict[str, list[float]] = {}
        self._last, self._awaited = steps + 1, heads
        self._wall: dict[int, float] = {}
        self._computing: dict[int, float] = {}

    def __call__(self, name: str, done: int, values: Mapping[str, float]) -> None:
        """A line of a head's log; raises Enough."""
        self.losses.setdefault(name, []).append(values["loss"])
        self._wall[done], self._computing[done] = time.perf_counter(), time.thread_time()
        if sum(len(losses) == self._last for losses in self.losses.values()) == self._awaited:
            raise Enough

    @property
    def seconds(self) -> float:
        """Of all steps that count."""
        return self._wall[self._last] - self._wall[1]

    @property
    def computing(self) -> float:
        """Seconds thereof in which the training thread computed."""
        return self._computing[self._last] - self._computing[1]

    @property
    def waiting(self) -> float:
        """The share of them in which it did not."""
        return 1 - self.computing / self.seconds


class Network:
    """A place that gives a number of bytes a second, however many ask."""

    def __init__(self, rate: float) -> None:
        self._rate, self._free, self._lock = rate, 0.0, threading.Lock()

    def wait(self, size: int) -> None:
        """As long as these bytes take to arrive, after all that were asked for before."""
        with self._lock:
            now = time.perf_counter()
            self._free = max(self._free, now) + size / self._rate
            seconds = self._free - now
        time.sleep(seconds)

    @contextmanager
    def under_banks(self) -> Iterator[None]:
        """All banks of this process lie there meanwhile."""
        read = Bank.read

        def slow(bank: Bank, name: str, rows: Any, out: np.ndarray | None = None) -> np.ndarray:
            found = read(bank, name, rows, out)
            self.wait(found.nbytes)
            return found

        with patch.object(Bank, "read", slow):
            yield


class Race:
    """Heads of one kind on one bank, together and alone."""

    def __init__(self, bank: Path, size: Size, *, maps: bool) -> None:
        self.bank, self.size = bank, size
        self.configs = {f"head{number}": head(number, size, maps=maps) for number in range(size.heads)}
        taps = ("out", *MAPS) if maps else ("out",)
        names = [array_name(block, tap) for block in size.rows.blocks for tap in taps]
        known = Bank(bank).layouts
        layouts = [known[each] for name in names for each in (name, *scales_of(name, known))]
        row = sum(np.dtype(layout.dtype).itemsize * int(np.prod(layout.row_shape)) for layout in layouts)
        self.batch_bytes = BATCH * row

    def together(self) -> Timer:
        """All heads on one read."""
        timer, folder = Timer(self.size.heads, self.size.steps), self.bank.parent / "runs"
        with ended(folder):
            train_heads(self.configs, bank=self.bank, folder=folder, watch=timer)
        return timer

    def alone(self, name: str) -> Timer:
        """One head by itself."""
        timer, folder = Timer(1, self.size.steps), self.bank.parent / "runs"
        with ended(folder):
            train(self.configs[name], bank=self.bank, run=folder / name, watch=partial(timer, name))
        return timer

    def slow(self) -> dict[str, float]:
        """One head and all where reading is the limit: the rate goes down until one waits long enough."""
        one = self.alone("head0")
        rate = self.batch_bytes * self.size.steps / one.computing * (1 - self.size.waits)
        while one.waiting < self.size.waits:
            rate *= 0.9
            with Network(rate).under_banks():
                one = self.alone("head0")
        with Network(rate).under_banks():
            eight = self.together()
        return {
            "eight_over_one": rounded(eight.seconds / one.seconds),
            "one_waits": rounded(one.waiting),
            "slow_mb_per_second": rounded(rate / 1e6),
        }

    def fast(self) -> dict[str, Any]:
        """All together and one after another, from the page cache; a first round is not counted."""
        eight, sequence, equal = [], [], True
        for number in range(self.size.rounds + 1):
            together, alone = in_turn(number, self.together, self._one_after_another)
            losses = {name: timer.losses[name] for name, timer in alone.items()}
            equal = equal and losses == together.losses
            if number:
                eight.append(together.seconds)
                sequence.append(sum(timer.seconds for timer in alone.values()))
        return {
            "eight_over_sequential": ratio(eight, sequence),
            "losses_equal": equal,
            "step_seconds_together": self._per_step(eight),
            "step_seconds_alone": rounded(self._per_step(sequence) / self.size.heads),
        }

    def _one_after_another(self) -> dict[str, Timer]:
        return {name: self.alone(name) for name in self.configs}

    def _per_step(self, seconds: Sequence[float]) -> float:
        return rounded(statistics.median(seconds) / self.size.steps)


def main() -> None:
    """Write a bank, measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="Eight decoders on one read of a bank.")
    parser.add_argument("--quick", action="store_true", help="small rows")
    parser.add_argument("--folder", type=Path, help="where files are made (default: the temporary folder)")
    parser.add_argument("--dtype", choices=["float16", "int8"], default="float16", help="of the bank")
    options = parser.parse_args()
    figures = measure(QUICK if options.quick else FULL, dtype=options.dtype, folder=options.folder)
    _print_table(figures)
    write_result("heads-quick" if options.quick else "heads", figures)


def measure(size: Size, *, dtype: str = "float16", folder: Path | None = None) -> dict[str, Any]:
    """All figures; the bank lies in a folder within `folder` meanwhile."""
    with work_folder(folder, 2 * size.rows.bytes) as place:
        write_bank(place / "bank", size.rows, dtype)
        kinds = {}
        for kind in LIMITS:
            race = Race(place / "bank", size, maps=kind == "maps")
            kinds[kind] = race.fast() | race.slow()
    worse = max(LIMITS, key=lambda kind: kinds[kind]["eight_over_sequential"] / LIMITS[kind])
    return {
        "eight_over_one": max(figures["eight_over_one"] for figures in kinds.values()),
        "eight_over_sequential": kinds[worse]["eight_over_sequential"],
        "eight_over_sequential_kind": worse,
        "losses_equal": all(figures["losses_equal"] for figures in kinds.values()),
        "one_waits": min(figures["one_waits"] for figures in kinds.values()),
        "dtype": dtype,
        "kinds": kinds,
        "bars": {"eight_over_one": 1.5, "eight_over_sequential": LIMITS[worse]},
    }


def head(number: int, size: Size, *, maps: bool) -> TrainConfig:
    """One of the heads."""
    decoder = DecoderConfig(layers=len(size.rows.blocks), heads=size.rows.width // 64, cross_frame=maps)
    return TrainConfig(
        decoder=decoder,
        optim=OptimConfig(lr=1e-4 * (1 + number), weight_decay=0.01 * (1 + number)),
        split="",
        steps=10**6,
        batch_size=BATCH,
        seed=number,
        order_seed=0,
        log_every=1,
        save_every=10**6,
    )


@contextmanager
def ended(folder: Path) -> Iterator[None]:
    """Runs below `folder` that end when it is enough; their directories are removed."""
    with suppress(Enough):
        yield
    rmtree(folder)


def in_turn(number: int, left: Callable[[], Any], right: Callable[[], Any]) -> tuple[Any, Any]:
    """What both return; the right one goes first in odd rounds."""
    if number % 2:
        second = right()
        return left(), second
    return left(), right()


def _print_table(figures: Mapping[str, Any]) -> None:
    table = Table("figure", *figures["kinds"], title="heads on one read")
    for name in figures["kinds"]["maps"]:
        table.add_row(name, *(str(kind[name]) for kind in figures["kinds"].values()))
    Console(stderr=True).print(table)


if __name__ == "__main__":
    main()
