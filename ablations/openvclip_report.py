"""The ablation of Open-VCLIP as a table, differences, a page: what is trained beside what is not.

A difference is taken seed by seed, between models that were taught the same colours, and then averaged: the
spread of a column is mostly that of what was drawn to be taught.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from ablations.ledger import Ledger
from ablations.openvclip_plots import plot_curves
from ablations.openvclip_sets import NAME, PANELS, TRAINED, WORDINGS, ZERO_SHOT
from ablations.table import in_points

MIXED = 0.5
"""Share of CLIP in final weights, as published for ViT-B."""
SHARES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8)
Scores = dict[str, dict[str, float]]
"""Seed to accuracy by panel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Tuned weights on their way to CLIP's."""

    name: str
    training: str
    """One of `ablations.openvclip_training.TRAININGS`."""
    averaged: bool
    """The average of the epochs, or the last weights."""
    window: int
    """Of the training's temporal view."""


ALONE = Curve(name="fine-tuning, frames alone", training="frames alone", averaged=False, window=0)
TUNED = Curve(name="fine-tuning", training="temporal view", averaged=False, window=1)
AVERAGED = Curve(name="fine-tuning, averaged", training="temporal view", averaged=True, window=1)
REGULARISED = Curve(name="regulariser", training="regularised", averaged=False, window=1)
OPENVCLIP = Curve(name="Open-VCLIP", training="regularised", averaged=True, window=1)
CURVES = (ALONE, TUNED, AVERAGED, REGULARISED, OPENVCLIP)

ROWS: dict[str, tuple[Curve, float]] = {
    "CLIP, frames alone": (ALONE, 1.0),
    "CLIP": (TUNED, 1.0),
    "fine-tuning, frames alone": (ALONE, 0.0),
    "fine-tuning, frames alone, mixed": (ALONE, MIXED),
    "fine-tuning": (TUNED, 0.0),
    "fine-tuning, mixed": (TUNED, MIXED),
    "fine-tuning, averaged, mixed": (AVERAGED, MIXED),
    "regulariser, mixed": (REGULARISED, MIXED),
    "Open-VCLIP, not mixed": (OPENVCLIP, 0.0),
    "Open-VCLIP": (OPENVCLIP, MIXED),
}
"""The models of the table: a curve, and the share of CLIP."""

CLAIMS: dict[str, tuple[str, str, str]] = {
    "fine-tuning against CLIP": ("fine-tuning", "CLIP", "above or below"),
    "mixing, after fine-tuning": ("fine-tuning, mixed", "fine-tuning", "above"),
    "Open-VCLIP against mixed fine-tuning": ("Open-VCLIP", "fine-tuning, mixed", "above"),
    "of that, the average alone": ("fine-tuning, averaged, mixed", "fine-tuning, mixed", "-"),
    "of that, the regulariser alone": ("regulariser, mixed", "fine-tuning, mixed", "above"),
    "Open-VCLIP against fine-tuning": ("Open-VCLIP", "fine-tuning", "above"),
    "Open-VCLIP against CLIP": ("Open-VCLIP", "CLIP", "above"),
    "temporal view, fine-tuned": ("fine-tuning", "fine-tuning, frames alone", "above"),
    "temporal view, fine-tuned and mixed": (
        "fine-tuning, mixed",
        "fine-tuning, frames alone, mixed",
        "above",
    ),
}
"""Pairs of models, the first less the second, and where the paper sees the first in zero-shot accuracy."""

PUBLISHED = """| published, other data | UCF101 | HMDB51 | Kinetics-600, new classes |
|---|---|---|---|
| frozen CLIP, ViT-B/16 | 74.2 | 46.3 | 68.1 ± 1.1 |
| Open-VCLIP, ViT-B/16 | 83.5 | 53.2 | 73.0 ± 0.8 |
| Open-VCLIP, ViT-L/14 | 87.9 | 58.3 | 81.1 |

Trained on Kinetics-400; zero-shot top-1 of whole sets (UCF101, HMDB51), mean and deviation of three splits
(Kinetics-600). ViT-B/16 as FROSTER's tables quote them, ViT-L/14 from the paper's abstract. The rest the
paper says in words: plain fine-tuning may fall below CLIP, mixing it with CLIP brings zero-shot accuracy
back, Open-VCLIP is above both; plotted over the share of CLIP, curves with the temporal view lie above those
without, and regularised ones above fine-tuned ones."""

REPORT = """# Open-VCLIP in small

The tiny CLIP of the demo, fine-tuned end to end on drawn videos of half-hidden objects: {epochs} epochs,
learning rate {rate:g}, {seeds} seeds, each with three of six shapes and three of six colours to be taught.
Top-1 in percent, mean ± standard deviation over seeds. *Mixed*: half CLIP's weights, half tuned ones. Only
the first column of figures asks for what was trained.

{table}

*Trained classes*: nine kinds such as "{name}", on other clips. *New classes*: the other 27, of a shape or
a colour that was not taught. *New shapes*: which of six, of clips that show one of the others. *New
wordings*: the trained classes as {wordings}.
*Stills*: all 36 kinds, whole and in one picture, as CLIP learned them. "Frames alone" is without the temporal
view.

## Differences

Points, seed by seed, mean ± standard deviation, and in how many seeds the first is above the second.

{claims}

## Over the share of CLIP

{curves}

![Zero-shot accuracy over accuracy on trained classes](curves.png)

## Published

{published}

Trainings took {seconds}. Settings: {settings}
"""


def publish(folder: Path, ledger: Ledger, console: Console) -> dict[str, Any]:
    """report.md, curves.png and the table on the terminal; all that was found."""
    shares = shares_of(ledger)
    rows = {name: scores_of(ledger, curve, share) for name, (curve, share) in ROWS.items()}
    lines = {
        curve.name: {share: scores_of(ledger, curve, share) for share in (*shares, 1.0)} for curve in CURVES
    }
    plot_curves(folder / "curves.png", lines)
    (folder / "report.md").write_text(report_of(ledger, rows, lines), encoding="utf-8")
    table = Table(Column("", no_wrap=True), *PANELS, title="Open-VCLIP in small, top-1", title_justify="left")
    for name, scores in rows.items():
        table.add_row(name, *cells(scores))
    console.print(table)
    console.print(f"report: {folder / 'report.md'}", highlight=False)
    return ledger.found


def shares_of(ledger: Ledger) -> list[float]:
    """The shares of CLIP that were examined, without 1."""
    own = f"{OPENVCLIP.name} / seed 0 / "
    return sorted(float(stage.removeprefix(own)) for stage in ledger.found if stage.startswith(own))


def scores_of(ledger: Ledger, curve: Curve, share: float) -> Scores:
    """What a model reached, by seed."""
    seeds = [str(seed) for seed in range(ledger.settings["seeds"])]
    if share == 1:
        return {seed: ledger.found[f"CLIP / window {curve.window}"][seed] for seed in seeds}
    return {seed: ledger.found[f"{curve.name} / seed {seed} / {share:g}"] for seed in seeds}


def cells(scores: Scores) -> list[str]:
    """A row of the table as texts."""
    return [spread([found[panel] for found in scores.values()]) for panel in PANELS]


def spread(values: Sequence[float], *, signed: bool = False) -> str:
    """Mean and, of several, standard deviation, in percent."""
    return in_points(fmean(values), stdev(values) if len(values) > 1 else None, signed=signed)


def compared(first: Scores, second: Scores, panel: str) -> str:
    """A difference, and how many seeds agree."""
    differences = [first[seed][panel] - second[seed][panel] for seed in first]
    above = sum(difference > 0 for difference in differences)
    return f"{spread(differences, signed=True)} ({above} of {len(differences)})"


def report_of(ledger: Ledger, rows: dict[str, Scores], lines: dict[str, dict[float, Scores]]) -> str:
    """The page."""
    settings = ledger.settings
    claims = [
        [claim, *(compared(rows[first], rows[second], panel) for panel in PANELS), paper]
        for claim, (first, second, paper) in CLAIMS.items()
    ]
    return REPORT.format(
        epochs=settings["epochs"],
        rate=settings["rate"],
        seeds=settings["seeds"],
        name=NAME.format(colour="red", shape="star"),
        wordings=", ".join(f'"{form.format(colour="red", shape="star")}"' for form in WORDINGS),
        table=markdown(["", *PANELS], [[name, *cells(scores)] for name, scores in rows.items()]),
        claims=markdown(["", *PANELS, "the paper, zero-shot"], claims),
        curves="\n\n".join(_curve_table(panel, lines) for panel in (TRAINED, *ZERO_SHOT)),
        published=PUBLISHED,
        seconds=_times(ledger),
        settings=", ".join(f"{name} {value}" for name, value in settings.items()),
    )


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def _curve_table(panel: str, lines: dict[str, dict[float, Scores]]) -> str:
    """Means of one panel by share."""
    shares = next(iter(lines.values()))
    body = [
        [
            name,
            *(f"{100 * fmean(found[panel] for found in scores.values()):.1f}" for scores in curve.values()),
        ]
        for name, curve in lines.items()
    ]
    return markdown([f"{panel}, by share of CLIP", *(f"{share:g}" for share in shares)], body)


def _times(ledger: Ledger) -> str:
    """Seconds of each kind of training, of those that were not interrupted."""
    found: dict[str, list[float]] = {}
    for stage, result in ledger.found.items():
        if stage.startswith("train / ") and result["seconds"] is not None:
            found.setdefault(stage.split(" / ")[1], []).append(result["seconds"])
    return ", ".join(f"{fmean(seconds):.0f} s ({name})" for name, seconds in found.items()) or "unknown"
