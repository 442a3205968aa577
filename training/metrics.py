"""What a run measures and where it is written: classification scores, metrics.jsonl, TensorBoard.

metrics.jsonl is the record (one JSON object a line, each with its `step`, the number of steps done by then),
TensorBoard the picture of it. When a run goes on from a checkpoint, the lines that the interrupted run wrote
past that checkpoint are dropped first, so that the file reads as if nothing had happened. Trackers
(`training/trackers.py`) are sent the same lines.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard.writer import SummaryWriter
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from training.trackers import Tracker

METRICS = "metrics.jsonl"
"""Name of the record in a run directory."""


class ClassificationScores:
    """Top-1, top-5, accuracy of each class and confusion matrix, gathered batch by batch.

    Top-5 means top-min(5, K). Classes without an item have accuracy None and don't enter the mean over
    classes.
    """

    def __init__(self, classes: Sequence[str], device: torch.device | str = "cpu") -> None:
        self.classes = tuple(classes)
        count = len(self.classes)
        if count < 2:
            raise ValueError(f"expected at least 2 classes to score, found {count}: {list(self.classes)}")
        self._top1 = MulticlassAccuracy(count, average="micro").to(device)
        self._top5 = MulticlassAccuracy(count, top_k=min(5, count), average="micro").to(device)
        self._confusion = MulticlassConfusionMatrix(count).to(device)

    def update(self, scores: torch.Tensor, targets: torch.Tensor) -> None:
        """Add a batch: scores (N,K), the higher the likelier, and targets (N,)."""
        scores = scores.float()
        for metric in (self._top1, self._top5, self._confusion):
            metric.update(scores, targets)

    def compute(self) -> dict[str, Any]:
        """Plain JSON values; rows of `confusion` are the true classes, columns the predicted ones."""
        confusion = self._confusion.compute().tolist()
        counts = [sum(row) for row in confusion]
        accuracy = [
            row[i] / n if n else None for i, (row, n) in enumerate(zip(confusion, counts, strict=True))
        ]
        known = [value for value in accuracy if value is not None]
        return {
            "top1": float(self._top1.compute()),
            "top5": float(self._top5.compute()),
            "mean_class": sum(known) / len(known) if known else 0.0,
            "per_class": {
                name: {"accuracy": value, "items": n}
                for name, value, n in zip(self.classes, accuracy, counts, strict=True)
            },
            "confusion": confusion,
        }


class MetricsLog:
    """Writer of metrics.jsonl and TensorBoard events for one run that begins, or goes on, after `done`
    steps.
    """

    def __init__(self, folder: Path, *, done: int = 0, trackers: Sequence[Tracker] = ()) -> None:
        self.path = folder / METRICS
        drop_lines_after(self.path, done)
        self._file = self.path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)
        self._trackers = tuple(trackers)
        for line in read_metrics(self.path) if trackers else ():
            self._send(line.pop("step"), line)  # each sends on what it has not sent yet

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, and one point a value under the same names on TensorBoard."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._send(step, values)

    def flush(self) -> None:
        """Hand everything written so far to the operating system, and to the trackers."""
        self._file.flush()
        self._board.flush()
        for tracker in self._trackers:
            tracker.flush()

    def close(self, *, complete: bool = True) -> None:
        """Write no more; `complete` says whether the run has come to its end."""
        self._file.close()
        self._board.close()
        for tracker in self._trackers:
            tracker.close(complete=complete)

    def _send(self, step: int, values: Mapping[str, float]) -> None:
        for tracker in self._trackers:
            tracker.write(step, values)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a last line cut short by a crash is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def drop_lines_after(path: Path, done: int) -> None:
    """Keep the lines of the first `done` steps: what the checkpoint to go on from has seen."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if line["step"] <= done]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    temporary.replace(path)
