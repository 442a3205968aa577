"""`framebank demo`: the whole way from videos to accuracy, offline, on a CPU, in minutes.

    draw videos ─▶ extract (Ray, the tiny CLIP) ─▶ train decoders ─▶ evaluate on held-out videos ─▶ report

Nothing is staged: the videos are real H.264 files, the tiny CLIP was trained on stills only
(`demo.train_clip`), and every step is the command that a user would call. Appearance is what a CLIP knows
from stills; motion comes in pairs that are each other's reversal, so that a decoder without temporal
modules cannot do better than half.

Run it again in the same folder and finished stages are recognised and skipped.
"""

import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from decoders import recipes as decoder_recipes
from decoders.config import TrainConfig
from decoders.evaluate import evaluate
from decoders.train import train
from demo.dataset import build_bank, clip_count, draw, world_of
from demo.report import show_table, write_report
from demo.stages import Stages, torch_threads
from storage import Bank, row_bytes

APPEARANCE, TEMPORAL, NO_TEMPORAL = "appearance", "motion-temporal", "motion-no-temporal"


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoConfig:
    """The demo's settings; the defaults take a few minutes on two CPU cores."""

    folder: Path = Path("framebank-demo")
    """Where videos, bank, runs and report go."""
    seed: int = 0
    """Of the drawn videos and of the decoders."""
    short: bool = False
    """A quarter of the videos and steps: shows that everything works, not how well."""


def run_demo(config: DemoConfig, console: Console) -> dict[str, Any]:
    """All stages; what demo.json says."""
    stages = Stages(console=console)
    world = world_of(config.seed, short=config.short)
    with stages.stage("draw", f"{clip_count(world)} videos of {world.frames} frames, H.264"):
        listing = draw(config.folder / "videos", world, console)
    with stages.stage(
        "extract", "encode every video once with the tiny CLIP, keep tokens and attention maps"
    ):
        bank = build_bank(config.folder / "bank", listing, console)
    with torch_threads(multiprocessing.cpu_count()):
        with stages.stage(
            "train", "an appearance decoder, and two motion decoders: with and without temporal modules"
        ):
            runs = {name: fit(config, name, bank, console) for name in (APPEARANCE, TEMPORAL, NO_TEMPORAL)}
        with stages.stage(
            "evaluate", "on videos from unseen seeds; for motion also of unseen shape-colour pairs"
        ):
            found = measure(runs, bank)
    figures = summarise(found, bank, stages.seconds) | {
        "config": asdict(config) | {"folder": str(config.folder)}
    }
    (config.folder / "demo.json").write_text(json.dumps(figures, indent=1) + "\n")
    report = write_report(config.folder, figures, runs, found)
    show_table(console, figures)
    console.print(f"report: {report}", highlight=False)
    return figures


def decoder_config(config: DemoConfig, name: str) -> TrainConfig:
    """How one of the three decoders is trained."""
    recipe = replace(
        decoder_recipes.shapes(), seed=config.seed, label="appearance" if name == APPEARANCE else "motion"
    )
    if config.short:
        recipe = replace(recipe, steps=recipe.steps // 4)
    return recipe if name == TEMPORAL else replace(recipe, decoder=recipe.decoder.without_temporal())


def fit(config: DemoConfig, name: str, bank: Bank, console: Console) -> Path:
    """Train one decoder from the bank; its run directory."""
    recipe, run = decoder_config(config, name), config.folder / "runs" / name
    columns = (
        TextColumn(f"  {name:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=recipe.steps)

        def watch(done: int, values: Any) -> None:
            text = "  ".join(
                f"{key} {value:.3f}" for key, value in values.items() if key in ("loss", "eval_top1")
            )
            progress.update(task, completed=done, description=text)

        result = train(recipe, bank=bank.path, run=run, device="cpu", watch=watch)
        progress.update(task, completed=recipe.steps)
    return result.run


def measure(runs: dict[str, Path], bank: Bank) -> dict[str, dict[str, Any]]:
    """Reports by run and split, as `run/split`."""
    found = {f"{APPEARANCE}/test": evaluate(runs[APPEARANCE], bank=bank.path, split="test", device="cpu")}
    for name in (TEMPORAL, NO_TEMPORAL):
        for split in ("test", "test_pairs"):
            found[f"{name}/{split}"] = evaluate(runs[name], bank=bank.path, split=split, device="cpu")
    return found


def summarise(found: dict[str, dict[str, Any]], bank: Bank, seconds: dict[str, float]) -> dict[str, Any]:
    """The figures of demo.json. The headline motion figures are those on unseen shape-colour pairs."""
    look, move, blind = (
        found[key] for key in (f"{APPEARANCE}/test", f"{TEMPORAL}/test_pairs", f"{NO_TEMPORAL}/test_pairs")
    )
    return {
        "appearance": {"top1": look["top1"], "chance": look["chance"], "clips": look["clips"]},
        "motion": {
            "top1_temporal": move["top1"],
            "top1_no_temporal": blind["top1"],
            "top1_temporal_seen_pairs": found[f"{TEMPORAL}/test"]["top1"],
            "top1_no_temporal_seen_pairs": found[f"{NO_TEMPORAL}/test"]["top1"],
            "chance": move["chance"],
            "clips": move["clips"],
        },
        "rows": len(bank.rows()),
        "bytes_per_row": row_bytes(bank.spec),
        "seconds": seconds | {"total": round(sum(seconds.values()), 1)},
    }


def main(arguments: Sequence[str]) -> int:
    """`framebank demo [--folder FOLDER] [--seed N] [--short]`."""
    config = tyro.cli(
        DemoConfig, prog="framebank demo", description=(__doc__ or "").split("\n")[0], args=arguments
    )
    run_demo(config, Console())
    return 0
