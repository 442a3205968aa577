"""`framebank ablate openvclip`: Open-VCLIP's claim in small, on drawn videos and the demo's tiny CLIP.

    framebank ablate openvclip [--folder FOLDER] [--seeds 3] [--short]

The paper (arXiv 2302.00624) fine-tunes CLIP on videos of some actions and asks for others by their names.
Plain fine-tuning forgets; a mixture with CLIP's weights forgets less; its own training, with a gradient at
interpolated weights in every step, a running average of weights and the mixture, forgets least. And it needs
a CLIP whose frames see their neighbours (the temporal view).

Three trainings a seed: frames alone, with the temporal view, and with both view and regulariser. All take
the same steps over the same clips at the same rate, and each keeps its last weights and the average of its
epochs, so that regulariser and average can be told apart. All of these are mixed with CLIP at several shares,
and asked for what was trained and for what was not.

What the videos are was decided by what the frozen tiny CLIP can name in them. It is at home in colours and
shapes (97 % of whole, single pictures of all 36 kinds), so there is something to forget. Of motions it knows
no word: to its text tower "a star that moves left" and "... right" have a cosine of 0.999, and where texts
are the same, a frozen text tower leaves an image tower nothing to be aligned with. Two colours in turn ("red
to blue object") it could name, but no model of this kind can learn their order: the temporal view takes
neighbours as a set, so a clip and its reverse get the same answer. What videos can teach here is to see
better: each frame hides another part of its object (`ablations.openvclip_world`), and of new kinds of these
clips the frozen CLIP names 54 to 64 %. Taught are the nine kinds of three shapes and three colours, asked for
are the others, and CLIP's own stills (`ablations.openvclip_sets`).

Rate and epochs were settled on videos, shapes and colours of another seed, so that plain fine-tuning learns
the trained classes; nothing was chosen by what is zero-shot. The share of CLIP is the paper's 0.5 throughout.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ablations.ledger import Ledger
from ablations.openvclip_exam import Examiner, Footage, Weights
from ablations.openvclip_report import CURVES, SHARES, Curve, publish
from ablations.openvclip_sets import questions_of, taught_kinds, write_lesson
from ablations.openvclip_training import TEST_VIEWS, TRAININGS, Lesson, learn, tuned_weights
from ablations.openvclip_world import HiddenConfig, draw_scenes, plan_scenes
from demo.stages import torch_threads


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenVclipConfig:
    """Open-VCLIP's claim in small: what fine-tuning gains on trained classes and loses on others."""

    folder: Path = Path("framebank-ablation")
    """Where drawn videos, runs and the report go."""
    seeds: int = 3
    """Draws of the shapes and colours that are taught; each is trained in three ways."""
    epochs: int = 10
    """Passes over the training clips."""
    rate: float = 5e-4
    """Learning rate at its peak."""
    threads: int = 0
    """CPU threads; 0 takes every core."""
    short: bool = False
    """A few videos, one epoch, one seed, two shares: shows that everything works."""

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("epochs", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")
        if self.rate <= 0:
            raise ValueError(f"rate must be above 0, found {self.rate}")

    def resolved(self) -> "OpenVclipConfig":
        """What a short run makes of it."""
        return replace(self, seeds=1, epochs=1) if self.short else self

    @property
    def world(self) -> HiddenConfig:
        """The videos."""
        return HiddenConfig(train=4, test=1, stills=1) if self.short else HiddenConfig()

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of CLIP's weights on every curve, without 1, which is CLIP itself."""
        return (0.0, 0.5) if self.short else SHARES


def run_openvclip(given: OpenVclipConfig, console: Console) -> dict[str, Any]:
    """All trainings, mixed and examined; what openvclip.json says."""
    config = given.resolved()
    folder = config.folder / "openvclip"
    kept = [field.name for field in fields(config) if field.name not in ("folder", "threads")]
    ledger = Ledger(folder / "openvclip.json", {name: getattr(config, name) for name in kept})
    bench = Bench(config, folder, console)
    with torch_threads(config.threads or multiprocessing.cpu_count()):
        bench.draw()
        for window in (0, 1):
            ledger.once(f"CLIP / window {window}", lambda window=window: bench.untrained(window))
        for seed in range(config.seeds):
            for training in TRAININGS:
                stage = f"train / {training} / seed {seed}"
                ledger.once(stage, lambda training=training, seed=seed: bench.train(training, seed))
        bench.examine(ledger)
    return publish(folder, ledger, console)


class Bench:
    """Where models are trained and examined."""

    def __init__(self, config: OpenVclipConfig, folder: Path, console: Console) -> None:
        self.config = config
        self.folder = folder
        self.console = console
        self.taught = {seed: taught_kinds(seed) for seed in range(config.seeds)}
        scenes = plan_scenes(config.world, [kind for kinds in self.taught.values() for kind in kinds])
        self.clips = [scene for scene in scenes if scene.split != "still"]
        self.tests = [scene for scene in scenes if scene.split != "train"]
        self._examiners: dict[int, Examiner] = {}

    @property
    def videos(self) -> Path:
        """Folder of the videos and their lists."""
        return self.folder / "videos"

    def draw(self) -> None:
        """The videos, and a list of training clips for each seed."""
        self.console.print(f"[bold]draw[/bold]: {len(self.clips)} videos of half-hidden objects")
        workers = multiprocessing.cpu_count()
        with self.shown("drawing") as (total, done):
            total(len(self.clips))
            draw_scenes(self.videos, self.config.world, self.clips, workers=workers, report=done)
        for seed, kinds in self.taught.items():
            write_lesson(self.list_of(seed), self.clips, kinds)

    def list_of(self, seed: int) -> Path:
        """What is taught under a seed."""
        return self.videos / f"taught-{seed}.csv"

    def run_of(self, training: str, seed: int) -> Path:
        """A training's run directory."""
        return self.folder / "runs" / f"{training.replace(' ', '-')}-{seed}"

    def train(self, training: str, seed: int) -> dict[str, Any]:
        """One training; how long it took, unless it was interrupted."""
        lesson = Lesson(training=training, seed=seed, epochs=self.config.epochs, rate=self.config.rate)
        with self.shown(f"{training}, seed {seed}") as (total, done):
            result = learn(
                lesson,
                self.list_of(seed),
                self.run_of(training, seed),
                announce=total,
                watch=lambda steps, _: done(steps),
            )
        return {"steps": result.steps, "seconds": None if result.resumed_at else result.seconds}

    def untrained(self, window: int) -> dict[str, Any]:
        """CLIP's own accuracies, by seed."""
        return {str(seed): self.ask({}, 1.0, window, seed) for seed in self.taught}

    def examine(self, ledger: Ledger) -> None:
        """Every curve of every seed at every share."""
        asked = [
            (curve, seed, share) for seed in self.taught for curve in CURVES for share in self.config.shares
        ]
        with self.shown("examining mixtures") as (total, done):
            total(len(asked))
            for number, (curve, seed, share) in enumerate(asked, start=1):
                stage = f"{curve.name} / seed {seed} / {share:g}"
                ledger.once(
                    stage, lambda curve=curve, seed=seed, share=share: self.mixture(curve, seed, share)
                )
                done(number)

    def mixture(self, curve: Curve, seed: int, share: float) -> dict[str, Any]:
        """Accuracies of a curve's tuned weights mixed with CLIP's."""
        weights = tuned_weights(self.run_of(curve.training, seed), averaged=curve.averaged)
        return self.ask(weights, share, TRAININGS[curve.training].window, seed)

    def ask(self, tuned: Weights, share: float, window: int, seed: int) -> dict[str, float]:
        """All questions of a seed."""
        if window not in self._examiners:
            self._examiners[window] = Examiner(self.footage, window)
        return self._examiners[window].scores(tuned, share, questions_of(self.tests, self.taught[seed]))

    @cached_property
    def footage(self) -> Footage:
        """What is tested."""
        return Footage(self.tests, self.videos, config=self.config.world, plan=TEST_VIEWS)

    @contextmanager
    def shown(self, what: str) -> Iterator[tuple[Callable[[int], None], Callable[..., None]]]:
        """A progress bar: what sets its total, and what sets how much is done."""
        columns = (TextColumn(f"  {what:<32}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task("", total=None)
            yield (
                lambda count: progress.update(bar, total=count),
                lambda count, *_: progress.update(bar, completed=count),
            )
