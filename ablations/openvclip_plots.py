"""The picture of the ablation of Open-VCLIP: what is paid for what, along the mixtures."""

from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ablations.openvclip_sets import TRAINED, ZERO_SHOT

Line = dict[float, dict[str, dict[str, float]]]
"""Share of CLIP to seed to accuracy by panel."""
STYLES = {
    "fine-tuning, frames alone": ("0.55", "--"),
    "fine-tuning": ("C1", "-"),
    "fine-tuning, averaged": ("C2", ":"),
    "regulariser": ("C4", ":"),
    "Open-VCLIP": ("C0", "-"),
}


def plot_curves(path: Path, lines: dict[str, Line]) -> None:
    """A panel for all that was not trained: its accuracy over that on trained classes, a line for each
    training from its own weights (dot) over half (ring) to CLIP (cross).
    """
    figure = Figure(figsize=(4.1 * len(ZERO_SHOT), 4.4), layout="constrained")
    places = figure.subplots(1, len(ZERO_SHOT), squeeze=False)[0]
    for axes, panel in zip(places, ZERO_SHOT, strict=True):
        for name, line in lines.items():
            _draw(axes, name, line, panel)
        axes.set(title=panel, xlabel=f"{TRAINED}, %", ylabel=f"{panel}, %")
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(lines))
    figure.suptitle("dot: tuned weights    ring: half CLIP    cross: CLIP    faint: single seeds", fontsize=9)
    figure.savefig(path, dpi=120)


def _draw(axes: Axes, name: str, line: Line, panel: str) -> None:
    """The mean of all seeds as a line, and each seed faintly."""
    colour, stroke = STYLES[name]
    for seed in next(iter(line.values())):
        points = [(100 * scores[seed][TRAINED], 100 * scores[seed][panel]) for scores in line.values()]
        axes.plot(*zip(*points, strict=True), color=colour, linestyle=stroke, linewidth=0.7, alpha=0.3)
    means = {
        share: tuple(100 * fmean(found[what] for found in scores.values()) for what in (TRAINED, panel))
        for share, scores in line.items()
    }
    axes.plot(*zip(*means.values(), strict=True), color=colour, linestyle=stroke, linewidth=1.8, label=name)
    for share, mark, face in ((0.0, "o", colour), (0.5, "o", "white"), (1.0, "x", colour)):
        axes.plot(*means[share], mark, color=colour, markerfacecolor=face, markersize=7)
