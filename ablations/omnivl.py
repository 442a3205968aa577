"""`framebank ablate omnivl`: OmniVL's schedules in small, on drawn images and clips and the demo's tiny CLIP.

    framebank ablate omnivl [--folder FOLDER] [--schedules decoupled video_only] [--short]

The paper (arXiv 2209.07526) learns from images first and then from images and videos together (decoupled
joint pre-training), and compares that with images alone, videos alone, both from the start, and images first
and then videos alone. Here each takes as many steps, over one bank of one frozen tower; what it learned is
asked of images and clips that were held out: does a text find its image or clip by cosine (recall at 1 and
8), and after the best eight are judged by the alignment decoder; is a caption right to the word; and is a
clip that runs backwards said to move the other way. The decoupled model then learns to answer questions.

No ranking of schedules is expected of so small a world but one: who saw videos alone knows nothing of
images.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ablations.ledger import Ledger
from ablations.omnivl_exam import examined, questioned, write_questions
from ablations.omnivl_report import publish
from ablations.omnivl_world import WorldConfig, draw_world
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.pretraining.bank_tier import BankTier
from decoders.omnivl.pretraining.recipes import shapes
from decoders.omnivl.pretraining.session import document, pretrain, samples_by_kind
from decoders.omnivl.schedule import Schedule
from demo.stages import torch_threads
from pipeline import recipes
from pipeline.extract import extract
from storage import Bank
from training.interrupt import StopRequest
from training.run import open_run
from training.session import Part
from video import Sampling, ViewPlan

SCHEDULES: tuple[Schedule, ...] = ("decoupled", "joint", "image_only", "video_only", "image_then_video")
ANSWERING: Schedule = "decoupled"
"""Whose model learns to answer questions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OmniVlConfig:
    """OmniVL's schedules: what each learns of images and of clips."""

    folder: Path = Path("framebank-ablation")
    """Where drawn files, their bank, runs and the report go."""
    schedules: tuple[Schedule, ...] = SCHEDULES
    """Which are compared."""
    seed: int = 0
    """Of weights and order; the files are the same."""
    image_steps: int = 500
    """Steps of the first stage."""
    joint_steps: int = 1000
    """Steps of the second stage; schedules of one stage take those of both."""
    answer_steps: int = 400
    """Steps on questions afterwards."""
    threads: int = 0
    """CPU threads; 0 takes every core."""
    short: bool = False
    """Few files, few steps, two schedules: shows that everything works."""

    def resolved(self) -> "OmniVlConfig":
        """What a short run makes of it."""
        if not self.short:
            return self
        return replace(
            self, schedules=("decoupled", "video_only"), image_steps=4, joint_steps=6, answer_steps=4
        )

    @property
    def world(self) -> WorldConfig:
        """The files."""
        return WorldConfig(train=1) if self.short else WorldConfig()

    def pretraining(self, schedule: Schedule) -> PretrainConfig:
        """One of those that are compared."""
        base = shapes()
        steps = replace(
            base.schedule, schedule=schedule, image_steps=self.image_steps, joint_steps=self.joint_steps
        )
        return replace(base, schedule=steps, seed=self.seed)


def run_omnivl(given: OmniVlConfig, console: Console) -> dict[str, Any]:
    """All trainings and what they learned; what omnivl.json says."""
    config = given.resolved()
    bench = Bench(config, config.folder / "omnivl", console)
    kept = [field.name for field in fields(config) if field.name not in ("folder", "threads", "schedules")]
    ledger = Ledger(bench.folder / "omnivl.json", {name: getattr(config, name) for name in kept})
    with torch_threads(config.threads or multiprocessing.cpu_count()):
        bench.extract()
        for schedule in config.schedules:
            ledger.once(f"train / {schedule}", lambda schedule=schedule: bench.train(schedule))
            ledger.once(f"exam / {schedule}", lambda schedule=schedule: bench.examine(schedule))
        if ANSWERING in config.schedules:
            ledger.once("answers", bench.answer)
    return publish(bench.folder, ledger, console)


class Bench:
    """Where models are trained and examined."""

    def __init__(self, config: OmniVlConfig, folder: Path, console: Console) -> None:
        self.config, self.folder, self.console = config, folder, console
        self.device = torch.device("cpu")

    @property
    def files(self) -> Path:
        """Folder of the images and clips."""
        return self.folder / "files"

    @cached_property
    def bank(self) -> Bank:
        """What all learn from."""
        return Bank(self.folder / "bank")

    def run_of(self, schedule: Schedule) -> Path:
        """A training's run directory."""
        return self.folder / "runs" / schedule

    def extract(self) -> None:
        """Draw and encode everything, or find it done."""
        with self.shown("drawing") as (total, done):
            workers = multiprocessing.cpu_count()
            listing = draw_world(
                self.files,
                self.config.world,
                workers=workers,
                report=lambda n, count: (total(count), done(n)),
            )
        frames = self.config.pretraining(ANSWERING).adapter.frames
        recipe = replace(
            recipes.shapes(),
            source=str(listing),
            bank=str(self.folder / "bank"),
            views=ViewPlan(sampling=Sampling(kind="tsn", frames=frames), size=self.config.world.size),
            attention="none",
            shard_rows=32,
        )
        extract(recipe, self.console)

    def train(self, schedule: Schedule) -> dict[str, Any]:
        """One pre-training; how long it took, unless it was interrupted."""
        config = self.config.pretraining(schedule)
        tier = BankTier(
            self.bank, config.adapter, config.heads, self.device, split=config.split, label=config.label
        )
        samples = samples_by_kind(tier, config)
        with (
            self.shown(schedule) as (total, done),
            open_run(self.run_of(schedule), document(config, tier, samples), {}) as directory,
            StopRequest() as stop,
        ):
            total(config.schedule.steps)
            part = Part(device=self.device, stop=stop, watch=lambda steps, _: done(steps))
            result = pretrain(config, tier, samples, directory, part)
        return {"steps": result.steps, "seconds": None if result.resumed_at else result.seconds}

    def examine(self, schedule: Schedule) -> dict[str, Any]:
        """What a model knows of held-out images and clips."""
        return examined(self.run_of(schedule), self.bank, self.folder / "indexes" / schedule)

    def answer(self) -> dict[str, Any]:
        """What a model answers after some steps on questions."""
        questions = write_questions(self.folder / "questions", self.files / "list.csv")
        with self.shown("questions") as (total, done):
            total(self.config.answer_steps)
            return questioned(
                self.run_of(ANSWERING),
                self.bank,
                questions,
                steps=self.config.answer_steps,
                watch=lambda steps, _: done(steps),
            )

    @contextmanager
    def shown(self, what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
        """A progress bar: what sets its total, and what sets how much is done."""
        columns = (TextColumn(f"  {what:<20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task("", total=None)
            yield (
                lambda count: progress.update(bar, total=count),
                lambda count: progress.update(bar, completed=count),
            )
