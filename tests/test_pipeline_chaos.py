"""Whatever is killed in mid-run on several nodes, after a rerun the bank is the undisturbed one."""

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.verify import VerifyCommand, verify
from storage import Bank
from tests.chaotic_runs import (
    SHARD_ROWS,
    Run,
    chaotic_config,
    kill_decode_worker,
    kill_decoder,
    kill_driver,
    kill_encoder,
    lose_node,
    start,
    strike,
)
from tests.cluster_apart import ClusterApart, cluster_apart
from tests.small_clips import write_config
from tests.small_extractions import draw_classes, extract, quiet, run_here

SHARDS = 32
CLIPS = SHARD_ROWS * SHARDS
TIMES = 5
"""Runs that are tried until one is hit in time."""
SECONDS = 300.0
"""In which a run must end."""

Misfortune = Callable[[Run, random.Random], bool]


@dataclass(frozen=True)
class Scene:
    """Videos, a model, their undisturbed bank, and a cluster to break."""

    source: Path
    model: Path
    bank: Bank
    cluster: ClusterApart
    runs: list[Run] = field(default_factory=list)

    def start(self, bank: Path) -> Run:
        """Extract into a bank on the cluster."""
        self.runs.append(start(self.cluster, self.source, self.model, bank, SHARDS))
        return self.runs[-1]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("chaos")
    (folder / "videos").mkdir()
    source, model = draw_classes(folder / "videos", CLIPS), write_config(folder / "small.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.extract.run_tasks", run_here)
        bank = extract(chaotic_config(source, model, folder / "undisturbed"), quiet())
    with cluster_apart() as cluster:
        scene = Scene(source, model, bank, cluster)
        yield scene
        for run in scene.runs:
            run.driver.kill()  # it may hang, which is what a test is for
            run.driver.communicate()


def struck(scene: Scene, folder: Path, misfortunes: list[Misfortune], seed: int) -> Run:
    """A run that all of these hit, one after the other, before it was done; its driver may be running."""
    for attempt in range(TIMES):
        run, draw = scene.start(folder / f"bank {attempt}"), random.Random(f"{seed} {attempt}")
        if all(strike(run, misfortune, draw) for misfortune in misfortunes):
            return run
        print(f"seed {seed}: too late, another moment is tried; {run.end(SECONDS)}")
    raise AssertionError(f"{TIMES} times the run was done before it was hit")


def run_again_here(scene: Scene, path: Path) -> None:
    """The same extraction once more, without Ray."""
    extract(chaotic_config(scene.source, scene.model, path), quiet())


def check(scene: Scene, path: Path) -> None:
    """A bank is the undisturbed one: none lost, none twice, every value readable, nothing left over."""
    bank = Bank(path)
    assert bank.digest == scene.bank.digest
    assert len(bank.records) == SHARDS
    assert bank.table["key"].to_pylist() == scene.bank.table["key"].to_pylist()
    assert len(set(bank.table["key"].to_pylist())) == len(set(bank.table["row"].to_pylist())) == CLIPS
    assert set(bank.table["outcome"].to_pylist()) == {"written"}
    assert files(path) == files(Path(scene.bank.path))
    console = quiet()
    assert verify(VerifyCommand(bank=str(path)), console) == 0
    assert console.file.getvalue().startswith(f"{path}: sound")


def files(bank: Path) -> set[str]:
    """Everything in a bank."""
    return {str(path.relative_to(bank)) for path in bank.rglob("*")}


@pytest.mark.slow
@pytest.mark.usefixtures("without_ray")
@pytest.mark.timeout(2 * TIMES * SECONDS)
def test_hit_by_everything_in_one_run_and_run_again(scene, tmp_path):
    run = struck(scene, tmp_path, [kill_decode_worker, kill_encoder, lose_node, kill_driver], seed=0)
    assert run.end(SECONDS)[0] == -signal.SIGKILL
    assert run.committed < SHARDS
    run_again_here(scene, run.bank)
    check(scene, run.bank)


@pytest.mark.slow
@pytest.mark.usefixtures("without_ray")
@pytest.mark.timeout(2 * TIMES * SECONDS)
@pytest.mark.parametrize(
    ("misfortune", "seed"),
    [
        *((kill_encoder, seed) for seed in range(5)),
        *((kill_decode_worker, seed) for seed in range(3)),
        *((lose_node, seed) for seed in range(5)),
    ],
)
def test_a_run_that_loses_a_worker_or_a_node_goes_on(scene, tmp_path, misfortune, seed):
    run = struck(scene, tmp_path, [misfortune], seed)
    code, said = run.end(SECONDS)
    assert code == 0, said
    assert misfortune is not kill_encoder or "an encoder died; another takes its place" in said
    assert Bank(run.bank).digest == scene.bank.digest
    run_again_here(scene, run.bank)  # only removes what the dead left half-written
    check(scene, run.bank)


@pytest.mark.slow
@pytest.mark.usefixtures("without_ray")
@pytest.mark.timeout(2 * TIMES * SECONDS)
@pytest.mark.parametrize("seed", range(2))
def test_a_killed_decoder_costs_the_video_it_had_open_until_a_rerun(scene, tmp_path, seed):
    run = struck(scene, tmp_path, [kill_decoder], seed)
    code, said = run.end(SECONDS)
    assert code == 0, said
    errors = [line["error"] for line in Bank(run.bank).table.to_pylist() if line["outcome"] != "written"]
    assert errors in ([], ["decoder died"])  # the video may just have been done
    run_again_here(scene, run.bank)
    check(scene, run.bank)


@pytest.mark.slow
@pytest.mark.timeout(2 * TIMES * SECONDS)
@pytest.mark.parametrize("seed", range(5))
def test_a_run_whose_driver_was_killed_is_completed_by_the_next(scene, tmp_path, seed):
    run = struck(scene, tmp_path, [kill_driver], seed)
    assert run.end(SECONDS)[0] == -signal.SIGKILL
    again = scene.start(run.bank)
    code, said = again.end(SECONDS)
    assert code == 0, said
    check(scene, run.bank)
