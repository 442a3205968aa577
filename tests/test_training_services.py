"""Weights & Biases and MLflow: what their clients are given; the real ones, offline, among the slow tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from decoders.heads import train_heads
from decoders.sweeps.sweep import sweep
from decoders.train import parse, resume, train
from tests.fake_services import MlflowServer, WandbServer
from tests.small_runs import CONFIG, write_learnable_bank
from tests.small_sweeps import places, quiet, sweep_config
from tests.wandb_files import history
from training.run import RunDirectory
from training.services import refuse_missing_trackers

STEPS = list(range(1, CONFIG.steps + 1))


@pytest.fixture
def bank(tmp_path) -> Path:
    return write_learnable_bank(tmp_path / "bank")


@pytest.fixture
def wandb(monkeypatch) -> WandbServer:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    server = WandbServer()
    monkeypatch.setitem(sys.modules, "wandb", server.module())
    return server


@pytest.fixture
def mlflow(monkeypatch) -> MlflowServer:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    server = MlflowServer()
    for name, module in server.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return server


def steps_of(lines, name: str = "loss") -> list[int]:
    return [line["step"] for line in lines if name in line]


def test_wandb_gets_every_line_once_though_the_run_is_interrupted(bank, tmp_path, wandb):
    stop_after(5, bank, tmp_path / "run", ["wandb"])
    train(CONFIG, bank=bank, run=tmp_path / "run", log_to=["wandb"])
    [(identity, lines)] = wandb.runs.items()
    assert steps_of(lines) == STEPS
    assert steps_of(lines, "eval_top1") == [4, 8]
    assert wandb.exit_codes[identity] == [1, 0]
    assert wandb.given["project"] == "framebank"
    assert wandb.given["name"] == "run"
    assert wandb.given["config"]["config"]["steps"] == CONFIG.steps


def stop_after(steps: int, bank: Path, run: Path, log_to: list[str]) -> None:
    """A run that dies without notice, after a checkpoint at step 4."""

    class Death(Exception):
        pass

    def watch(done, values):
        if done > steps:
            raise Death

    with pytest.raises(Death):
        train(CONFIG, bank=bank, run=run, watch=watch, log_to=log_to)


def test_the_environment_names_the_project(bank, tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    train(CONFIG, bank=bank, run=tmp_path / "run", log_to=["wandb"])
    assert wandb.given["project"] is None  # the client takes it from there
    assert wandb.given["dir"] is None


def test_mlflow_gets_every_line_once_though_the_run_is_interrupted(bank, tmp_path, mlflow):
    stop_after(5, bank, tmp_path / "run", ["mlflow"])
    assert mlflow.runs["run-0"]["status"] == "KILLED"
    train(CONFIG, bank=bank, run=tmp_path / "run", log_to=["mlflow"])
    [run] = mlflow.runs.values()
    assert [step for name, step, _ in run["metrics"] if name == "loss"] == STEPS
    assert (run["name"], run["status"]) == ("run", "FINISHED")
    assert run["params"]["config.optim.lr"] == "0.003"
    assert mlflow.experiments == {"framebank": "0"}


def test_mlflow_may_fail_while_a_run_goes_on(bank, tmp_path, mlflow):
    def watch(done, values):
        mlflow.refuses = done in (3, 4)

    with pytest.warns(RuntimeWarning, match="no answer"):
        train(CONFIG, bank=bank, run=tmp_path / "run", watch=watch, log_to=["mlflow"])
    metrics = mlflow.runs["run-0"]["metrics"]
    assert [step for name, step, _ in metrics if name == "loss"] == STEPS


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_service_that_does_not_answer_at_the_start_is_an_error(bank, tmp_path, wandb, mlflow, name):
    wandb.refuses = mlflow.refuses = True
    with pytest.raises(ConnectionError, match=r"no answer.*(WANDB_MODE=offline|MLFLOW_TRACKING_URI)"):
        train(CONFIG, bank=bank, run=tmp_path / "run", log_to=[name])


def test_each_head_is_a_run_of_its_own(bank, tmp_path, wandb, mlflow):
    heads = {"a": CONFIG, "b": CONFIG}
    train_heads(heads, bank=bank, folder=tmp_path, log_to=["wandb", "mlflow"])
    assert [steps_of(lines) for lines in wandb.runs.values()] == [STEPS, STEPS]
    assert [run["name"] for run in mlflow.runs.values()] == ["a", "b"]


def test_each_trial_of_a_sweep_is_a_run_that_goes_on_at_every_rung(bank, tmp_path, wandb, monkeypatch):
    monkeypatch.setattr("decoders.sweeps.report.plot_sweep", lambda path, report, trials: path.touch())
    where = places(bank, tmp_path / "sweep", log_to=("wandb",))
    report = sweep(sweep_config(), where, display=quiet())
    ends = [setting["rungs"][-1]["step"] for setting in report["settings"] for _ in setting["trials"]]
    assert sorted(steps_of(lines)[-1] for lines in wandb.runs.values()) == sorted(ends)
    assert all(steps_of(lines) == list(range(1, len(steps_of(lines)) + 1)) for lines in wandb.runs.values())


def test_a_run_that_goes_on_logs_to_where_it_did(bank, tmp_path, wandb):
    stop_after(5, bank, tmp_path / "run", ["wandb"])
    resume(tmp_path / "run")
    [lines] = wandb.runs.values()
    assert steps_of(lines) == STEPS
    assert [session["log_to"] for session in RunDirectory.read(tmp_path / "run").sessions()] == [
        ["wandb"]
    ] * 2
    resume(tmp_path / "run", log_to=[])
    assert RunDirectory.read(tmp_path / "run").sessions()[-1]["log_to"] == []


def test_where_it_is_logged_is_no_part_of_a_run(bank, tmp_path, wandb):
    train(CONFIG, bank=bank, run=tmp_path / "run")
    train(CONFIG, bank=bank, run=tmp_path / "run", log_to=["wandb"])
    [lines] = wandb.runs.values()
    assert steps_of(lines) == STEPS


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "wandb").mkdir()
    with pytest.raises(ValueError, match=r"pip install 'framebank\[wandb\]'"):
        refuse_missing_trackers(["wandb"])
    with pytest.raises(ValueError, match="expected wandb or mlflow"):
        refuse_missing_trackers(["tensorboard"])


def test_the_command_line():
    command = parse(["shapes", "--bank", "b", "--run", "r", "--log-to", "wandb", "mlflow"])
    assert command.log_to == ("wandb", "mlflow")
    assert parse(["shapes", "--bank", "b", "--run", "r"]).log_to == ()
    assert parse(["resume", "--run", "r"]).log_to is None
    assert parse(["resume", "--run", "r", "--log-to"]).log_to == ()


WANDB_TWICE = """
import sys
from pathlib import Path
from tests.small_runs import CONFIG
from decoders.train import train
class Death(Exception): pass
def watch(done, values):
    if done > 5: raise Death
folder = Path(sys.argv[1])
try:
    train(CONFIG, bank=folder / "bank", run=folder / "run", watch=watch, log_to=sys.argv[2:])
except Death:
    train(CONFIG, bank=folder / "bank", run=folder / "run", log_to=sys.argv[2:])
"""


def run_really(bank: Path, **environment: str) -> None:
    """An interrupted run and its end, in a process with the packages as they are."""
    arguments = [sys.executable, "-c", WANDB_TWICE, str(bank.parent), "wandb", "mlflow"]
    subprocess.run(arguments, check=True, env=os.environ | environment, timeout=250)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # between MLflow and SQLAlchemy
def test_the_real_packages_offline(bank, tmp_path):
    """Needs `pip install 'framebank[wandb,mlflow]'`, and fails without."""
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_really(bank, WANDB_MODE="offline", MLFLOW_TRACKING_URI=uri, MLFLOW_DISABLE_TELEMETRY="true")
    sessions = sorted((tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb"))
    assert len({path.name for path in sessions}) == 1
    found = [line for path in sessions for line in history(path)]
    assert steps_of(found) == STEPS
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("framebank")
    [run] = client.search_runs([experiment.experiment_id])
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == STEPS
    assert run.info.status == "FINISHED"
