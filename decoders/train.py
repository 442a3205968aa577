"""`framebank train`: train a decoder from a bank, in this process or on workers, resumable to the bit.

    framebank train k400-b16-8f --bank BANK --run RUN [--optim.lr 2e-4] [--decoder.no-cross-frame] ...
    framebank train k400-b16-8f --bank BANK --run RUN --workers 8
    framebank train resume --run RUN [--workers 4]

The run directory holds all that going on needs; starting the same command again goes on too. How many workers
there are is not part of a run: it may change each time.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from decoders.config import TrainConfig
from decoders.heads import Entry, train_together
from decoders.recipes import RECIPES
from decoders.result import TrainResult
from training.display import Display
from training.interrupt import INTERRUPTED, TrainingStopped
from training.losses import Diverged, Watch
from training.run import DIVERGED, RunDirectory
from training.services import TrackerName
from training.team import Crew


def train(
    config: TrainConfig,
    *,
    bank: str | Path,
    run: Path,
    eval_bank: str | Path | None = None,
    device: str = "auto",
    crew: Crew | None = None,
    watch: Watch | None = None,
    log_to: Sequence[str] = (),
) -> TrainResult:
    """Train `config` on `bank` in the run directory `run`, from its newest checkpoint if it has one.

    A run that is finished already returns at once. SIGINT and SIGTERM end the current step, save and raise
    TrainingStopped.

    Args:
        config: a recipe, or one changed with `dataclasses.replace`.
        bank: folder or URL of the bank.
        run: new directory, or that of the same run.
        eval_bank: bank of the `eval_split`, where it is another one (test views of the same backbone).
        device: auto, cpu or cuda.
        crew: the processes that train, through Ray; None trains in this one, without Ray.
        watch: told of every logged line, for progress displays.
        log_to: services that get the log as well: wandb, mlflow.

    Raises:
        ConnectionError: such a service does not answer at the start.
        ValueError: the bank cannot serve the config; `run` holds another run (each difference is named); the
            workers cannot share a batch.
        Diverged: the loss became infinite or NaN, now or in an earlier session.
    """
    entry = Entry(config=config, run=run, watch=watch, log_to=tuple(log_to))
    [result] = _how(crew)([entry], bank=bank, eval_bank=eval_bank, device=device)
    if result.diverged:
        again = f"{run / DIVERGED} keeps that; without it the run goes on from its newest checkpoint"
        raise Diverged(f"{result.diverged}. {again}", result.steps)
    return result


def _how(crew: Crew | None) -> Callable[..., list[TrainResult]]:
    """What trains."""
    if crew is None:
        return train_together
    from decoders.workers import train_on_workers  # Ray takes a second to import

    return partial(train_on_workers, crew=crew)


def resume(
    run: Path,
    *,
    bank: str | Path | None = None,
    eval_bank: str | Path | None = None,
    device: str = "auto",
    crew: Crew | None = None,
    watch: Watch | None = None,
    log_to: Sequence[str] | None = None,
) -> TrainResult:
    """Go on with a run from its directory alone; the banks only where they have moved. `log_to` None logs to
    the services of the last session.
    """
    directory = RunDirectory.read(run)
    config = TrainConfig.from_json(directory.config)
    last = directory.sessions()[-1]
    banks = {"bank": bank or last["bank"], "eval_bank": eval_bank or last["eval_bank"]}
    services = last.get("log_to", ()) if log_to is None else log_to
    return train(config, run=run, device=device, crew=crew, watch=watch, log_to=services, **banks)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainCommand:
    """A recipe with its overrides, and where it runs."""

    config: TrainConfig
    bank: str
    run: Path
    eval_bank: str
    device: str
    log_to: tuple[TrackerName, ...]
    workers: int
    gpus_per_worker: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeCommand:
    """Go on with an interrupted run, from its directory alone."""

    run: Path
    """Run directory."""
    bank: str = ""
    """Where the bank is now, if it has moved."""
    eval_bank: str = ""
    """Where the bank of the evaluation split is now, if it has moved."""
    device: str = "auto"
    """auto, cpu or cuda."""
    log_to: tuple[TrackerName, ...] | None = None
    """Services that get the log as well; None (left out): those of the last session."""
    workers: int = 0
    """Processes that train, through Ray; 0 trains in this one. Need not be as many as before."""
    gpus_per_worker: int | None = None
    """GPUs of each worker; 0 trains on CPUs, None takes one where the cluster has any."""


def main(argv: Sequence[str]) -> int:
    """`framebank train RECIPE --bank BANK --run RUN [overrides]`, or `framebank train resume --run RUN`."""
    console = Console()
    command = parse(argv)
    total = command.config.steps if isinstance(command, TrainCommand) else None
    crew = _crew(command)
    try:
        with Display(console, total, "starting workers" if crew else "") as display:
            if isinstance(command, ResumeCommand):
                result = resume(
                    command.run,
                    bank=command.bank,
                    eval_bank=command.eval_bank,
                    device=command.device,
                    crew=crew,
                    watch=display.show,
                    log_to=command.log_to,
                )
            else:
                result = train(
                    command.config,
                    bank=command.bank,
                    run=command.run,
                    eval_bank=command.eval_bank,
                    device=command.device,
                    crew=crew,
                    watch=display.show,
                    log_to=command.log_to,
                )
    except TrainingStopped as stopped:
        console.print(str(stopped), soft_wrap=True)
        return INTERRUPTED
    console.print(_summary(result), soft_wrap=True)
    return 0


def _crew(command: TrainCommand | ResumeCommand) -> Crew | None:
    """Who trains; None is this process."""
    if command.workers:
        return Crew(workers=command.workers, gpus_per_worker=command.gpus_per_worker)
    if command.gpus_per_worker is not None:
        raise ValueError("expected --workers beside --gpus-per-worker, found none; say how many")
    return None


def parse(argv: Sequence[str]) -> TrainCommand | ResumeCommand:
    """The command that the arguments mean; tyro prints help and mistakes, and exits."""
    commands = {name: _command_of(recipe) for name, recipe in RECIPES.items()}
    return tyro.extras.subcommand_cli_from_dict(
        commands | {"resume": ResumeCommand}, prog="framebank train", args=list(argv)
    )


def _command_of(recipe: Callable[[], TrainConfig]) -> Callable[..., TrainCommand]:
    """What the command line of a recipe is made from: its parameters are the options."""

    def command(
        *,
        bank: Annotated[str, tyro.conf.arg(help="The bank to train from: folder or URL.")],
        run: Annotated[Path, tyro.conf.arg(help="Run directory; made if new, gone on with if the same run.")],
        eval_bank: Annotated[str, tyro.conf.arg(help="Bank of the eval split, if another.")] = "",
        device: Annotated[str, tyro.conf.arg(help="auto, cpu or cuda.")] = "auto",
        log_to: Annotated[
            tuple[TrackerName, ...], tyro.conf.arg(help="Services that get the log as well: wandb, mlflow.")
        ] = (),
        workers: Annotated[int, tyro.conf.arg(help="Processes that train, through Ray; 0: this one.")] = 0,
        gpus_per_worker: Annotated[int | None, tyro.conf.arg(help="None: one where there are any.")] = None,
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = recipe(),  # noqa: B008
    ) -> TrainCommand:
        return TrainCommand(
            config=config,
            bank=bank,
            run=run,
            eval_bank=eval_bank,
            device=device,
            log_to=log_to,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
        )

    command.__doc__ = inspect.cleandoc(recipe.__doc__ or "")
    return command


def _summary(result: TrainResult) -> str:
    if result.resumed_at == result.steps > 0:
        return f"{result.run} was finished already, at step {result.steps}"
    scores = "".join(f", {name} {value:.3f}" for name, value in result.scores.items())
    return f"{result.steps} steps{scores}, {result.seconds:.1f} s; run directory: {result.run}"
