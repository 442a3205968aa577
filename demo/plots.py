"""The report's pictures: what the videos look like, how training went, what is taken for what."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.metrics import METRICS, read_metrics
from video import Clip, Sampling, ViewPlan, decode_views

STRIPS = 8


def plot_curves(path: Path, runs: dict[str, Path]) -> None:
    """Training loss (smoothed) and validation top-1 of every run over the steps."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for name, run in runs.items():
        lines = read_metrics(run / METRICS)
        losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
        scores = [(line["step"], line["eval_top1"]) for line in lines if "eval_top1" in line]
        loss.plot(*smoothed(np.array(losses)), label=name)
        accuracy.plot(*np.array(scores).T, marker="o", label=name)
    loss.set(xlabel="step", ylabel="training loss (mean of 10 steps)")
    accuracy.set(xlabel="step", ylabel="validation top-1", ylim=(0, 1.02))
    accuracy.legend()
    figure.savefig(path, dpi=120)


def smoothed(points: np.ndarray, window: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of the running mean over `window` points."""
    window = min(window, len(points))
    kernel = np.full(window, 1 / window)
    return points[window - 1 :, 0], np.convolve(points[:, 1], kernel, "valid")


def plot_confusions(path: Path, reports: dict[str, dict[str, Any]]) -> None:
    """A confusion matrix per report, rows the truth, each row adding up to 1."""
    largest = max(len(report["per_class"]) for report in reports.values())
    figure = Figure(figsize=(2 + 4.6 * len(reports), 3 + largest * 0.16), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(reports)))
    for place, (title, report) in zip(axes, reports.items(), strict=True):
        draw_confusion(place, title, report)
    figure.savefig(path, dpi=110)


def draw_confusion(axes: Axes, title: str, report: dict[str, Any]) -> None:
    """One confusion matrix."""
    counts = np.array(report["confusion"], dtype=float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap=mpl.colormaps["Blues"])
    names = list(report["per_class"])
    size = 8 if len(names) <= 16 else 6
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true", title=f"{title}: {report['top1']:.2f}")


def plot_strips(path: Path, clips: list[tuple[str, Path]]) -> None:
    """One row of frames per clip: what the decoders have to tell apart."""
    plan = ViewPlan(sampling=Sampling(kind="tsn", frames=STRIPS), size=64)
    figure = Figure(figsize=(8, 0.92 * len(clips)), layout="constrained")
    grid = np.atleast_2d(figure.subplots(len(clips), STRIPS))
    for row, (title, file) in zip(grid, clips, strict=True):
        frames = decode_views(Clip(key=title, path=str(file)), plan).frames[0]
        for axes, frame in zip(row, frames, strict=True):
            axes.imshow(frame)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(path, dpi=110)
