"""Small sweeps for tests: a bank that can be learnt from, a few settings, a second or two."""

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from decoders.sweeps.choices import Choices, Varied
from decoders.sweeps.config import SearchPlan, SweepConfig, SweepPlaces
from decoders.sweeps.display import SweepDisplay
from tests.small_runs import CONFIG

BASE = replace(CONFIG, steps=9, save_every=2, eval_every=4, keep=2)
RATES: Mapping[str, Varied] = {"optim.lr": Choices((3e-4, 3e-3, 1e-2))}
HALVED = SearchPlan(halving=3, rungs=2, seeds=2)


def sweep_config(vary: Mapping[str, Varied] = RATES, plan: SearchPlan = HALVED, **base: Any) -> SweepConfig:
    """Three rates, two seeds, halved once."""
    return SweepConfig(recipe="shapes", base=replace(BASE, **base), vary=vary, plan=plan)


def places(bank: Path, folder: Path, **changes: Any) -> SweepPlaces:
    """On the CPU."""
    values: dict[str, Any] = {"bank": str(bank), "folder": str(folder), "device": "cpu"}
    return SweepPlaces(**(values | changes))


def quiet() -> SweepDisplay:
    """Nobody looks."""
    return SweepDisplay(Console(file=StringIO(), width=200))


def curves(folder: Path) -> dict[str, str]:
    """Every metrics.jsonl of a sweep, by trial."""
    return {path.parent.name: path.read_text() for path in sorted(folder.glob("trials/*/metrics.jsonl"))}
