"""`framebank ablate views`: what a few cached views lose against new ones in every epoch.

    framebank ablate views [--folder FOLDER] [--views 1 2 4 8] [--seeds 3] [--short]

On the demo's drawn videos, decoders of appearance and of motion learn from V random views a clip that a bank
keeps, one drawn each epoch; from the one view that tests use (no augmentation at all); from one view with
token dropout or mixup; and from views made anew in every epoch, through decoder and tower. All see the same
clips in the same order for as many steps, start from the same seeds, and are tested on the same bank.

A random view here is a crop and a choice of frames. The box covers 60 to 100 % of the frame, so that an
object a third of the picture wide that wanders through it is rarely cut off, and is nearly square, since a
squeezed circle is no circle. Frames are drawn one from each of 8 segments, tests take their middles: the
order stays, the speed trembles. There is no flip, as motions come in mirrored pairs ("moves left" is a
class), and no RandAugment: of its 15 operations Invert and Solarize make a red object cyan, and colour is a
class; a shift may push the object out of a picture of 64 pixels.

The tiny CLIP of the demo takes 1/300 of the arithmetic of ViT-B/16. So the price of online augmentation,
which is reported beside its accuracy, is far lower here than it is in earnest (`python -m benchmarks.train`).
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ablations.ledger import Ledger
from ablations.online import OnlineData, OnlineViews, Seconds, clips_of, train_online
from ablations.views_data import PLAN, Banks, make_banks, shapes_tower
from ablations.views_report import FIXED, ONLINE, publish
from decoders.config import AugmentConfig, TrainConfig
from decoders.evaluate import evaluate
from decoders.head import Head
from decoders.heads import Entry, HeadsWatch, identity, open_head, train_heads
from decoders.recipes import RECIPES
from decoders.run_data import open_data
from demo.stages import torch_threads
from finetune.live import LiveEVL
from storage import Bank
from training.run import open_run

TASKS: dict[str, tuple[str, ...]] = {"appearance": ("test",), "motion": ("test", "test_pairs")}
"""What is learned, and the splits that it is tested on."""
SHORT_STEPS = 24
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewsConfig:
    """Cached views against new ones in every epoch: accuracy and seconds, over several seeds."""

    folder: Path = Path("framebank-ablation")
    """Where drawn videos, banks, runs and the report go."""
    views: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of cached views to compare."""
    seeds: int = 3
    """Decoders of each kind, from seeds 0, 1, ...; all see the clips in the same order."""
    steps: int = 0
    """Optimiser steps of each decoder; 0 takes the recipe's, 300."""
    token_dropout: float = 0.5
    """Share of tokens that the decoder with token dropout does not see."""
    mixup: float = 0.4
    """Alpha of the decoder with mixup."""
    threads: int = 0
    """CPU threads; 0 takes every core."""
    short: bool = False
    """A quarter of the videos, 24 steps, one seed, 1 and 2 views: shows that everything works."""

    def __post_init__(self) -> None:
        if not self.views or min(self.views) < 1 or len(set(self.views)) < len(self.views):
            raise ValueError(f"views: expected different numbers of at least 1, found {self.views}")
        for name, least in (("seeds", 1), ("steps", 0), ("threads", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")

    def resolved(self) -> "ViewsConfig":
        """What a short run makes of it, and with the recipe's steps where none are named."""
        if self.short:
            return replace(self, views=(1, 2), seeds=1, steps=SHORT_STEPS)
        return replace(self, steps=self.steps or RECIPES["shapes"]().steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """A way to come by views."""

    name: str
    """In the table."""
    views: int = 1
    """Cached views of a clip."""
    random: bool = True
    """Whether they are random; else the one that tests use."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What training does to tokens."""


def forms_of(config: ViewsConfig) -> list[Form]:
    """Every form that learns from a bank."""
    dropout, mixup = AugmentConfig(token_dropout=config.token_dropout), AugmentConfig(mixup=config.mixup)
    return [
        Form(name=FIXED, random=False),
        *(Form(name=f"{count} cached", views=count) for count in config.views),
        Form(name="1 cached, token dropout", augment=dropout),
        Form(name="1 cached, mixup", augment=mixup),
    ]


def run_views(given: ViewsConfig, console: Console) -> dict[str, Any]:
    """All forms, trained and tested; what views.json says."""
    config = given.resolved()
    folder = config.folder / "views"
    settings = {
        f.name: getattr(config, f.name) for f in fields(config) if f.name not in ("folder", "threads")
    }
    ledger = Ledger(folder / "views.json", settings)
    with torch_threads(config.threads or multiprocessing.cpu_count()):
        banks = make_banks(config.folder, max(config.views), ledger, console, short=config.short)
        bench = Bench(config=config, banks=banks, runs=folder / "runs", console=console)
        for form in forms_of(config):
            for task in TASKS:
                ledger.once(f"{form.name} / {task}", lambda form=form, task=task: bench.cached(form, task))
        ledger.once(ONLINE, bench.online)
    return publish(folder, ledger, console)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where decoders are trained and tested."""

    config: ViewsConfig
    banks: Banks
    runs: Path
    """Folder of the run directories."""
    console: Console

    def cached(self, form: Form, task: str) -> dict[str, Any]:
        """A form's decoders of a task, all seeds on one read of the bank."""
        configs = {f"seed-{seed}": self.train_config(task, form, seed) for seed in range(self.config.seeds)}
        folder = self.runs / form.name.replace(",", "").replace(" ", "-") / task
        bank = self.banks.random if form.random else self.banks.fixed
        with self.shown(f"{form.name}, {task}") as watch:
            found = train_heads(configs, bank=bank, folder=folder, device="cpu", watch=watch)
        new = [result.steps - result.resumed_at for result in found.values()]
        seconds = next(iter(found.values())).seconds * self.config.steps / sum(new) if any(new) else None
        return {"seconds": seconds, "top1": self.scores(task, [result.run for result in found.values()])}

    def online(self) -> dict[str, Any]:
        """Decoders of all tasks and seeds, on one stream of new views."""
        with ExitStack() as stack:
            watch = stack.enter_context(self.shown(ONLINE))
            heads = {
                (task, seed): self.open_online(task, seed, stack, watch)
                for task in TASKS
                for seed in range(self.config.seeds)
            }
            spent = self.learn_online(list(heads.values()))
        whole = self.config.steps / spent.steps if spent.steps else 0
        own = dict(zip(heads, spent.heads, strict=False))
        found: dict[str, Any] = {"views_seconds": spent.views * whole or None}
        for task in TASKS:
            mine = {place: head for place, head in heads.items() if place[0] == task}
            learning = sum(own.get(place, 0.0) for place in mine) / len(mine)
            runs = [head.folder for head in mine.values()]
            found[task] = {"learn_seconds": learning * whole or None, "top1": self.scores(task, runs)}
        return found

    def learn_online(self, heads: Sequence[Head]) -> Seconds:
        """All their steps; the tower's last block is read, with maps since one of them wants maps."""
        reader = next(head for head in heads if head.config.decoder.cross_frame)
        live = LiveEVL(shapes_tower(reader.data.task.blocks), reader.trainer.model)
        clips = clips_of(Bank.open(self.banks.random), heads[0].data.clips)
        threads = self.config.threads or multiprocessing.cpu_count()
        return train_online(heads, OnlineViews(clips, PLAN, live), threads=threads)

    def open_online(self, task: str, seed: int, stack: ExitStack, watch: HeadsWatch) -> Head:
        """A head that will learn from new views, as its run directory left it."""
        config, bank = self.train_config(task, Form(name=ONLINE), seed), Bank.open(self.banks.random)
        name, read = f"{task}/seed-{seed}", open_data(config, bank, bank, CPU)
        data = OnlineData(**{f.name: getattr(read, f.name) for f in fields(read)}, plan=PLAN)
        run = self.runs / "online" / name
        session = {"bank": bank.path, "eval_bank": bank.path, "device": "cpu"}
        directory = stack.enter_context(open_run(run, identity(config, data), session))
        entry = Entry(config=config, run=run, watch=lambda done, values: watch(name, done, values))
        head = open_head(entry, data, directory, CPU)
        stack.callback(head.close)
        return head

    def train_config(self, task: str, form: Form, seed: int) -> TrainConfig:
        """How one decoder is trained: as the demo's, with temporal modules where motion is learned."""
        recipe = RECIPES["shapes"]()
        decoder = recipe.decoder if task == "motion" else recipe.decoder.without_temporal()
        return replace(
            recipe,
            decoder=decoder,
            label=task,
            seed=seed,
            order_seed=0,
            views=form.views,
            augment=form.augment,
            steps=self.config.steps,
            eval_split="",
        )

    def scores(self, task: str, runs: Sequence[Path]) -> dict[str, list[float]]:
        """Top-1 of each run, by split, on the one view that tests use."""
        return {
            split: [evaluate(run, bank=self.banks.tests, split=split, device="cpu")["top1"] for run in runs]
            for split in TASKS[task]
        }

    @contextmanager
    def shown(self, what: str) -> Iterator[HeadsWatch]:
        """A progress bar for some decoders that learn side by side."""
        columns = (TextColumn(f"  {what:<36}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task("", total=self.config.steps)
            yield lambda name, done, values: progress.update(bar, completed=done)
