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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decoders.clips import LabelledClips, labelled_clips
from decoders.config import TrainConfig
from decoders.dataset import FeatureReader, open_features
from decoders.draws import seeded
from decoders.evl import load_evl_weights
from decoders.head import Head, HeldOut, LossLines, RunData, Watch
from decoders.loop import Loop
from decoders.precision import pick_device
from decoders.task import Task, build_decoder, check_bank, pose_task
from decoders.trainer import Trainer
from storage import Bank
from training.interrupt import StopRequest
from training.metrics import MetricsLog, read_metrics
from training.run import RunDirectory, open_run
from training.services import open_trackers, refuse_missing_trackers

HeadsWatch = Callable[[str, int, Mapping[str, float]], None]
"""Called with a head's name, its steps done and the values of each line that enters its metrics.jsonl."""
AGREED = ("split", "views", "batch_size", "batch_split", "precision")
"""Fields of a config that decide what is read when; beside the seed of the order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What a call did for a run."""

    run: Path
    """Run directory; its metrics.jsonl has every loss."""
    steps: int
    """Steps done in all."""
    resumed_at: int
    """Steps done before this call."""
    seconds: float
    """Wall time of this call, all heads together."""
    scores: dict[str, float]
    """The newest evaluation: eval_top1 and eval_top5; empty without an eval_split."""
    diverged: str = ""
    """Why it ended early, where the loss became infinite or NaN."""


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
    results = train_together(entries, bank=bank, eval_bank=eval_bank, device=device)
    return dict(zip(configs, results, strict=True))


def train_together(
    entries: Sequence[Entry], *, bank: str | Path, eval_bank: str | Path | None, device: str
) -> list[TrainResult]:
    """As `train_heads`, with the run directories named."""
    start = time.perf_counter()
    place = pick_device(device)
    for entry in entries:
        refuse_missing_trackers(entry.log_to)
    train_on, test_on = Bank.open(bank), Bank.open(eval_bank or bank)
    _refuse_other_settings(entries)
    data = [open_data(entry.config, train_on, test_on, place) for entry in entries]
    _refuse_other_clips(entries, data)
    session = {"bank": train_on.path, "eval_bank": test_on.path, "device": str(place)}
    with ExitStack() as stack:
        heads = []
        for entry, found in zip(entries, data, strict=True):
            opened = {**session, "log_to": list(entry.log_to)}
            directory = stack.enter_context(open_run(entry.run, identity(entry.config, found), opened))
            head = open_head(entry, found, directory, place)
            stack.callback(head.close)
            heads.append(head)
        Loop(heads).run(stack.enter_context(StopRequest()))
    seconds = time.perf_counter() - start
    return [_result(head, seconds) for head in heads]


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


def open_data(config: TrainConfig, bank: Bank, eval_bank: Bank, device: torch.device) -> RunData:
    """What a run of `config` reads. Raises ValueError where the banks cannot serve it."""
    task = pose_task(bank, config)
    reader, clips = _read_split(bank, task, config, config.split, device)
    held_out = None
    if config.eval_split:
        check_bank(task, eval_bank, config)
        held_out = HeldOut(*_read_split(eval_bank, task, config, config.eval_split, device))
    drawn = clips.first_views(config.views)
    return RunData(reader=reader, clips=drawn, held_out=held_out, task=task)


def _read_split(
    bank: Bank, task: Task, config: TrainConfig, split: str, device: torch.device
) -> tuple[FeatureReader, LabelledClips]:
    """What is read of a split, and which clips it has."""
    reader = open_features(bank, task, config, device)
    label, classes = config.label, task.classes
    return reader, labelled_clips(bank, split=split, label=label, classes=classes, arrays=reader.arrays)


def identity(config: TrainConfig, data: RunData) -> dict[str, Any]:
    """What the run is; another one may not go on with it."""
    return {"config": config.to_json(), "task": data.task.to_json(), "data": data.describe()}


def open_head(entry: Entry, data: RunData, directory: RunDirectory, device: torch.device) -> Head:
    """A head as its run directory left it, or a new one."""
    trainer, done = _begin(entry.config, data.task, directory, device)
    if mark := directory.divergence:
        done = mark["step"]
    log = MetricsLog(entry.run, done=done, trackers=open_trackers(entry.log_to, directory))
    head = Head(trainer, data, directory, LossLines(log, entry.watch), done)
    if entry.until is not None:
        head.goal = min(head.goal, entry.until)
    return head


def _begin(
    config: TrainConfig, task: Task, directory: RunDirectory, device: torch.device
) -> tuple[Trainer, int]:
    """A trainer as the newest checkpoint left it, or a new one; with the steps done."""
    with seeded(config.seed):
        model = build_decoder(task, config)
    if directory.checkpoint is None:
        if config.init:
            load_evl_weights(model, Path(config.init))
        return Trainer(config, model, device), 0
    trainer = Trainer(config, model, device)
    return trainer, trainer.restore(directory.checkpoint)


def _result(head: Head, seconds: float) -> TrainResult:
    return TrainResult(
        run=head.folder,
        steps=head.done,
        resumed_at=head.begun,
        seconds=seconds,
        scores=_newest_scores(head.lines.log.path),
        diverged=str(head.diverged or ""),
    )


def _newest_scores(path: Path) -> dict[str, float]:
    lines = [line for line in read_metrics(path) if "eval_top1" in line]
    return {name: lines[-1][name] for name in ("eval_top1", "eval_top5")} if lines else {}
