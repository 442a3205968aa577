"""`framebank finetune`: CLIP's image tower trained end to end, in this process or on workers.

    framebank finetune openvclip-b16 --source train.csv --eval-source val.csv --run RUN [--optim.lr 1e-5] ...
    framebank finetune openvclip-b16 --source train.csv --run RUN --workers 8
    framebank finetune resume --run RUN [--workers 4]

The run directory holds all that going on needs; starting the same command again goes on too. Its result,
RUN/weights.safetensors, is to be mixed with CLIP (`framebank interpolate`).
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from decoders.precision import pick_device
from finetune.place import Place
from finetune.tuning.config import TuneConfig
from finetune.tuning.data import Sources
from finetune.tuning.recipes import RECIPES
from finetune.tuning.session import TunePart, TuneResult, clip_of, materials_of, tune
from training.display import Display
from training.interrupt import INTERRUPTED, StopRequest, TrainingStopped
from training.losses import Watch
from training.run import RunDirectory, open_run
from training.services import refuse_missing_trackers

Announce = Callable[[int], None]


def finetune(
    config: TuneConfig,
    sources: Sources,
    *,
    run: Path,
    place: Place | None = None,
    watch: Watch | None = None,
    announce: Announce | None = None,
) -> TuneResult:
    """Train `config` on the clips of `sources` in the run directory `run`, from its newest checkpoint if it
    has one. A run that is finished already returns at once.

    Args:
        config: a recipe, or one changed with `dataclasses.replace`.
        run: new directory, or that of the same run. place: on what. watch: told of every logged line.
        announce: told how many steps the run has in all, once that is known.

    Raises:
        BackboneError: CLIP's weights cannot be had. InputError: the sources have no such clips.
        ValueError: `run` holds another run (each difference is named), workers cannot share a batch.
        TrainingStopped: after SIGINT or SIGTERM; everything is saved.
        Diverged: a loss became infinite or NaN, now or in an earlier session.
    """
    place = place or Place()
    processes = max(1, place.workers) * config.batch_split
    if config.batch_size % processes:
        raise ValueError(
            f"expected a batch_size that {max(1, place.workers)} processes can share in {config.batch_split} "
            f"pieces each, found {config.batch_size}; take other workers, or another batch_split"
        )
    refuse_missing_trackers(place.log_to)
    materials = materials_of(config, sources)
    if announce is not None:
        announce(config.steps_until(config.epochs, len(materials.train.clips)))
    clip = clip_of(config)  # also where workers load their own: a mistake leaves no run directory behind
    document = {"config": config.to_json(), "data": materials.describe()}
    session = {"sources": asdict(sources), "place": asdict(place)}
    with open_run(run, document, session) as directory:
        if place.workers:
            from finetune.tuning.workers import TuneOnWorker
            from finetune.workers import on_place  # Ray takes a second to import

            part = TuneOnWorker(config=config, sources=sources, run=directory.path, place=place)
            return on_place(part, place, directory.path, watch)
        with StopRequest() as stop:
            return tune(config, clip, materials, directory, _part_alone(place, watch, stop))


def _part_alone(place: Place, watch: Watch | None, stop: StopRequest) -> TunePart:
    """How this process takes part where there are no workers."""
    return TunePart(
        device=pick_device(place.device),
        decode_processes=place.decode_processes,
        stop=stop,
        watch=watch,
        log_to=place.log_to,
    )


def resume(
    run: Path, *, place: Place | None = None, watch: Watch | None = None, announce: Announce | None = None
) -> TuneResult:
    """Go on with a run from its directory alone, with the sources of its last session; and on the same
    place, if none is named.
    """
    directory = RunDirectory.read(run)
    last = directory.sessions()[-1]
    before = last["place"] | {"log_to": tuple(last["place"]["log_to"])}
    sources = Sources(**last["sources"])
    config = TuneConfig.from_json(directory.config)
    return finetune(config, sources, run=run, place=place or Place(**before), watch=watch, announce=announce)


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneCommand:
    """A recipe with its overrides, and where it runs."""

    config: TuneConfig
    sources: Sources
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
    """`framebank finetune RECIPE --source LIST --run RUN [overrides]`, or `framebank finetune resume`."""
    console = Console()
    command = parse(argv)
    try:
        with Display(console, None, "starting workers" if command.place.workers else "loading") as display:
            if isinstance(command, ResumeCommand):
                result = resume(
                    command.run, place=command.place, watch=display.show, announce=display.announce
                )
            else:
                result = finetune(
                    command.config,
                    command.sources,
                    run=command.run,
                    place=command.place,
                    watch=display.show,
                    announce=display.announce,
                )
    except TrainingStopped as stopped:
        console.print(str(stopped), soft_wrap=True)
        return INTERRUPTED
    console.print(_summary(result), soft_wrap=True)
    return 0


def parse(argv: Sequence[str]) -> FinetuneCommand | ResumeCommand:
    """The command that the arguments mean; tyro prints help and mistakes, and exits."""
    commands = {name: _command_of(recipe) for name, recipe in RECIPES.items()}
    return tyro.extras.subcommand_cli_from_dict(
        commands | {"resume": ResumeCommand}, prog="framebank finetune", args=list(argv)
    )


def _command_of(recipe: Callable[[], TuneConfig]) -> Callable[..., FinetuneCommand]:
    """What the command line of a recipe is made from: its parameters are the options."""

    def command(
        *,
        sources: Annotated[Sources, tyro.conf.arg(name="")],
        run: Annotated[Path, tyro.conf.arg(help="Run directory; made if new, gone on with if the same run.")],
        place: Annotated[Place, tyro.conf.arg(name="")] = Place(),  # noqa: B008
        config: Annotated[TuneConfig, tyro.conf.arg(name="")] = recipe(),  # noqa: B008
    ) -> FinetuneCommand:
        return FinetuneCommand(config=config, sources=sources, run=run, place=place)

    command.__doc__ = inspect.cleandoc(recipe.__doc__ or "")
    return command


def _summary(result: TuneResult) -> str:
    scores = "".join(f", {name} {value:.3f}" for name, value in result.scores.items())
    if result.resumed_at == result.steps:
        return f"{result.run} was finished already, at step {result.steps}{scores}; result: {result.weights}"
    return f"{result.steps} steps{scores}, {result.seconds:.1f} s; result: {result.weights}"
