"""The picture of an ablation: every decoder a row, grouped by question, every seed a dot."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROW = 0.3
"""Inches a decoder takes."""
GAP = 1.7
"""Rows between two questions, with the question's sentence in them."""


def plot_accuracies(path: Path, figures: dict[str, Any]) -> None:
    """Top-1 by question and decoder, a column for each label and split: seeds as dots, their mean as a bar.
    Axes show what was reached, not all from 0 to 100.
    """
    places = places_of(figures["questions"])
    lowest = max(places.values()) + 1
    panels = figures["panels"]
    size = (3.2 + 3.1 * len(panels), 1.1 + ROW * lowest)
    figure = Figure(figsize=size, layout="constrained")
    columns = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for column, (name, panel) in zip(columns, panels.items(), strict=True):
        for number, question in enumerate(figures["questions"]):
            _draw_question(column, question, name, places, mpl.colormaps["tab10"](number))
        column.set_title(f"{name}\nchance {100 * panel['chance']:.1f} %", fontsize=10)
        column.set(xlabel="top-1 in %", ylim=(lowest - 0.3, -1.2))
        column.margins(x=0.08)
        column.grid(axis="x", color="0.9")
        column.set_axisbelow(True)
        column.tick_params(axis="y", length=0)
        column.spines[["top", "right", "left"]].set_visible(False)
    columns[0].set_yticks(list(places.values()), [variant for _, variant in places], fontsize=9)
    for question in figures["questions"]:
        _ask(columns[0], question, places)
    legend = "dot: a seed    bar: their mean    dashed: what the others are compared with"
    figure.supxlabel(legend, fontsize=9)
    figure.savefig(path, dpi=130)


def places_of(questions: list[dict[str, Any]]) -> dict[tuple[str, str], float]:
    """Where the row of each (question, variant) is, downwards from 0."""
    places, place = {}, 0.0
    for question in questions:
        for variant in question["rows"]:
            places[question["name"], variant] = place
            place += 1
        place += GAP - 1
    return places


def _draw_question(
    axes: Axes, question: dict[str, Any], panel: str, places: dict[tuple[str, str], float], colour: Any
) -> None:
    """Dots and means of a question's decoders, and a line where its reference is."""
    for variant, cells in question["rows"].items():
        cell, place = cells[panel], places[question["name"], variant]
        if cell["mean"] is None:
            continue
        values = [100 * value for value in cell["top1"].values()]
        axes.plot(values, [place] * len(values), "o", color=colour, markersize=5, alpha=0.55, mew=0)
        axes.plot([100 * cell["mean"]] * 2, [place - 0.32, place + 0.32], color=colour, linewidth=2.5)
    reference = question["rows"][question["reference"]][panel]["mean"]
    if reference is not None:
        rows = [places[question["name"], variant] for variant in question["rows"]]
        span = [rows[0], rows[-1] + 0.4]
        axes.plot([100 * reference] * 2, span, color=colour, linewidth=1, linestyle="--", alpha=0.6)


def _ask(axes: Axes, question: dict[str, Any], places: dict[tuple[str, str], float]) -> None:
    """The question above its rows."""
    first = min(place for (name, _), place in places.items() if name == question["name"])
    axes.annotate(
        question["asks"],
        xy=(0, first - 0.72),
        xycoords=("axes fraction", "data"),
        fontsize=9,
        fontweight="bold",
        annotation_clip=False,
    )
