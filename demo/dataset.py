"""The demo's videos and their bank: drawn and extracted, or found as an earlier call left them."""

import json
import multiprocessing
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from demo.world import WorldConfig, draw_dataset
from pipeline import recipes
from pipeline.extract import extract
from storage import Bank


def world_of(seed: int, *, short: bool) -> WorldConfig:
    """The dataset to draw; a short one has a quarter of the videos."""
    workers = multiprocessing.cpu_count()
    if short:
        return WorldConfig(seed=seed, train=160, val=24, test=48, test_pairs=48, workers=workers)
    return WorldConfig(seed=seed, test=192, test_pairs=144, workers=workers)


def clip_count(world: WorldConfig) -> int:
    """Videos of all splits."""
    return world.train + world.val + world.test + world.test_pairs


def draw(folder: Path, world: WorldConfig, console: Console) -> Path:
    """Draw the dataset, or find it drawn; its list file.

    Raises:
        ValueError: the folder holds a dataset of other settings.
    """
    settings = json.dumps(
        {name: value for name, value in asdict(world).items() if name != "workers"}, indent=1
    )
    drawn = folder / "world.json"
    if drawn.exists():
        if drawn.read_text() != settings:
            raise ValueError(f"{folder} holds videos of other settings; choose another --folder or delete it")
        return folder / "list.csv"
    with Progress(
        "drawing", BarColumn(), MofNCompleteColumn(), TextColumn("videos"), console=console
    ) as progress:
        task = progress.add_task("draw", total=clip_count(world))
        listing = draw_dataset(folder, world, report=lambda done, _: progress.update(task, completed=done))
    drawn.write_text(settings)
    return listing


def build_bank(path: Path, listing: Path, console: Console, *, last_blocks: int = 2) -> Bank:
    """Extract the drawn videos, or find them extracted."""
    recipe = replace(
        recipes.shapes(), source=str(listing), bank=str(path), shard_rows=32, last_blocks=last_blocks
    )
    return extract(recipe, console)
