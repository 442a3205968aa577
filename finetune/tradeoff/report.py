"""Curves of accuracies, and what is left of them: tradeoff.json, tradeoff.md, a picture, a table."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from finetune.tradeoff.mixtures import Curve
from finetune.tradeoff.plots import plot_curves
from training.run import write_json

CAUTION = (
    "The best share is picked by the harmonic mean on these very clips, so its figures are optimistic; "
    "expect less of clips that had no say in it. Open-VCLIP took one share for all sets, 0.5 for ViT-B and "
    "0.6 for ViT-L."
)
BEST, PUBLISHED = "best", "published"


def curve_report(curve: Curve, points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A curve in plain values.

    Args:
        points: of each share, the scores of its sets, the closed one first.
    """
    tuned = curve.tuned
    return {
        "label": tuned.label,
        "weights": str(tuned.path),
        "digest": curve.digest,
        "clip": f"{tuned.name} {tuned.clip}".strip(),
        "clip_digest": curve.clip.digest,
        "temporal_view": str(tuned.view or "none"),
        "templates": tuned.templates,
        "points": list(points),
        "best": max(points, key=lambda point: point["harmonic_mean"])["share"],
        "published": published_share(tuned.name),
    }


def point_report(share: float, sets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A point in plain values: accuracy on the closed set, the mean over the open ones, and of the two."""
    closed, *others = [one["top1"] for one in sets]
    zero_shot = statistics.fmean(others)
    both = statistics.harmonic_mean([closed, zero_shot]) if closed and zero_shot else 0.0
    return {"share": share, "closed": closed, "open": zero_shot, "harmonic_mean": both, "sets": list(sets)}


def published_share(name: str) -> float:
    """The share of CLIP in Open-VCLIP's published results (arXiv 2302.00624)."""
    return 0.6 if Path(name).name.startswith("ViT-L") else 0.5


def write_report(out: Path, report: Mapping[str, Any]) -> None:
    """Write everything, tradeoff.json last."""
    for ending in ("png", "svg"):
        plot_curves(out / f"tradeoff.{ending}", report)
    (out / "tradeoff.md").write_text(markdown(report), encoding="utf-8")
    write_json(out / "tradeoff.json", report)


def lines(report: Mapping[str, Any]) -> list[list[str]]:
    """Header and a line per point."""
    names = report["open"] if len(report["open"]) > 1 else []
    header = ["curve", "share of CLIP", "closed", "zero-shot", *names, "harmonic mean", ""]
    return [header] + [
        _line(curve, point, len(names)) for curve in report["curves"] for point in curve["points"]
    ]


def _line(curve: Mapping[str, Any], point: Mapping[str, Any], sets: int) -> list[str]:
    each = [one["top1"] for one in point["sets"][1:]][:sets]
    figures = [point["closed"], point["open"], *each, point["harmonic_mean"]]
    marks = {BEST: curve["best"], PUBLISHED: curve["published"]}
    said = ", ".join(mark for mark, share in marks.items() if share == point["share"])
    return [curve["label"], f"{point['share']:g}", *(f"{figure:.3f}" for figure in figures), said]


def page(report: Mapping[str, Any]) -> Table:
    """The points as a table."""
    header, *rows = lines(report)
    table = Table(title=f"top-1, {what(report)}")
    for number, name in enumerate(header):
        table.add_column(name, no_wrap=number == len(header) - 1, overflow="fold")
    before = ""
    for label, *cells in rows:
        if label != before:
            table.add_section()
        table.add_row("" if label == before else label, *cells, style="bold" if BEST in cells[-1] else None)
        before = label
    return table


def what(report: Mapping[str, Any]) -> str:
    """What both figures are of, in words."""
    names = report["open"]
    zero_shot = f"mean of {', '.join(names)}" if len(names) > 1 else names[0]
    return f"closed: {report['closed']}, zero-shot: {zero_shot}"


def markdown(report: Mapping[str, Any]) -> str:
    """The same as a page, with the picture."""
    header, *rows = lines(report)
    table = [header, ["---"] * len(header), *rows]
    return "\n".join(
        [
            "# Closed set against zero-shot",
            "",
            "![accuracy on the classes of the training against that on others](tradeoff.png)",
            "",
            *(f"- {headline(curve)}" for curve in report["curves"]),
            "",
            CAUTION,
            "",
            f"Top-1, {what(report)}:",
            "",
            *("| " + " | ".join(row) + " |" for row in table),
            "",
            f"Clips that could not be decoded: {len(report['failed'])}.",
            "",
        ]
    )


def headline(curve: Mapping[str, Any]) -> str:
    """A curve and its best point, in a line."""
    best = next(point for point in curve["points"] if point["share"] == curve["best"])
    return (
        f"{curve['label']} ({curve['clip']}, temporal view: {curve['temporal_view']}): best with "
        f"{best['share']:g} of CLIP, closed set {best['closed']:.3f}, zero-shot {best['open']:.3f}"
    )
