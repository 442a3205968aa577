"""What is left of a sweep for people and programs: sweep.json, table.csv, report.md, sweep.png, a table."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from decoders.sweeps.config import SweepPlaces
from decoders.sweeps.jobs import trials_folder
from decoders.sweeps.outcome import Outcome
from decoders.sweeps.plots import plot_sweep
from decoders.sweeps.trials import shown
from training.run import write_json

TABLE_ROWS = 20


def write_report(
    outcome: Outcome, places: SweepPlaces, winners: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Write everything; what sweep.json says. `winners` is None while there are rounds to go."""
    folder, trials = Path(places.folder), trials_folder(places)
    report = {
        "finished": winners is not None,
        "sweep": outcome.config.to_json(),
        "settings": [outcome.describe(setting, trials) for setting in outcome.order()],
        "winners": list(winners or ()),
    }
    (folder / "table.csv").write_text(_csv(report), encoding="utf-8")
    plot_sweep(folder / "sweep.png", report, trials)
    (folder / "report.md").write_text(_markdown(report), encoding="utf-8")
    write_json(folder / "sweep.json", report)
    return report


def finished_report(folder: Path) -> dict[str, Any] | None:
    """What sweep.json says, if the sweep is finished."""
    file = folder / "sweep.json"
    report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return report if report.get("finished") else None


def show_report(console: Console, report: Mapping[str, Any]) -> None:
    """The settings, best first, and the winner."""
    header, *rows = lines(report)
    table = Table(*header)
    for row in rows[:TABLE_ROWS]:
        table.add_row(*row)
    console.print(table)
    if len(rows) > TABLE_ROWS:
        console.print(f"and {len(rows) - TABLE_ROWS} more in table.csv")
    for winner in report["winners"]:
        console.print(headline(winner), highlight=False, markup=False, soft_wrap=True)
        console.print(f"  {winner['commands'][0]}", highlight=False, markup=False, soft_wrap=True)


def headline(winner: Mapping[str, Any]) -> str:
    """The winner and its scores, in a line."""
    values = ", ".join(f"{name} {shown(value)}" for name, value in winner["values"].items()) or "the base"
    text = f"winner for {winner['label']}: setting {winner['number']:03} ({values}), "
    text += f"{winner['eval_split']} top-1 {_figure(winner)}"
    test = winner["test"]
    return text + (f", {test['split']} top-1 {_figure(test)} (chance {test['chance']:.3f})" if test else "")


def lines(report: Mapping[str, Any]) -> list[list[str]]:
    """Header and a line per setting, best first."""
    names = list(report["sweep"]["vary"])
    chosen = {winner["number"] for winner in report["winners"]}
    header = ["setting", *names, "steps", "validation top-1", "spread", "state"]
    return [header] + [_line(setting, names, chosen) for setting in report["settings"]]


def _line(setting: Mapping[str, Any], names: Sequence[str], chosen: set[int]) -> list[str]:
    last = setting["rungs"][-1] if setting["rungs"] else {"step": 0, "score": None, "spread": 0.0}
    state = "winner" if setting["number"] in chosen else ""
    if setting["diverged"]:
        state = "diverged: " + ", ".join(setting["diverged"])
    score, spread = ("", "") if last["score"] is None else (f"{last['score']:.4f}", f"{last['spread']:.4f}")
    values = [shown(setting["values"][name]) for name in names]
    return [f"{setting['number']:03}", *values, str(last["step"]), score, spread, state]


def _csv(report: Mapping[str, Any]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines(report))
    return file.getvalue()


def _markdown(report: Mapping[str, Any]) -> str:
    rows = lines(report)
    rows.insert(1, ["---"] * len(rows[0]))
    text = ["# Sweep", "", *(f"{headline(winner)}\n" for winner in report["winners"])]
    if not report["finished"]:
        text += ["Not finished: the figures are those of the rounds so far.", ""]
    text += ["![curves and scores](sweep.png)", "", *("| " + " | ".join(row) + " |" for row in rows), ""]
    for winner in report["winners"]:
        text += [f"Train the winner for {winner['label']} again, a command per seed:", ""]
        text += ["```", *winner["commands"], "```", ""]
    return "\n".join(text)


def _figure(scores: Mapping[str, Any]) -> str:
    several = len(scores["top1"]) > 1 if "top1" in scores else len(scores["runs"]) > 1
    return f"{scores['score']:.3f}" + (f" ± {scores['spread']:.3f}" if several else "")
