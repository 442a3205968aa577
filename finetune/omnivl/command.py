"""`framebank pretrain`: OmniVL's decoupled joint pre-training, from a bank or end to end, resumable to the
bit.

    framebank pretrain omnivl-lab --bank BANK --run RUN [--schedule.video-batch 128] ...
    framebank pretrain omnivl-b16 --source images.json clips.csv --run RUN --workers 8
    framebank pretrain resume --run RUN [--workers 4]

A bank's tokens are frozen, and a small network on top of them learns to see time; with `--source` the whole
tower learns. The heads are the same. The run directory holds all that going on needs.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.pretraining.order import refuse_pieces
from decoders.omnivl.pretraining.recipes import RECIPES
from decoders.omnivl.pretraining.session import PretrainResult, document, samples_by_kind
from decoders.omnivl.pretraining.session import pretrain as take_steps
from decoders.precision import pick_device
from finetune.omnivl.origin import Origin
from finetune.place import Place
from training.display import Display
from training.interrupt import INTERRUPTED, StopRequest, TrainingStopped
from training.losses import Watch
from training.run import RunDirectory, open_run
from training.services import refuse_missing_trackers
from training.session import Part


def pretrain(
    config: PretrainConfig,
    origin: Origin,
    *,
    run: Path,
    place: Place | None = None,
    watch: Watch | None = None,
) -> PretrainResult:
    """Train `config` on the images and clips of `origin` in the run directory `run`, from its newest
    checkpoint if it has one. A run that is finished already returns at once.

    Args:
        config: a recipe, or one changed with `dataclasses.replace`.
        run: new directory, or that of the same run. place: on what. watch: told of every logged line.

    Raises:
        ValueError: nothing to learn from; `run` holds another run (each difference is named); workers that
        cannot
            share a batch.
        TrainingStopped: after SIGINT or SIGTERM; everything is saved.
        Diverged: a loss became infinite or NaN, now or in an earlier session.
    """
    place = place or Place()
    for kind in config.schedule.kinds():
        refuse_pieces(config, kind, config.schedule.batch(kind), max(1, place.workers))
    refuse_missing_trackers(place.log_to)
    tier = origin.open(config, pick_device("cpu" if place.workers else place.device), place, run)
    samples = samples_by_kind(tier, config)
    session = {"origin": origin.to_json(), "place": asdict(place)}
    with open_run(run, document(config, tier, samples), session) as directory:
        if place.workers:
            from finetune.omnivl.workers import PretrainOnWorker
            from finetune.workers import on_place  # Ray takes a second to import

            work = PretrainOnWorker(config=config, origin=origin, run=directory.path, place=place)
            return on_place(work, place, directory.path, watch)
        with StopRequest() as stop:
            part = Part(device=pick_device(place.device), stop=stop, watch=watch, log_to=place.log_to)
            return take_steps(config, tier, samples, directory, part)


def resume(run: Path, *, place: Place | None = None, watch: Watch | None = None) -> PretrainResult:
    """Go on with a run from its directory alone, with the origin of its last session; and on the same
    place, if none is named.
    """
    directory = RunDirectory.read(run)
    last = directory.sessions()[-1]
    before = last["place"] | {"log_to": tuple(last["place"]["log_to"])}
    return pretrain(
        PretrainConfig.from_json(directory.config),
        Origin.from_json(last["origin"]),
        run=run,
        place=place or Place(**before),
        watch=watch,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainCommand:
    """A recipe with its overrides, and where it runs."""

    config: PretrainConfig
    origin: Origin
    run: Path
    place: Place


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeCommand:
    """Go on with an interrupted run, from its directory alone."""

    run: Path
    """Run directory."""
    place: Annotated[Place, tyro.conf.arg(name="")] = field(default_factory=Place)
    """On what it goes on."""


def main(argv: Sequence[str]) -> int:
    """`framebank pretrain RECIPE --bank BANK --run RUN [overrides]`, or `framebank pretrain resume`."""
    console = Console()
    command = parse(argv)
    total = command.config.schedule.steps if isinstance(command, PretrainCommand) else None
    try:
        with Display(console, total, "starting workers" if command.place.workers else "loading") as display:
            if isinstance(command, ResumeCommand):
                result = resume(command.run, place=command.place, watch=display.show)
            else:
                result = pretrain(
                    command.config,
                    command.origin,
                    run=command.run,
                    place=command.place,
                    watch=display.show,
                )
    except TrainingStopped as stopped:
        console.print(str(stopped), soft_wrap=True)
        return INTERRUPTED
    if result.resumed_at == result.steps:
        console.print(f"{result.run} was finished already, at step {result.steps}", soft_wrap=True)
    else:
        console.print(f"{result.steps} steps, {result.seconds:.1f} s; run: {result.run}", soft_wrap=True)
    return 0


def parse(argv: Sequence[str]) -> PretrainCommand | ResumeCommand:
    """The command that the arguments mean; tyro prints help and mistakes, and exits."""
    commands = {name: _command_of(recipe) for name, recipe in RECIPES.items()}
    return tyro.extras.subcommand_cli_from_dict(
        commands | {"resume": ResumeCommand}, prog="framebank pretrain", args=list(argv)
    )


def _command_of(recipe: Callable[[], PretrainConfig]) -> Callable[..., PretrainCommand]:
    """What the command line of a recipe is made from: its parameters are the options."""

    def command(
        *,
        run: Annotated[Path, tyro.conf.arg(help="Run directory; made if new, gone on with if the same run.")],
        origin: Annotated[Origin, tyro.conf.arg(name="")] = Origin(),  # noqa: B008
        place: Annotated[Place, tyro.conf.arg(name="")] = Place(),  # noqa: B008
        config: Annotated[PretrainConfig, tyro.conf.arg(name="")] = recipe(),  # noqa: B008
    ) -> PretrainCommand:
        return PretrainCommand(config=config, origin=origin, run=run, place=place)

    command.__doc__ = inspect.cleandoc(recipe.__doc__ or "")
    return command
