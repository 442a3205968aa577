"""The ablation of views as a table, a page and a picture: accuracy beside seconds."""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from ablations.ledger import Ledger
from ablations.table import in_points

FIXED, ONLINE = "the test's view", "new views each epoch"
PANELS = {
    ("appearance", "test"): "appearance",
    ("motion", "test"): "motion",
    ("motion", "test_pairs"): "motion, unseen pairs",
}
"""What is learned and where it is tested, and its heading."""
COLUMNS = ("views", *PANELS.values(), "views, s", "a run, s: appearance", "motion")
REPORT = """# Cached views against new ones in every epoch

Decoders of the demo's drawn videos, {steps} steps each; top-1 in percent, mean ± standard deviation over
seeds ({seeds} of them). All see the same clips in the same order and are tested on one fixed view of held-out
videos. *N cached*: a bank keeps N random views of each training clip, one is drawn each epoch. *The test's
view*: the bank keeps the one view that tests use, and nothing is augmented. *Token dropout*
({token_dropout:g} of the patches) and *mixup* (alpha {mixup:g}) change tokens while training. *New views each
epoch*: every clip is decoded, cropped and encoded anew.

| {columns} |
|{rule}|
{lines}

![Top-1 over the number of cached views](views.png)

*Views, s* is decoding and encoding: of a bank once, for all runs that will ever read it (of {most} views
{extracted:.0f} s, fewer in proportion, with what starting Ray takes); online in every single run. *A run, s*
is one decoder of one seed, its share where seeds learned side by side, online with its views. A dash: it was
interrupted at a bad moment for the clock. The tower is the demo's tiny CLIP: ViT-B/16 takes 300 times its
arithmetic, and videos of more than 64 pixels take longer to decode, so in earnest the views weigh far more.

Settings: {settings}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What was found of a form."""

    name: str
    """As in the table."""
    top1: dict[str, list[float]]
    """By heading of the panel, one a seed."""
    views_seconds: float | None
    """Making views: once, or online in each run."""
    run_seconds: dict[str, float | None]
    """A run by task."""


def publish(folder: Path, ledger: Ledger, console: Console) -> dict[str, Any]:
    """report.md, views.png and the table on the terminal; all that was found."""
    lines = lines_of(ledger)
    plot_views(folder / "views.png", lines)
    (folder / "report.md").write_text(report_of(ledger, lines), encoding="utf-8")
    table = Table(*COLUMNS, title="cached views against new ones in every epoch", title_justify="left")
    for line in lines:
        table.add_row(*cells(line))
    console.print(table)
    console.print(f"report: {folder / 'report.md'}", highlight=False)
    return ledger.found


def lines_of(ledger: Ledger) -> list[Line]:
    """Every form, the online one last."""
    stages, most = ledger.found, max(ledger.settings["views"])
    names = dict.fromkeys(stage.split(" / ")[0] for stage in stages if " / " in stage)
    cached = [
        Line(
            name=name,
            top1={PANELS[task, split]: stages[f"{name} / {task}"]["top1"][split] for task, split in PANELS},
            views_seconds=_views_seconds(stages, name, most),
            run_seconds={task: stages[f"{name} / {task}"]["seconds"] for task, _ in PANELS},
        )
        for name in names
    ]
    new = stages[ONLINE]
    online = Line(
        name=ONLINE,
        top1={PANELS[task, split]: new[task]["top1"][split] for task, split in PANELS},
        views_seconds=new["views_seconds"],
        run_seconds={task: _sum(new["views_seconds"], new[task]["learn_seconds"]) for task, _ in PANELS},
    )
    return [*cached, online]


def cells(line: Line) -> list[str]:
    """A line of the table as texts."""
    accuracies = [spread(line.top1[panel]) for panel in PANELS.values()]
    seconds = [line.views_seconds, line.run_seconds["appearance"], line.run_seconds["motion"]]
    return [line.name, *accuracies, *("-" if value is None else f"{value:.1f}" for value in seconds)]


def spread(values: list[float]) -> str:
    """Mean and, of several, standard deviation, in percent."""
    return in_points(mean(values), stdev(values) if len(values) > 1 else None)


def report_of(ledger: Ledger, lines: list[Line]) -> str:
    """The page."""
    settings = ledger.settings
    return REPORT.format(
        steps=settings["steps"],
        seeds=settings["seeds"],
        token_dropout=settings["token_dropout"],
        mixup=settings["mixup"],
        columns=" | ".join(COLUMNS),
        rule="---|" * (len(COLUMNS) - 1) + "---",
        lines="\n".join(f"| {' | '.join(cells(line))} |" for line in lines),
        most=max(settings["views"]),
        extracted=ledger.found["extract random"]["seconds"],
        settings=", ".join(f"{name} {value}" for name, value in settings.items()),
    )


def plot_views(path: Path, lines: list[Line]) -> None:
    """Top-1 over the number of cached views, the others as lines and marks."""
    figure = Figure(figsize=(4.2 * len(PANELS), 4), layout="constrained")
    places = figure.subplots(1, len(PANELS))
    for axes, panel in zip(places, PANELS.values(), strict=True):
        draw_panel(axes, panel, {line.name: line.top1[panel] for line in lines})
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=120)


def draw_panel(axes: Axes, panel: str, found: dict[str, list[float]]) -> None:
    """One label set on one split: each seed a dot, the mean a line."""
    found = {name: [100 * value for value in top1] for name, top1 in found.items()}
    cached = {int(name.split()[0]): top1 for name, top1 in found.items() if name.endswith(" cached")}
    counts = sorted(cached)
    axes.plot(counts, [mean(cached[count]) for count in counts], "o-", color="C0", label="cached views")
    for count in counts:
        axes.plot([count] * len(cached[count]), cached[count], ".", color="C0", alpha=0.4)
    for colour, name in (("C3", ONLINE), ("0.5", FIXED)):
        axes.axhline(mean(found[name]), color=colour, linestyle="--", label=name)
        if len(found[name]) > 1:
            middle, away = mean(found[name]), stdev(found[name])
            axes.axhspan(middle - away, middle + away, color=colour, alpha=0.1, linewidth=0)
    for mark, colour, what in (("^", "C1", "token dropout"), ("s", "C2", "mixup")):
        axes.plot(1, mean(found[f"1 cached, {what}"]), mark, color=colour, label=f"1 cached, {what}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set(title=panel, xlabel="cached views of a clip", ylabel="top-1, %")


def _views_seconds(stages: dict[str, dict[str, Any]], name: str, most: int) -> float:
    """Seconds to make a form's bank: that of most views was made, of fewer the share is told."""
    if name == FIXED:
        return stages["extract fixed"]["seconds"]
    return stages["extract random"]["seconds"] * int(name.split()[0]) / most


def _sum(*seconds: float | None) -> float | None:
    known = [value for value in seconds if value is not None]
    return sum(known) if len(known) == len(seconds) else None
