"""`framebank ablate evl`: what EVL's parts are worth, one question after the other.

    framebank ablate evl [--folder FOLDER]                     draws the demo's videos; two CPU cores will do
    framebank ablate evl --bank BANK --labels label ...        any bank of at least four blocks, with maps

The questions are the paper's: all tokens or pooled frames, several blocks or the last alone, how many decoder
layers, which temporal modules. Each compares decoders that differ in nothing else, trained on the same
batches from the same seeds. The settings are those of one recipe for all, fixed beforehand: nothing is chosen
on the test splits.

Which decoders are compared is in `ablations.variants`.
"""

import json
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ablations.plots import plot_accuracies
from ablations.rounds import Contest, score_runs, train_in_rounds
from ablations.table import Panel, Result, show_tables, summarise, write_report
from ablations.variants import QUESTIONS, VARIANTS
from decoders.clips import class_list, labelled_clips
from decoders.config import TrainConfig
from decoders.recipes import RECIPES
from decoders.task import check_bank, pose_task
from demo.dataset import build_bank, clip_count, draw, world_of
from demo.stages import Stages, torch_threads
from storage import Bank

BLOCKS = 4
STEPS = 200
"""Of a decoder on drawn videos. A step takes 0.1 s of one core on average, all 60 decoders 20 minutes."""
SHORT = 5
"""A short run takes this part of the steps."""
DRAWN = (("appearance", "test"), ("motion", "test"), ("motion", "test_pairs"))
"""Labels of the drawn videos, and the splits they are tested on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """One decoder: what it is, what it learns, from which seed."""

    variant: str
    label: str
    seed: int

    @property
    def name(self) -> str:
        """Of its run directory."""
        return f"{self.variant.replace(',', '').replace(' ', '-')}-{self.label}-{self.seed}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvlConfig:
    """EVL's ablations: tokens, blocks, layers and temporal modules, over several seeds."""

    folder: Path = Path("framebank-ablation")
    """Where drawn videos, their bank, runs and the report go."""
    bank: str = ""
    """Bank to train on, folder or URL; empty draws the demo's videos and extracts them."""
    eval_bank: str = ""
    """Bank to test on, if another."""
    labels: tuple[str, ...] = ()
    """Label sets to learn, each by itself; empty takes `label`, of drawn videos appearance and motion."""
    split: str = "test"
    """Split of the bank that decoders are tested on; drawn videos have their own."""
    recipe: str = "shapes"
    """Training recipe that gives widths, rates, batch size, steps and training split."""
    steps: int = 0
    """Optimiser steps of each decoder; 0 takes the recipe's, with drawn videos 200."""
    seeds: int = 3
    """Decoders of each kind, from seeds 0, 1, ...; all see the clips in the same order."""
    heads_per_read: int = 8
    """Decoders that train together on one read of the bank."""
    threads: int = 0
    """CPU threads of training; 0 takes every core."""
    device: str = "auto"
    """auto, cpu or cuda."""
    short: bool = False
    """A fifth of the steps, two seeds, a quarter of the drawn videos: shows that everything works."""

    def __post_init__(self) -> None:
        for name in ("seeds", "heads_per_read"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("steps", "threads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, found {getattr(self, name)}")
        if not self.bank and (self.split != "test" or self.eval_bank):
            found = self.eval_bank or self.split
            raise ValueError(f"drawn videos have test splits of their own, found {found!r}; name a --bank")
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, found {self.recipe!r}")


def run_evl(config: EvlConfig, console: Console) -> dict[str, Any]:
    """All decoders trained and tested; what evl.json says."""
    stages = Stages(console=console)
    contest = _contest(config, stages)
    panels, heads = panels_of(config), heads_of(config)
    refuse_unserved(contest, heads, panels)
    with torch_threads(config.threads or multiprocessing.cpu_count()):
        with stages.stage("train", f"{len(heads)} decoders, {config.heads_per_read} on one read of the bank"):
            named = {head.name: train for head, train in heads.items()}
            diverged = train_in_rounds(contest, named, config.heads_per_read)
        with stages.stage("test", "every decoder on clips that none was trained on"):
            sound = [head for head in heads if head.name not in diverged]
            results = results_of(contest, sound, panels)
    figures = summarise(QUESTIONS, panels, results) | {
        "config": asdict(config) | {"folder": str(config.folder)},
        "decoders": {name: what for name, (what, _) in VARIANTS.items()},
        "heads": len(heads),
        "seeds": len({head.seed for head in heads}),
        "diverged": diverged,
        "steps": next(iter(heads.values())).steps,
        "seconds": stages.seconds,
    }
    _publish(config.folder / "evl", figures, console)
    return figures


def refuse_unserved(contest: Contest, heads: Mapping[Head, TrainConfig], panels: Sequence[Panel]) -> None:
    """Raise ValueError, before anything is trained, where a bank cannot serve what is asked for."""
    for head, config in heads.items():
        if head.seed == 0:
            check_bank(pose_task(contest.bank, config), contest.eval_bank, config)
    for panel in panels:
        classes = class_list(contest.bank.table, panel.label)
        labelled_clips(contest.eval_bank, split=panel.split, label=panel.label, classes=classes)


def results_of(contest: Contest, heads: Sequence[Head], panels: Sequence[Panel]) -> list[Result]:
    """What each head reached on each panel of its label."""
    asked = [(head, panel) for head in heads for panel in panels if panel.label == head.label]
    reports = score_runs(contest, [(head.name, panel.split) for head, panel in asked])
    return [
        Result(variant=head.variant, seed=head.seed, panel=panel, report=reports[head.name, panel.split])
        for head, panel in asked
    ]


def panels_of(config: EvlConfig) -> list[Panel]:
    """What is learned, and where it is tested."""
    if config.bank:
        return [Panel(label=label, split=config.split) for label in labels_of(config)]
    return [Panel(label=label, split=split) for label, split in DRAWN if label in labels_of(config)]


def labels_of(config: EvlConfig) -> tuple[str, ...]:
    """Label sets, in order."""
    known = ("label",) if config.bank else tuple(dict.fromkeys(label for label, _ in DRAWN))
    if not config.bank and (foreign := set(config.labels) - set(known)):
        raise ValueError(
            f"drawn videos are labelled {' and '.join(known)}, asked for {', '.join(sorted(foreign))}; "
            "name the bank that has these labels with --bank"
        )
    return config.labels or known


def heads_of(config: EvlConfig) -> dict[Head, TrainConfig]:
    """Every decoder to train, a seed after the other."""
    seeds = range(min(config.seeds, 2) if config.short else config.seeds)
    return {
        Head(variant=variant, label=label, seed=seed): train_config(config, variant, label, seed)
        for seed in seeds
        for label in labels_of(config)
        for variant in VARIANTS
    }


def train_config(config: EvlConfig, variant: str, label: str, seed: int) -> TrainConfig:
    """How one decoder is trained. It is tested when it is done, and not before."""
    recipe = RECIPES[config.recipe]()
    steps = config.steps or (recipe.steps if config.bank else STEPS)
    decoder = replace(recipe.decoder, layers=1, temporal_conv=True, temporal_position=True, cross_frame=False)
    return replace(
        recipe,
        decoder=replace(decoder, **VARIANTS[variant][1]),
        label=label,
        seed=seed,
        order_seed=0,
        steps=max(1, steps // SHORT) if config.short else steps,
        eval_split="",
    )


def _contest(config: EvlConfig, stages: Stages) -> Contest:
    """On the user's banks, or on that of the drawn videos."""
    bank = Bank.open(config.bank) if config.bank else _drawn_bank(config, stages)
    return Contest(
        bank=bank,
        eval_bank=Bank.open(config.eval_bank) if config.eval_bank else bank,
        runs=config.folder / "evl" / "runs",
        device=config.device,
        console=stages.console,
    )


def _drawn_bank(config: EvlConfig, stages: Stages) -> Bank:
    world = world_of(0, short=config.short)
    with stages.stage("draw", f"{clip_count(world)} videos of {world.frames} frames"):
        listing = draw(config.folder / "videos", world, stages.console)
    with stages.stage("extract", f"tokens and attention maps of the tiny CLIP's {BLOCKS} blocks"):
        return build_bank(config.folder / "bank", listing, stages.console, last_blocks=BLOCKS)


def _publish(folder: Path, figures: dict[str, Any], console: Console) -> None:
    """evl.json, the plot, report.md, and the tables on the terminal."""
    (folder / "evl.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    plot_accuracies(folder / "accuracies.png", figures)
    report = write_report(folder, figures)
    show_tables(console, figures)
    console.print(f"report: {report}", highlight=False)
