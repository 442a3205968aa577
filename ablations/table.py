"""What ablations found, in numbers: mean and spread over seeds, differences, and what was published beside.

A difference is taken seed by seed, against the decoder that had the same start and the same batches, and then
averaged. Of few seeds the standard deviation (n - 1) is itself rough; it is there to tell a difference from
nothing, no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table

PUBLISHED = (
    "Published figures are those of EVL's paper (arXiv 2208.03550) as its readers quote them, in points of "
    "top-1: real videos (Kinetics-400, Something-Something v2), a large CLIP, long training. They say which "
    "way a part should work, not how much of it to expect here."
)
REPORT = """# EVL's ablations

{decoders} decoders trained from {bank}, {steps} steps each, {seeds} seeds.
Top-1 in percent, mean ± standard deviation over seeds; differences in points, seed by seed, against the first
line of each table. {published}

{sections}

![Top-1 of every decoder](accuracies.png)

Chance: {chance}.{diverged}

{times}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Decoders that differ in one thing."""

    name: str
    """In a word."""
    asks: str
    """As a sentence."""
    variants: tuple[str, ...]
    """Names of the decoders; the first is what the others are compared with."""
    published: str
    """What the paper found, on other data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """What is learned, and where it is tested."""

    label: str
    split: str

    @property
    def name(self) -> str:
        """For a column."""
        return f"{self.label} on {self.split}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A decoder's test."""

    variant: str
    seed: int
    panel: Panel
    report: dict[str, Any]
    """Of `decoders.evaluate`."""


def summarise(
    questions: Sequence[Question], panels: Sequence[Panel], results: Sequence[Result]
) -> dict[str, Any]:
    """The figures as plain JSON values: panels, and for each question its rows."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for result in results:
        found.setdefault((result.variant, result.panel.name), {})[result.seed] = result.report["top1"]
    by_panel = {result.panel.name: result.report for result in results}
    return {
        "panels": {
            panel.name: {name: by_panel[panel.name][name] for name in ("label", "split", "clips", "chance")}
            for panel in panels
            if panel.name in by_panel
        },
        "questions": [_answered(question, panels, found) for question in questions],
    }


def _answered(
    question: Question, panels: Sequence[Panel], found: dict[tuple[str, str], dict[int, float]]
) -> dict[str, Any]:
    rows = {
        variant: {
            panel.name: compared(
                found.get((variant, panel.name), {}), found.get((question.variants[0], panel.name), {})
            )
            for panel in panels
        }
        for variant in question.variants
    }
    return {
        "name": question.name,
        "asks": question.asks,
        "published": question.published,
        "reference": question.variants[0],
        "rows": rows,
    }


def compared(own: dict[int, float], reference: dict[int, float]) -> dict[str, Any]:
    """Mean and spread of top-1 by seed, and of the differences of the seeds that both have; None where there
    is nothing to say.
    """
    differences = [own[seed] - reference[seed] for seed in own if seed in reference]
    return {
        "top1": {str(seed): value for seed, value in own.items()},
        "mean": mean(own.values()) if own else None,
        "std": stdev(own.values()) if len(own) > 1 else None,
        "difference": mean(differences) if differences else None,
        "difference_std": stdev(differences) if len(differences) > 1 else None,
    }


def in_points(value: float | None, spread: float | None, *, signed: bool = False) -> str:
    """ "91.2 ± 0.4", in percent."""
    if value is None:
        return "-"
    text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    return text if spread is None else f"{text} ± {100 * spread:.1f}"


def show_tables(console: Console, figures: dict[str, Any]) -> None:
    """A table for each question."""
    for question in figures["questions"]:
        table = Table("decoder", *figures["panels"], title=question["asks"], title_justify="left")
        table.caption = f"published, on other data: {question['published']}"
        for variant, cells in question["rows"].items():
            table.add_row(variant, *(_cell(cell) for cell in cells.values()))
            if variant != question["reference"]:
                table.add_row("", *(f"[dim]{_difference(cell)}[/dim]" for cell in cells.values()))
        console.print(table)


def write_report(folder: Path, figures: dict[str, Any]) -> Path:
    """report.md in `folder`; its path."""
    config, diverged = figures["config"], figures["diverged"]
    lost = "\n".join(f"* {name}: {reason}" for name, reason in diverged.items())
    text = REPORT.format(
        decoders=figures["heads"],
        bank=f"`{config['bank']}`" if config["bank"] else "a bank of the demo's drawn videos",
        steps=figures["steps"],
        seeds=figures["seeds"],
        published=PUBLISHED,
        sections="\n\n".join(_section(question, figures) for question in figures["questions"]),
        chance=", ".join(
            f"{100 * panel['chance']:.1f} for {name}" for name, panel in figures["panels"].items()
        ),
        diverged=f" Decoders that diverged count nowhere:\n\n{lost}" if lost else "",
        times=", ".join(f"{stage} {seconds:g} s" for stage, seconds in figures["seconds"].items()),
    )
    path = folder / "report.md"
    path.write_text(text, encoding="utf-8")
    return path


def _section(question: dict[str, Any], figures: dict[str, Any]) -> str:
    """A question's table in Markdown, with what each decoder is."""
    names = list(figures["panels"])
    head = [f"## {question['asks']}", "", f"Published, on other data: {question['published']}.", ""]
    head += [f"| decoder | {' | '.join(f'{name} | difference' for name in names)} |"]
    head += ["|---" * (1 + 2 * len(names)) + "|"]
    rows = []
    for variant, cells in question["rows"].items():
        first = variant == question["reference"]
        values = [f"{_cell(cells[name])} | {'' if first else _difference(cells[name])}" for name in names]
        rows.append(f"| {variant}: {figures['decoders'][variant]} | {' | '.join(values)} |")
    return "\n".join(head + rows)


def _cell(cell: dict[str, Any]) -> str:
    return in_points(cell["mean"], cell["std"])


def _difference(cell: dict[str, Any]) -> str:
    return in_points(cell["difference"], cell["difference_std"], signed=True)
