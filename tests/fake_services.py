"""Stand-ins for the packages wandb and mlflow: the few calls that framebank makes, with what they were given.

The real packages are 130 MB and take seconds to start, so they are not among what tests need; slow tests use
them (`tests/test_training_services.py`), and the calls there are the same.
"""

from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any


class FakeError(Exception):
    """What both packages' own errors are here."""


class WandbServer:
    """Runs by identity; each session's arguments and lines."""

    def __init__(self) -> None:
        self.runs: dict[str, list[dict[str, Any]]] = {}
        self.exit_codes: dict[str, list[int]] = {}
        self.refuses = False

    def init(self, *, id: str, resume: str, reinit: str, settings: Any, **given: Any) -> "WandbFakeRun":
        if self.refuses:
            raise FakeError("no answer")
        assert (resume, reinit) == ("allow", "create_new")
        self.runs.setdefault(id, [])
        self.given = given
        return WandbFakeRun(self, id)

    def module(self) -> ModuleType:
        module = empty_module("wandb")
        return with_names(module, init=self.init, Error=FakeError, Settings=lambda **given: given)


class WandbFakeRun:
    def __init__(self, server: WandbServer, identity: str) -> None:
        self._server, self._identity = server, identity

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "step")

    def log(self, values: dict[str, Any]) -> None:
        self._server.runs[self._identity].append(values)

    def finish(self, exit_code: int) -> None:
        self._server.exit_codes.setdefault(self._identity, []).append(exit_code)


class MlflowServer:
    """What `MlflowClient` reaches."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.refuses = False

    def modules(self) -> dict[str, ModuleType]:
        """By the names under which they are imported."""
        entities = {"Metric": lambda *values: values, "Param": lambda *values: values}
        return {
            "mlflow": empty_module("mlflow"),
            "mlflow.tracking": with_names(
                empty_module("mlflow.tracking"), MlflowClient=lambda: MlflowFakeClient(self)
            ),
            "mlflow.exceptions": with_names(empty_module("mlflow.exceptions"), MlflowException=FakeError),
            "mlflow.entities": with_names(empty_module("mlflow.entities"), **entities),
        }


class MlflowFakeClient:
    tracking_uri = "http://fake"

    def __init__(self, server: MlflowServer) -> None:
        self._server = server

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        self._answer()
        known = self._server.experiments
        return SimpleNamespace(experiment_id=known[name]) if name in known else None

    def create_experiment(self, name: str) -> str:
        return self._server.experiments.setdefault(name, str(len(self._server.experiments)))

    def create_run(self, experiment: str, run_name: str) -> SimpleNamespace:
        identity = f"run-{len(self._server.runs)}"
        found = {"experiment": experiment, "name": run_name, "params": {}, "metrics": [], "status": "RUNNING"}
        self._server.runs[identity] = found
        return SimpleNamespace(info=SimpleNamespace(run_id=identity))

    def log_batch(self, identity: str, metrics: Any = (), params: Any = ()) -> None:
        self._answer()
        assert len(metrics) <= 1000
        assert len(params) <= 100
        run = self._server.runs[identity]
        run["params"] |= dict(params)
        run["metrics"] += [(name, step, value) for name, value, _, step in metrics]

    def update_run(self, identity: str, status: str) -> None:
        self.set_terminated(identity, status)

    def set_terminated(self, identity: str, status: str) -> None:
        self._answer()
        self._server.runs[identity]["status"] = status

    def _answer(self) -> None:
        if self._server.refuses:
            raise FakeError("no answer")


def empty_module(name: str) -> ModuleType:
    """A module that counts as installed."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None, origin="fake")
    return module


def with_names(module: ModuleType, **values: Any) -> ModuleType:
    """The module, with these in it."""
    vars(module).update(values)
    return module
