"""The project's cluster files: valid by Ray's own rules; the lab's one is run from `ray up` to `ray down`."""

import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from backbones.config import BackboneConfig
from pipeline.recipes import recipes
from storage import Bank
from tests.small_clips import write_config
from tests.small_extractions import draw_classes, extract, quiet
from tests.small_lab import PROJECT, Machine, lab, why_not

CLIPS = 8
RAY = str(Path(sys.prefix) / "bin" / "ray")


def lab_file() -> dict[str, Any]:
    """The cluster of a lab's own machines."""
    return yaml.safe_load((PROJECT / "ray_cluster.yaml").read_text())


def aws_file() -> dict[str, Any]:
    """The cluster in docs/cluster.md."""
    text = (PROJECT / "docs" / "cluster.md").read_text()
    return yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])


@pytest.mark.parametrize("file", [lab_file, aws_file])
def test_valid_by_rays_own_rules(file):
    prepared = prepare_config(file())
    validate_config(prepared)
    assert prepared["head_node_type"] in prepared["available_node_types"]


def test_schema_refuses_what_it_does_not_know():
    with pytest.raises(Exception, match="idle_minutes"):
        validate_config(prepare_config({**lab_file(), "idle_minutes": 5}))


def test_both_files_set_machines_up_alike():
    ours, theirs = lab_file(), aws_file()
    for name in ("file_mounts", "rsync_exclude", "rsync_filter"):
        assert ours[name] == theirs[name]
    assert [line.replace("[aws,cuda]", "") for line in theirs["setup_commands"]] == ours["setup_commands"]


def for_the_test(machines: list[Machine], key: Path) -> dict[str, Any]:
    """The lab's file with the lines marked CHANGE filled in, and with set-up that takes seconds: the
    environment that runs this test is on all machines, so framebank is installed into a new one beside it
    that sees its packages, where the file as it is would download them (2 GB).
    """
    config = lab_file()
    _, head, *workers = machines
    config["provider"].update(head_ip=head.address, worker_ips=[worker.address for worker in workers])
    config["auth"].update(ssh_user="root", ssh_private_key=str(key))
    config["min_workers"] = config["max_workers"] = len(workers)
    config["file_mounts"] = {
        "~/framebank-source": str(PROJECT)
    }  # `ray up` is not called in the project's folder
    make, install, path = config["setup_commands"]
    here = sysconfig.get_path("purelib")
    there = f"~/.framebank/lib/{Path(here).parent.name}/site-packages"
    config["setup_commands"] = [
        make.replace("python3 -m venv", f"{sys.executable} -m venv --without-pip"),
        f"echo {here} > {there}/beside.pth",
        f'sed "1s|.*|#!$HOME/.framebank/bin/python|" {RAY} > ~/.framebank/bin/ray',
        "chmod +x ~/.framebank/bin/ray",
        install.replace("--quiet", "--quiet --no-deps --no-build-isolation"),
        path,
    ]
    assert config["setup_commands"][0] != make
    assert config["setup_commands"][-2] != install
    return config


@pytest.fixture
def cluster(tmp_path) -> Iterator[tuple[list[Machine], str]]:
    """A laptop, a head and a worker, and the file that makes the latter two a cluster."""
    if reason := why_not():
        pytest.skip(reason)
    with lab(tmp_path, ["laptop", "head", "worker"]) as machines:
        file = tmp_path / "cluster.yaml"
        file.write_text(yaml.safe_dump(for_the_test(machines, tmp_path / "key")))
        yield machines, str(file)


def wait_for(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Look every other second."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, what
        time.sleep(2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_started_used_stopped_and_started_again(cluster, tmp_path, without_ray):
    machines, file = cluster
    laptop, head, worker = machines
    model = write_config(tmp_path / "small.json")
    (tmp_path / "videos").mkdir()
    source = draw_classes(tmp_path / "videos", CLIPS)

    def at_the_laptop(*command: str) -> str:
        begun = time.monotonic()
        done = laptop.run([RAY, *command], timeout=400)
        print(f"ray {command[0]}: {time.monotonic() - begun:.0f} s")
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start() -> None:
        at_the_laptop("up", file, "-y")
        wait_for(lambda: both_in(at_the_laptop("exec", file, "ray status")), 240, "the worker did not join")

    def stop() -> None:
        at_the_laptop("down", file, "-y")
        begun = time.monotonic()
        wait_for(lambda: not head.processes() and not worker.processes(), 240, "something was left")
        print(f"all gone {time.monotonic() - begun:.0f} s after `ray down`")

    start()
    overrides = f"--backbone.name {model} --backbone.weights random:0 --shard-rows 1".split()
    where = ["--source", str(source), "--bank", str(tmp_path / "bank")]
    said = at_the_laptop(
        "submit", file, str(PROJECT / "pipeline" / "extract.py"), "--", "shapes", *where, *overrides
    )
    assert f"{CLIPS} clips to do" in said
    far = Bank(tmp_path / "bank")
    assert len(far.rows()) == CLIPS
    assert far.digest == extract_here(source, model, tmp_path / "local").digest
    assert not (head.home / "pipeline").exists(), "the script alone was copied"
    assert {"extract.py", "framebank-source", ".framebank"} <= {path.name for path in head.home.iterdir()}
    assert not (laptop.home / ".framebank").exists(), "machines are not apart"
    stop()
    start()  # what Ray noted of the first cluster is still there, on laptop and head
    stop()


def both_in(status: str) -> bool:
    """Whether `ray status` counts the processors of head and worker."""
    return f"/{2 * psutil.cpu_count()}.0 CPU" in status


def extract_here(source: Path, model: Path, bank: Path) -> Bank:
    """The same extraction without a cluster."""
    _, shapes = recipes()["shapes"]
    backbone = BackboneConfig(name=str(model), weights="random:0")
    return extract(
        replace(shapes, source=str(source), bank=str(bank), backbone=backbone, shard_rows=1), quiet()
    )
