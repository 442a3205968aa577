"""`framebank sweep`: many trainings from a few lines, and the best of them, tested.

    framebank sweep shapes --bank BANK --folder FOLDER --label motion
    framebank sweep shapes --bank BANK --folder FOLDER --vary optim.lr=log:1e-4:1e-2 decoder.layers=1,2 \\
        --search random --trials 16 --seeds 3 --halving 3

Trials that read the same clips in the same order train together, `--heads` of them on one read of the bank;
`--ray` spreads such groups over the machines of a Ray cluster. The same command goes on after any
interruption.
"""

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from decoders.config import TrainConfig
from decoders.sweeps.choices import parse_varied
from decoders.sweeps.config import RayOptions, SearchPlan, SweepConfig, SweepPlaces
from decoders.sweeps.display import SweepDisplay
from decoders.sweeps.jobs import JobRunner, run_here
from decoders.sweeps.recipes import SWEEPS
from decoders.sweeps.report import show_report
from decoders.sweeps.sweep import sweep
from training.interrupt import INTERRUPTED, TrainingStopped


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepCommand:
    """A sweep with its overrides, and where it runs."""

    config: SweepConfig
    places: SweepPlaces
    ray: RayOptions


def main(argv: Sequence[str]) -> int:
    """`framebank sweep RECIPE --bank BANK --folder FOLDER [--vary ...] [overrides]`."""
    console = Console()
    command = parse(argv)
    try:
        report = sweep(
            command.config, command.places, display=SweepDisplay(console), run_jobs=_runner(command.ray)
        )
    except TrainingStopped as stopped:
        console.print(str(stopped), soft_wrap=True)
        return INTERRUPTED
    show_report(console, report)
    console.print(f"report: {command.places.folder}/report.md", highlight=False)
    return 0


def _runner(options: RayOptions) -> JobRunner:
    """Who does the jobs; Ray is imported only where it is asked for."""
    if not options.ray:
        return run_here
    return importlib.import_module("decoders.sweeps.tune").on_ray(options)


def parse(argv: Sequence[str]) -> SweepCommand:
    """The command that the arguments mean; tyro prints help and its mistakes, and exits. Raises ValueError
    for a setting that cannot vary so.
    """
    commands = {name: _command_of(recipe) for name, recipe in SWEEPS.items()}
    return tyro.extras.subcommand_cli_from_dict(commands, prog="framebank sweep", args=list(argv))()


def _command_of(recipe: Callable[[], SweepConfig]) -> Callable[..., Callable[[], SweepCommand]]:
    """What the command line of a recipe is made from: its parameters are the options. What it gives makes the
    command, so that errors in it are not taken for tyro's.
    """
    described = recipe()
    usual = tuple(f"{name}={varied.text}" for name, varied in described.vary.items())

    def command(
        *,
        places: Annotated[SweepPlaces, tyro.conf.arg(name="")],
        vary: Annotated[tuple[str, ...], tyro.conf.arg(help=VARY)] = usual,
        plan: Annotated[SearchPlan, tyro.conf.arg(name="")] = described.plan,
        ray: Annotated[RayOptions, tyro.conf.arg(name="")] = RayOptions(),  # noqa: B008
        base: Annotated[TrainConfig, tyro.conf.arg(name="")] = described.base,
    ) -> Callable[[], SweepCommand]:
        def made() -> SweepCommand:
            varied = dict(parse_varied(TrainConfig, text) for text in vary)
            config = SweepConfig(recipe=described.recipe, base=base, vary=varied, plan=plan)
            return SweepCommand(config=config, places=places, ray=ray)

        return made

    command.__doc__ = inspect.cleandoc(recipe.__doc__ or "")
    return command


VARY = (
    "What varies: NAME=VALUE,VALUE or NAME=log:LOW:HIGH, linear:LOW:HIGH, integer:LOW:HIGH (with :POINTS for "
    "a grid); any setting of the base by its dotted name."
)
