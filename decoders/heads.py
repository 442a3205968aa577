"""Many decoders, one read of the bank.

Decoders are light: where a bank is read over a network, a run waits for data most of its time, and the next
run waits for the same data again. Here each batch is read and decoded once, and every head, a decoder with a
config and a run directory of its own, learns from it. Heads may differ in rate, decay, depth, width, modules,
labels, steps and seed; what they must agree on is which rows are read when, and in what type.

A head's losses are those that it would get alone, bit for bit (same machine, same number of threads), and its
run directory is what `train` makes of its config: `framebank train resume` goes on with it, `framebank
evaluate` tests it. The price is memory: all decoders and their optimisers are there at once, though
activations are those of one.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decoders.config import TrainConfig
from decoders.draws import seeded
from decoders.evl import load_evl_weights
from decoders.head import Head
from decoders.loop import Loop
from decoders.precision import pick_device
from decoders.result import TrainResult, result_of
from decoders.run_data import RunData, open_data
from decoders.task import Task, build_decoder
from decoders.trainer import Trainer
from storage import Bank
from training.interrupt import StopRequest
from training.losses import LossLines, Watch
from training.metrics import MetricsLog
from training.run import RunDirectory, RunError, open_run
from training.services import open_trackers, refuse_missing_trackers
from training.team import ALONE, Team

HeadsWatch = Callable[[str, int, Mapping[str, float]], None]
"""Called with a head's name, its steps done and the values of each line that enters its metrics.jsonl."""
AGREED = ("split", "views", "batch_size", "batch_split", "precision")
"""Fields of a config that decide what is read when; beside the seed of the order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A head that is asked for."""

    config: TrainConfig
    run: Path
    watch: Watch | None
    until: int | None = None
    """Stop after so many steps, evaluated and saved; None takes all."""
    log_to: tuple[str, ...] = ()
    """Services that get its log as well: wandb, mlflow."""


def train_heads(
    configs: Mapping[str, TrainConfig],
    *,
    bank: str | Path,
    folder: Path,
    eval_bank: str | Path | None = None,
    device: str = "auto",
    watch: HeadsWatch | None = None,
    until: Mapping[str, int] | None = None,
    log_to: Sequence[str] = (),
    together: Callable[..., list[TrainResult]] | None = None,
) -> dict[str, TrainResult]:
    """Train each config in the run directory `folder`/NAME, all on one read of `bank`.

    Called again, it goes on: from the head that is furthest behind, and each head takes the steps that it has
    not done. A head that diverges drops out, its result says so, and the others go on. SIGINT and SIGTERM end
    the current step, save every head and raise TrainingStopped.

    Args:
        configs: by name of the head. They agree on the order (`order_seed`, or else `seed`), `split`,
            `views`, `batch_size`, `batch_split` and `precision`; labels may differ where the same clips have
            them.
        bank: folder or URL of the bank.
        folder: of the run directories.
        eval_bank: bank of the `eval_split`, where it is another one.
        device: auto, cpu or cuda.
        watch: told of every logged line.
        until: stop the heads of these names after so many steps, evaluated and saved; the schedule stays that
            of all steps.
        log_to: services that get every head's log as well, a run each: wandb, mlflow.
        together: what trains them; None is `train_together`. For several processes give
            `partial(decoders.workers.train_on_workers, crew=Crew(workers=4))`.

    Raises:
        ConnectionError: such a service does not answer at the start.
        ValueError: heads that cannot read together; the bank cannot serve a config; a run directory holds
            another run, or another process has it open.
    """
    wrong = [name for name in configs if name in ("", ".", "..") or Path(name).name != name]
    if wrong or not configs:
        raise ValueError(f"expected names of directories for the heads, found {wrong or 'no head'}")
    entries = [
        Entry(
            config=config,
            run=folder / name,
            watch=None if watch is None else partial(watch, name),
            until=(until or {}).get(name),
            log_to=tuple(log_to),
        )
        for name, config in configs.items()
    ]
    results = (together or train_together)(entries, bank=bank, eval_bank=eval_bank, device=device)
    return dict(zip(configs, results, strict=True))


def train_together(
    entries: Sequence[Entry], *, bank: str | Path, eval_bank: str | Path | None, device: str
) -> list[TrainResult]:
    """As `train_heads`, with the run directories named."""
    start = time.perf_counter()
    place = pick_device(device)
    data = open_banks(entries, bank=bank, eval_bank=eval_bank, device=place)
    session = {"bank": str(bank), "eval_bank": str(eval_bank or bank), "device": str(place)}
    with ExitStack() as stack:
        runs = stack.enter_context(open_runs(entries, data, session))
        heads = [
            open_head(entry, found, run, place) for entry, found, run in zip(entries, data, runs, strict=True)
        ]
        return learn(heads, stack.enter_context(StopRequest()), start=start)


def learn(heads: Sequence[Head], stop: StopRequest, *, start: float, team: Team = ALONE) -> list[TrainResult]:
    """Take the steps that are left; the results of a call that began at `start` (time.perf_counter)."""
    with ExitStack() as stack:
        for head in heads:
            stack.callback(head.close)
        Loop(heads, team).run(stop)
    return [result_of(head, time.perf_counter() - start) for head in heads]


def open_banks(
    entries: Sequence[Entry], *, bank: str | Path, eval_bank: str | Path | None, device: torch.device
) -> list[RunData]:
    """What each head reads. Raises ValueError where a bank cannot serve one, or they cannot read together, or
    a service that is to get the log is not installed.
    """
    for entry in entries:
        refuse_missing_trackers(entry.log_to)
    train_on, test_on = Bank.open(bank), Bank.open(eval_bank or bank)
    _refuse_other_settings(entries)
    data = [open_data(entry.config, train_on, test_on, device) for entry in entries]
    _refuse_other_clips(entries, data)
    return data


@contextmanager
def open_runs(
    entries: Sequence[Entry], data: Sequence[RunData], session: Mapping[str, Any]
) -> Iterator[list[RunDirectory]]:
    """Their run directories, this process's alone until the end."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                open_run(entry.run, identity(entry.config, found), {**session, "log_to": list(entry.log_to)})
            )
            for entry, found in zip(entries, data, strict=True)
        ]


def _refuse_other_settings(entries: Sequence[Entry]) -> None:
    """Raise ValueError where the first head and another would not read the same rows at the same time."""
    first, *others = entries
    for other in others:
        ours, theirs = agreed(first.config), agreed(other.config)
        found = [
            f"{name} ({ours[name]!r} in {first.run.name}, {theirs[name]!r} in {other.run.name})"
            for name in ours
            if ours[name] != theirs[name]
        ]
        if found:
            raise ValueError(
                f"expected heads that read the same rows at the same time, found others in {', '.join(found)}"
                "; make them equal, or train these heads apart"
            )


def agreed(config: TrainConfig) -> dict[str, Any]:
    """What decides which rows a head reads when, and in what type; heads on one read have the same."""
    return {name: getattr(config, name) for name in AGREED} | {"order_seed (or else seed)": config.order}


def _refuse_other_clips(entries: Sequence[Entry], data: Sequence[RunData]) -> None:
    """Raise ValueError where a head would alone learn from other clips than the first."""
    first = data[0].clips
    for entry, other in zip(entries, (found.clips for found in data), strict=True):
        if not np.array_equal(first.rows, other.rows):
            raise ValueError(
                f"expected the same clips for every head, found {len(first)} with a "
                f"{entries[0].config.label!r} for {entries[0].run.name} and {len(other)} with a "
                f"{entry.config.label!r} for {entry.run.name} (a clip needs the label, and every array that "
                "the head reads); train these heads apart"
            )


def identity(config: TrainConfig, data: RunData) -> dict[str, Any]:
    """What the run is; another one may not go on with it."""
    return {"config": config.to_json(), "task": data.task.to_json(), "data": data.describe()}


def open_head(
    entry: Entry, data: RunData, directory: RunDirectory, device: torch.device, *, team: Team = ALONE
) -> Head:
    """A head as its run directory left it, or a new one."""
    trainer, done = _begin(entry.config, data.task, directory, device, team)
    if mark := directory.divergence:
        done = mark["step"]
    log = None
    if team.leads:
        log = MetricsLog(entry.run, done=done, trackers=open_trackers(entry.log_to, directory))
    head = Head(trainer, data, directory, LossLines(log, entry.watch, team=team), done)
    if entry.until is not None:
        head.goal = min(head.goal, entry.until)
    return head


def _begin(
    config: TrainConfig, task: Task, directory: RunDirectory, device: torch.device, team: Team
) -> tuple[Trainer, int]:
    """A trainer as the newest checkpoint left it, or a new one; with the steps done."""
    with seeded(config.seed):
        model = build_decoder(task, config)
    newest = directory.checkpoint
    if newest is None and config.init:
        load_evl_weights(model, Path(config.init))
    trainer = Trainer(config, model, device, team=team)
    done = 0 if newest is None else trainer.restore(newest)
    if not team.same(done):
        raise RunError(
            f"expected all workers to see the newest checkpoint of {directory.path}, found that some see an "
            "older one; put the run on a folder that all machines share"
        )
    team.follow(trainer.model.state_dict().values())
    return trainer, done
