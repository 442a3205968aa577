"""The trade-off as a picture: a curve a run, from its own weights to CLIP's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

MARKS = {
    "tuned": ("s", "share 0: the tuned weights"),
    "clip": ("D", "share 1: CLIP"),
    "published": ("o", "the share that Open-VCLIP published"),
    "best": ("*", "best harmonic mean, picked on these clips"),
}
"""Kind of point to its marker and meaning."""
SIZES = {"tuned": 7.0, "clip": 7.0, "published": 12.0, "best": 13.0}


def plot_curves(path: Path, report: Mapping[str, Any]) -> None:
    """Top-1 on the closed set to the right, the mean over the open sets upwards. Axes show what was reached,
    not all from 0 to 100. PNG or SVG, by the ending of `path`.
    """
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    axes = figure.subplots()
    for number, curve in enumerate(report["curves"]):
        draw_curve(axes, curve, mpl.colormaps["tab10"](number % 10))
    zero_shot = report["open"][0] if len(report["open"]) == 1 else f"mean of {len(report['open'])} sets"
    axes.set(
        xlabel=f"closed set, top-1 in % ({report['closed']})", ylabel=f"zero-shot, top-1 in % ({zero_shot})"
    )
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.08)
    kinds = {kind for curve in report["curves"] for kind in _marked(curve)}
    _explain(figure, axes, [kind for kind in MARKS if kind in kinds])
    temporary = path.with_name(path.name + ".tmp")
    with mpl.rc_context({"svg.hashsalt": "framebank"}):
        figure.savefig(
            temporary,
            dpi=130,
            format=path.suffix[1:],
            metadata={"Date": None} if path.suffix == ".svg" else None,
        )
    temporary.replace(path)


def draw_curve(axes: Axes, curve: Mapping[str, Any], color: Any) -> None:
    """One run: a line through its shares in their order, and the points that mean something."""
    points = sorted(curve["points"], key=lambda point: point["share"])
    places = {point["share"]: (100 * point["closed"], 100 * point["open"]) for point in points}
    axes.plot(
        *zip(*places.values(), strict=True),
        color=color,
        marker=".",
        markersize=5,
        linewidth=1.4,
        label=curve["label"],
    )
    for kind, share in _marked(curve).items():
        marker, _ = MARKS[kind]
        face = color if kind in ("tuned", "best") else "none"
        axes.plot(*places[share], marker, color=color, markersize=SIZES[kind], markerfacecolor=face, zorder=3)


def _marked(curve: Mapping[str, Any]) -> dict[str, float]:
    """Kind of point to its share, of those that the curve has."""
    found = {point["share"] for point in curve["points"]}
    shares = {"tuned": 0.0, "clip": 1.0, "published": curve["published"], "best": curve["best"]}
    return {kind: share for kind, share in shares.items() if share in found}


def _explain(figure: Figure, axes: Axes, kinds: list[str]) -> None:
    """Curves by colour within the axes, kinds of points below them."""
    axes.legend(loc="best", fontsize=9)
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=MARKS[kind][0],
            color="0.25",
            markersize=0.7 * SIZES[kind],
            markerfacecolor="0.25" if kind in ("tuned", "best") else "none",
            label=MARKS[kind][1],
        )
        for kind in kinds
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
