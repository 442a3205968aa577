"""A sweep as a picture: every trial's validation curve, and the scores against each setting that varies."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from decoders.sweeps.standing import curve
from decoders.sweeps.trials import shown

GREY, WINNER, STOPPED = "0.72", "tab:red", "tab:blue"
COLUMNS, TICKS = 3, 6


def plot_sweep(path: Path, report: Mapping[str, Any], trials: Path) -> None:
    """Draw what sweep.json says; `trials` has the run directories."""
    names = list(report["sweep"]["vary"])
    rows = 1 + math.ceil(len(names) / COLUMNS)
    figure = Figure(figsize=(11, 3.6 + 2.9 * (rows - 1)), layout="constrained")
    grid = figure.add_gridspec(rows, COLUMNS)
    chosen = {winner["number"] for winner in report["winners"]}
    draw_curves(figure.add_subplot(grid[0, :]), report["settings"], chosen, trials)
    for place, name in enumerate(names):
        axes = figure.add_subplot(grid[1 + place // COLUMNS, place % COLUMNS])
        draw_scores(axes, name, report["settings"], chosen)
        if place == 0:
            _legend(axes)
    temporary = path.with_name(path.name + ".tmp")
    figure.savefig(temporary, dpi=120, format="png")
    temporary.replace(path)


def draw_curves(axes: Axes, settings: Sequence[Mapping[str, Any]], chosen: set[int], trials: Path) -> None:
    """Validation top-1 over the steps, a line a trial, the winner's on top; a cross where one diverged."""
    for setting in reversed(settings):
        won = setting["number"] in chosen
        for trial in setting["trials"]:
            points = curve(trials / trial)
            if not points:
                continue
            style = {"color": WINNER, "linewidth": 2.0} if won else {"color": GREY, "linewidth": 0.9}
            label = (
                f"winner, setting {setting['number']:03}" if won and trial == setting["trials"][0] else None
            )
            axes.plot(*zip(*points, strict=True), marker="." if not won else "o", label=label, **style)
            if trial in setting["diverged"]:
                axes.plot(*points[-1], marker="x", color="black")
    axes.set(xlabel="step", ylabel="validation top-1")
    axes.margins(x=0.01)
    if chosen:
        axes.legend(loc="lower right")


def draw_scores(axes: Axes, name: str, settings: Sequence[Mapping[str, Any]], chosen: set[int]) -> None:
    """The newest score of each setting against one that varies: filled where it was trained to the end."""
    scored = [some for some in settings if some["rungs"] and some["rungs"][-1]["score"] is not None]
    spots = _spots(axes, [setting["values"][name] for setting in scored])
    last = max((len(setting["rungs"]) for setting in scored), default=0)
    for setting, spot in zip(scored, spots, strict=True):
        won, ended = setting["number"] in chosen, len(setting["rungs"]) == last
        color = WINNER if won else STOPPED
        label = "trained to the end" if ended else "stopped at a rung"
        face = color if ended else "none"
        score = setting["rungs"][-1]["score"]
        place = {"zorder": 3 if won else 2, "label": "winner" if won else label}
        axes.scatter(spot, score, s=30, edgecolors=color, facecolors=face, **place)
    axes.set(xlabel=name, ylabel="validation top-1")


def _spots(axes: Axes, values: Sequence[Any]) -> list[float]:
    """Where values lie on the x axis: figures where they belong, words side by side."""
    distinct = list(dict.fromkeys(values))
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        axes.set_xticks(range(len(distinct)), [shown(value) for value in distinct])
        axes.margins(x=0.25)
        return [float(distinct.index(value)) for value in values]
    if values and min(values) > 0 and max(values) / min(values) >= 4:
        axes.set_xscale("log")
    if len(distinct) <= TICKS:
        axes.set_xticks(distinct, [shown(value) for value in distinct])
        axes.set_xticks([], minor=True)
    return [float(value) for value in values]


def _legend(axes: Axes) -> None:
    """Each kind of spot once."""
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if len(handles) > 1:
        axes.legend(handles.values(), handles.keys(), fontsize="small")
