"""What the ablation of views learns from: the demo's videos, and three banks of them.

*random* holds V random views of each training clip, *fixed* the one view that tests use, *tests* the same of
the clips to test on. A random view is a function of (seed, content, number of the view), so the first 2 of 8
are those that a bank of 2 would hold, and one bank serves all V. All keep the tiny CLIP's last block, which
is what a decoder of one layer reads."""

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from ablations.ledger import Ledger
from backbones.taps import FrozenTower
from backbones.weights import load_clip
from demo.dataset import clip_count, draw, world_of
from pipeline import recipes
from pipeline.extract import extract
from video import Sampling, ViewPlan

PLAN = ViewPlan(
    kind="train",
    sampling=Sampling(kind="tsn", frames=8),
    size=64,
    crop_scale=(0.6, 1.0),
    crop_ratio=(0.85, 1.18),
)
"""How random views are drawn; `ablations.views` says why so."""
SHARD_CLIPS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Banks:
    """Where the banks lie."""

    fixed: str
    random: str
    tests: str


def make_banks(folder: Path, views: int, ledger: Ledger, console: Console, *, short: bool) -> Banks:
    """Draw and extract what an earlier call left undone; the ledger keeps how long extracting took."""
    world = world_of(0, short=short)
    console.print(f"[bold]draw[/bold]: {clip_count(world)} videos of {world.frames} frames")
    listing = draw(folder / "videos", world, console)
    training, tests = only_splits(listing, "train"), only_splits(listing, "test", "test_pairs")
    wanted = {
        "fixed": (training, recipes.shapes().views),
        "random": (training, replace(PLAN, augmented_views=views)),
        "tests": (tests, recipes.shapes().views),
    }
    for name, (clips, plan) in wanted.items():
        bank = folder / "views" / f"bank-{name}"
        console.print(f"[bold]extract[/bold]: {name}, {plan.count} views of a clip")
        ledger.once(f"extract {name}", partial(extracted, clips, bank, plan, console))
    return Banks(**{name: str(folder / "views" / f"bank-{name}") for name in wanted})


def extracted(listing: Path, bank: Path, plan: ViewPlan, console: Console) -> dict[str, Any]:
    """A bank of a listing, completed; how long that took."""
    start = time.perf_counter()
    recipe = replace(
        recipes.shapes(),
        source=str(listing),
        bank=str(bank),
        views=plan,
        last_blocks=1,
        shard_rows=SHARD_CLIPS * plan.count,
    )
    rows = len(extract(recipe, console).rows())
    return {"seconds": time.perf_counter() - start, "rows": rows}


def only_splits(listing: Path, *splits: str) -> Path:
    """A list file beside another one, of some of its splits."""
    with listing.open(newline="", encoding="utf-8") as file:
        names, *lines = csv.reader(file)
    place = listing.with_name(f"{'-'.join(splits)}.csv")
    with place.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *(line for line in lines if line[names.index("split")] in splits)])
    return place


def shapes_tower(blocks: Sequence[int]) -> FrozenTower:
    """The tiny CLIP's tower, as the banks were made with it."""
    return load_clip(recipes.shapes().backbone).tower(blocks)
