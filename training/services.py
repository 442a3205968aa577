"""Weights & Biases and MLflow through their own clients, imported only where they are asked for.

Projects, addresses and keys come from the clients' own environment: WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE,
WANDB_DIR and so on; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and so on. Project and experiment are called
`framebank` where it names none. A run is called as its directory, and its settings are the run's config.json.
"""

import os
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Literal, get_args
from uuid import uuid4

from training.run import RunDirectory, leaves
from training.trackers import Line, Service, Tracker

TrackerName = Literal["wandb", "mlflow"]
NAMES: tuple[str, ...] = get_args(TrackerName)
PROJECT = "framebank"
PARAMETERS, PARAMETER_LENGTH = 100, 500
"""How many settings MLflow takes in a request, and how long a value may be on any version of its server."""


class WandbRun:
    """A run of Weights & Biases. Its client sends in the background, and writes to the disk what it cannot
    send: under the run directory, unless WANDB_DIR says otherwise.
    """

    def __init__(self, directory: RunDirectory, identity: str | None) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._errors = (wandb.Error, OSError)
        self.identity = identity or uuid4().hex[:12]
        try:
            self._run = wandb.init(
                id=self.identity,
                resume="allow",
                project=None if "WANDB_PROJECT" in os.environ else PROJECT,
                name=None if "WANDB_NAME" in os.environ else directory.path.name,
                dir=None if "WANDB_DIR" in os.environ else directory.path,
                config=directory.document,
                reinit="create_new",  # several heads of one process are as many runs
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            raise ConnectionError(
                f"Weights & Biases: {error}; WANDB_MODE=offline keeps the run here for `wandb sync`"
            ) from error
        self._run.define_metric("*", step_metric="step")  # W&B's own step is a count of lines

    def send(self, lines: Sequence[Line]) -> None:
        try:
            for step, values in lines:
                self._run.log({"step": step, **values})
        except self._errors as error:
            raise ConnectionError(f"Weights & Biases: {error}") from error

    def end(self, *, complete: bool) -> None:
        try:
            self._run.finish(exit_code=0 if complete else 1)
        except self._errors as error:
            raise ConnectionError(f"Weights & Biases: {error}") from error


class MlflowRun:
    """A run of MLflow, through its client, which has no thread and no run that counts as the current one."""

    def __init__(self, directory: RunDirectory, identity: str | None) -> None:
        from mlflow.exceptions import MlflowException  # pyright: ignore[reportMissingImports]
        from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]

        self._client, self._error = MlflowClient(), MlflowException
        try:
            if identity is None:
                self.identity = self._create(directory)
            else:
                self.identity = identity
                self._client.update_run(identity, status="RUNNING")
        except MlflowException as error:
            raise ConnectionError(
                f"MLflow at {self._client.tracking_uri}: {error}; MLFLOW_TRACKING_URI says where it is"
            ) from error

    def send(self, lines: Sequence[Line]) -> None:
        from mlflow.entities import Metric  # pyright: ignore[reportMissingImports]

        now = round(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for step, values in lines for name, value in values.items()]
        self._call(self._client.log_batch, self.identity, metrics=metrics)

    def end(self, *, complete: bool) -> None:
        self._call(self._client.set_terminated, self.identity, "FINISHED" if complete else "KILLED")

    def _call(self, function: Callable[..., object], *values: object, **named: object) -> None:
        try:
            function(*values, **named)
        except self._error as error:
            raise ConnectionError(f"MLflow at {self._client.tracking_uri}: {error}") from error

    def _create(self, directory: RunDirectory) -> str:
        from mlflow.entities import Param  # pyright: ignore[reportMissingImports]

        run = self._client.create_run(self._experiment(), run_name=directory.path.name)
        settings = [Param(name, str(value)[:PARAMETER_LENGTH]) for name, value in leaves(directory.document)]
        for first in range(0, len(settings), PARAMETERS):
            self._client.log_batch(run.info.run_id, params=settings[first : first + PARAMETERS])
        return run.info.run_id

    def _experiment(self) -> str:
        """Id of the experiment, which is made if it does not exist."""
        if identity := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return identity
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if found := self._client.get_experiment_by_name(name):
            return found.experiment_id
        try:
            return self._client.create_experiment(name)
        except self._error:  # another run that starts just now may have made it
            if found := self._client.get_experiment_by_name(name):
                return found.experiment_id
            raise


SERVICES: dict[str, Callable[[RunDirectory, str | None], Service]] = {"wandb": WandbRun, "mlflow": MlflowRun}


def refuse_missing_trackers(names: Sequence[str]) -> None:
    """Raise ValueError where a name is no tracker's, or its package is not installed."""
    for name in names:
        if name not in NAMES:
            raise ValueError(f"expected wandb or mlflow to log to, found {name!r}")
        found = find_spec(name)
        if found is None or found.origin is None:  # a folder ./wandb, which W&B writes to, is no package
            raise ValueError(f"--log-to {name} needs the package {name}: pip install 'framebank[{name}]'")


def open_trackers(names: Sequence[str], directory: RunDirectory) -> list[Tracker]:
    """The trackers of a run, each where it was left.

    Raises:
        ValueError: an unknown name, or a package that is missing.
        ConnectionError: a service that does not answer.
    """
    refuse_missing_trackers(names)
    return [
        Tracker(
            directory.path / f"{name}.json", lambda identity, name=name: SERVICES[name](directory, identity)
        )
        for name in dict.fromkeys(names)
    ]
