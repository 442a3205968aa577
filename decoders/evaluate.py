"""How good a decoder is: every clip once, all its views, the mean of their softmaxes.

The score of a clip is the mean over views of softmax(logits), as EVL evaluates. A run directory is all that
is needed beside a bank; the bank may be another than the one trained on, if the same backbone made it. The
report is plain JSON: top-1, top-5, accuracy of each class, confusion matrix (rows: truth).
"""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from einops import reduce
from rich.console import Console
from rich.table import Table

from decoders.clips import LabelledClips, class_list, labelled_clips, stacked
from decoders.config import TrainConfig
from decoders.dataset import Batch, FeatureReader, evaluation_batches, open_features
from decoders.evl import EVLDecoder, load_evl_weights
from decoders.precision import pick_device
from decoders.shared_reader import SharedReader
from decoders.task import Task, build_decoder, check_bank
from storage import Bank
from training.metrics import ClassificationScores
from training.run import RunDirectory, RunError, write_json
from training.team import ALONE, Team

EVAL_ROWS = 32


def evaluate(
    run: Path, *, bank: str | Path, split: str = "test", label: str = "", device: str = "auto"
) -> dict[str, Any]:
    """Evaluate a run's newest checkpoint on a split (empty: every clip) and write RUN/evaluation-SPLIT.json.

    Args:
        run: run directory.
        bank: the bank with the clips.
        split: the split's name.
        label: label set of the clips; empty takes the one trained on. Another one must have the same classes.
        device: auto, cpu or cuda.

    Raises:
        ValueError: no run, no checkpoint, a bank made by another backbone, an empty split, other classes.
    """
    start = time.perf_counter()
    directory = RunDirectory.read(run)
    config, task = (
        TrainConfig.from_json(directory.config),
        Task.from_json(directory.document["task"]),
    )
    opened, place = Bank.open(bank), pick_device(device)
    check_bank(task, opened, config)
    model = _load(directory, task, config).to(place)
    name = label or task.label
    _check_classes(opened, name, task)
    reader = open_features(opened, task, config, place)
    clips = labelled_clips(opened, split=split, label=name, classes=task.classes, arrays=reader.arrays)
    exam = Exam(model=model, reader=reader, clips=clips, classes=task.classes)
    [scores] = score([exam])
    report = {
        "run": str(run),
        "checkpoint": directory.checkpoint.name if directory.checkpoint else "",
        "bank": opened.path,
        "fingerprint": opened.fingerprint,
        "split": split,
        "label": name,
        "clips": len(clips),
        "views": clips.rows.shape[1],
        "unlabelled": clips.unlabelled,
        "chance": 1 / len(task.classes),
        **scores,
        "seconds": round(time.perf_counter() - start, 3),
    }
    write_json(report_file(run, split), report)
    return report


def report_file(run: Path, split: str) -> Path:
    """Where `evaluate` keeps its report on a split (empty: every clip)."""
    return run / f"evaluation-{split or 'all'}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exam:
    """A model, and the clips to score it on."""

    model: EVLDecoder
    reader: FeatureReader
    clips: LabelledClips
    classes: Sequence[str]


def score(exams: Sequence[Exam], team: Team = ALONE) -> list[dict[str, Any]]:
    """Scores of each (see `ClassificationScores.compute`). All are of the same clips, which are read once,
    each by one process of the team; all get the scores.
    """
    shared = SharedReader([exam.reader for exam in exams])
    clips = stacked([exam.clips for exam in exams])
    clips = clips.part(team.part(len(clips)))
    scores = [ClassificationScores(exam.classes, exam.reader.device) for exam in exams]
    with closing(evaluation_batches(shared.union, clips, EVAL_ROWS)) as batches:
        for batch in batches:
            for exam, found, part in zip(exams, scores, shared.parts(batch), strict=True):
                found.update(_probabilities(exam, part), part.targets)
    return [found.compute() for found in scores]


@torch.no_grad()
def _probabilities(exam: Exam, batch: Batch) -> torch.Tensor:
    """(clips, K) of a batch."""
    return mean_over_views(exam.model(batch.features), len(batch.targets))


def mean_over_views(logits: torch.Tensor, clips: int) -> torch.Tensor:
    """(clips * V, K) logits, a clip's views side by side, to (clips, K) mean probabilities."""
    return reduce(logits.softmax(dim=-1), "(n v) k -> n k", "mean", n=clips)


def _load(directory: RunDirectory, task: Task, config: TrainConfig) -> EVLDecoder:
    if directory.checkpoint is None:
        raise RunError(f"expected a checkpoint in {directory.path}, found none yet; let it train on")
    model = build_decoder(task, config)
    load_evl_weights(model, directory.checkpoint)
    return model


def _check_classes(bank: Bank, label: str, task: Task) -> None:
    """Another label set than the one trained on must name the same classes."""
    if label != task.label and class_list(bank.table, label) != task.classes:
        raise ValueError(
            f"the run learned {task.label!r} ({', '.join(task.classes[:5])}), asked for {label!r} "
            f"({', '.join(class_list(bank.table, label)[:5])}); these are other classes"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateCommand:
    """Evaluate a trained decoder on a split of a bank."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run directory."""
    bank: str
    """Folder or URL of the bank with the clips."""
    split: str = "test"
    """Split to evaluate on; empty takes every clip."""
    label: str = ""
    """Label set; empty takes the one trained on."""
    device: str = "auto"
    """auto, cpu or cuda."""
    json: bool = False
    """Print the whole report as JSON instead of a table."""


def main(argv: Sequence[str]) -> int:
    """`framebank evaluate RUN --bank BANK [--split test] [--label NAME]`."""
    command = tyro.cli(EvaluateCommand, prog="framebank evaluate", args=argv)
    report = evaluate(
        command.run, bank=command.bank, split=command.split, label=command.label, device=command.device
    )
    console = Console()
    if command.json:
        console.print_json(json.dumps(report))
    else:
        console.print(_headline(report))
        console.print(_table(report))
    return 0


def _headline(report: dict[str, Any]) -> str:
    where = report["split"] or "all splits"
    return f"{report['label']} on {where}: {report['clips']} clips x {report['views']} views"


def _table(report: dict[str, Any]) -> Table:
    title = _headline(report)
    table = Table("class", "clips", "accuracy", title=title)
    for name, row in report["per_class"].items():
        table.add_row(name, str(row["items"]), "-" if row["accuracy"] is None else f"{row['accuracy']:.3f}")
    table.add_section()
    for name in ("top1", "top5", "chance"):
        table.add_row(name, str(report["clips"]), f"{report[name]:.3f}")
    return table
