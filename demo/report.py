"""What the demo found: a table on the terminal, and report.md with plots beside it."""

import csv
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.plots import plot_confusions, plot_curves, plot_strips

REPORT = """# framebank demo

Short videos were drawn (objects with a shape, a colour and a motion), encoded once with a frozen CLIP that
was trained on still images only, and kept in a bank of {rows} rows of {megabytes:.2f} MB. Light EVL decoders
were then trained from the bank and tested on videos drawn from unseen seeds.

| task | decoder | tested on | top-1 | chance |
|---|---|---|---|---|
{lines}

![Frames of drawn videos](videos.png)

Motions come in pairs that are each other's reversal, and the test videos of a pair are made of the same
pictures. A decoder without temporal modules sees a bag of frames: it can tell the pairs apart, but is right
at most every second time within one. What the three temporal modules add is the difference.

![Training curves](curves.png)

![Confusion matrices](confusion.png)

## Time

| stage | seconds |
|---|---|
{times}

Settings: {config}
"""


def result_lines(figures: dict[str, Any]) -> list[tuple[str, str, str, float, float]]:
    """Task, decoder, test set, top-1 and chance of every figure."""
    look, move = figures["appearance"], figures["motion"]
    unseen, seen = "unseen pairs", "new videos"
    return [
        ("appearance", "no temporal modules", seen, look["top1"], look["chance"]),
        ("motion", "temporal modules", unseen, move["top1_temporal"], move["chance"]),
        ("motion", "no temporal modules", unseen, move["top1_no_temporal"], move["chance"]),
        ("motion", "temporal modules", seen, move["top1_temporal_seen_pairs"], move["chance"]),
        ("motion", "no temporal modules", seen, move["top1_no_temporal_seen_pairs"], move["chance"]),
    ]


def show_table(console: Console, figures: dict[str, Any]) -> None:
    """The results on the terminal."""
    table = Table(
        "task", "decoder", "tested on", "top-1", "chance", title="framebank demo", title_justify="left"
    )
    for task, decoder, tested, top1, chance in result_lines(figures):
        table.add_row(task, decoder, tested, f"{top1:.3f}", f"{chance:.3f}")
    console.print(table)
    times = ", ".join(f"{stage} {seconds:g} s" for stage, seconds in figures["seconds"].items())
    console.print(
        f"{figures['rows']} rows of {figures['bytes_per_row'] / 1e6:.2f} MB; {times}", highlight=False
    )


def write_report(
    folder: Path, figures: dict[str, Any], runs: dict[str, Path], found: dict[str, dict[str, Any]]
) -> Path:
    """report.md and its pictures in `folder`; its path."""
    plot_strips(folder / "videos.png", one_clip_per_motion(folder / "videos" / "list.csv"))
    plot_curves(folder / "curves.png", runs)
    plot_confusions(folder / "confusion.png", {name: found[name] for name in chosen_confusions(found)})
    rows = [
        f"| {t} | {d} | {on} | {top1:.3f} | {chance:.3f} |"
        for t, d, on, top1, chance in result_lines(figures)
    ]
    text = REPORT.format(
        rows=figures["rows"],
        megabytes=figures["bytes_per_row"] / 1e6,
        lines="\n".join(rows),
        times="\n".join(f"| {stage} | {seconds:g} |" for stage, seconds in figures["seconds"].items()),
        config=", ".join(f"{name} {value}" for name, value in figures["config"].items()),
    )
    report = folder / "report.md"
    report.write_text(text, encoding="utf-8")
    return report


def chosen_confusions(found: dict[str, dict[str, Any]]) -> list[str]:
    """The reports whose confusion matrices are worth a picture: motion on unseen pairs."""
    return [name for name in found if name.endswith("test_pairs")]


def one_clip_per_motion(listing: Path) -> list[tuple[str, Path]]:
    """A test clip of every motion, by name."""
    clips: dict[str, Path] = {}
    with listing.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if line["split"] == "test":
                clips.setdefault(line["motion"], listing.parent / line["path"])
    return sorted(clips.items())
