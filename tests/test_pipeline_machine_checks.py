"""What the doctor says of a machine: each check passes, warns and fails as the machine deserves."""

import json
import resource
import subprocess
import sys
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest
import torch

from pipeline import machine_checks
from tests.told_findings import only, told
from video import codecs

Run = namedtuple("Run", "returncode stdout stderr")


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10, 4), "FAIL"), ((3, 11, 0), "PASS"), ((3, 14, 1), "PASS")]
)
def test_python(monkeypatch, version, status):
    monkeypatch.setattr(sys, "version_info", version)
    told(only(machine_checks.python()), status, ".".join(map(str, version)))


@pytest.mark.parametrize(
    ("build", "driver", "status", "words"),
    [
        (None, None, "WARN", "no GPU and no driver"),
        ("12.8", None, "WARN", "no GPU and no driver"),
        (None, "535.1", "FAIL", "built for the CPU only, but the machine has GPUs (driver 535.1)"),
        ("13.0", "470.2", "FAIL", "it cannot use the GPUs of driver 470.2"),
    ],
)
def test_torch_without_a_usable_gpu(monkeypatch, build, driver, status, words):
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine_checks, "gpu_driver", lambda: driver)
    told(only(machine_checks.torch_and_gpus()), status, torch.__version__, words)


@pytest.fixture
def two_gpus(monkeypatch):
    """Two GPUs with 24 GB, of which the second has 1 GB free."""
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(name=f"card {number}")
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ((23, 1)[number] * 10**9, 24 * 10**9))
    monkeypatch.setattr(torch, "ones", lambda *shape, device: torch.zeros(shape))


def test_gpus_with_room_and_without(two_gpus):
    build, first, second = machine_checks.torch_and_gpus()
    told(build, "PASS", "built for CUDA 12.8")
    told(first, "PASS", "card 0, 23.0 of 24.0 GB free")
    told(second, "WARN", "card 1, 1.0 of 24.0 GB free", "nvidia-smi")


def test_a_gpu_that_computes_nothing(two_gpus, monkeypatch):
    def broken(*shape, device):
        raise RuntimeError("CUDA error: no kernel image is available\nmore")

    monkeypatch.setattr(torch, "ones", broken)
    told(machine_checks.gpu(0), "FAIL", "card 0 computes nothing: CUDA error: no kernel image is available")


def test_the_driver(monkeypatch):
    monkeypatch.setattr(machine_checks.shutil, "which", lambda name: None)
    assert machine_checks.gpu_driver() is None
    monkeypatch.setattr(machine_checks.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: Run(0, "535.104.05\n535.104.05\n", ""))
    assert machine_checks.gpu_driver() == "535.104.05"
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: Run(9, "NVIDIA-SMI has failed", ""))
    assert machine_checks.gpu_driver() is None


@pytest.mark.parametrize(
    ("missing", "status"), [([], "PASS"), (["libdav1d", "libaom-av1"], "WARN"), (["h264", "mpeg4"], "FAIL")]
)
def test_codecs(monkeypatch, missing, status):
    known = [name for names in codecs.DECODERS.values() for name in names if name not in missing]
    monkeypatch.setattr(codecs, "has_decoder", known.__contains__)
    found = machine_checks.codecs()[0]
    lost = [name for name in ("h264", "av1", "mpeg4") if name in " ".join(missing)]
    told(found, status, codecs.ffmpeg_version(), *([f"but not {', '.join(lost)}"] if lost else []))


def test_this_ffmpeg_decodes_what_is_promised():
    assert codecs.missing_codecs() == []
    assert not codecs.has_decoder("no such codec")


def test_decord(monkeypatch):
    told(machine_checks.codecs()[1], "PASS")
    monkeypatch.setitem(sys.modules, "decord", None)
    told(machine_checks.codecs()[1], "WARN", "cannot be imported", "pip install decord")


@pytest.mark.parametrize(("available", "status"), [(8e9, "PASS"), (3e9, "WARN"), (5e8, "FAIL")])
def test_memory(monkeypatch, tmp_path, available, status):
    monkeypatch.setattr(machine_checks, "CGROUP", tmp_path / "none")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16e9, available=available))
    told(only(machine_checks.memory()), status, f"{available / 1e9:.1f} of 16.0 GB available", "cores")


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(machine_checks, "CGROUP", tmp_path / "memory.max")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64e9, available=60e9))
    (tmp_path / "memory.max").write_text("max\n")
    told(only(machine_checks.memory()), "PASS", "60.0 of 64.0 GB")
    (tmp_path / "memory.max").write_text("100000000\n")
    told(only(machine_checks.memory()), "FAIL", "of 0.1 GB", "--encoders 1")


def test_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16e9, available=10e9))
    monkeypatch.setattr(machine_checks, "SHARED_MEMORY", tmp_path)
    for free, status in ((4 * 10**9, "PASS"), (64 * 10**6, "WARN")):
        monkeypatch.setattr(
            machine_checks.shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free)
        )
        told(only(machine_checks.shared_memory()), status, "object store would take 3.00 GB")
    told(only(machine_checks.shared_memory()), "WARN", "docker run --shm-size=3g")
    monkeypatch.setattr(machine_checks, "SHARED_MEMORY", tmp_path / "none")
    told(only(machine_checks.shared_memory()), "WARN", "there is no ")


@pytest.mark.parametrize(
    ("soft", "hard", "status", "words"),
    [
        (65536, 65536, "PASS", "65,536"),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, "PASS", "no limit"),
        (1024, 524288, "WARN", "ulimit -n 65536"),
        (1024, resource.RLIM_INFINITY, "WARN", "ulimit -n 65536"),
        (1024, 1024, "WARN", "limits.conf"),
        (128, 4096, "FAIL", "ulimit -n 4096"),
    ],
)
def test_open_files(monkeypatch, soft, hard, status, words):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    told(only(machine_checks.open_files()), status, words)


RAY = {"version": "2.60.0"}


@pytest.mark.parametrize(
    ("address", "code", "answer", "status", "words"),
    [
        ("", 0, RAY | {"alone": True}, "PASS", "no cluster runs here"),
        (
            "",
            0,
            RAY | {"nodes": 1, "CPU": 2.0, "GPU": 0.0},
            "PASS",
            "a cluster that runs on this machine: 1 nodes",
        ),
        ("head:6379", 0, RAY | {"nodes": 3, "CPU": 96.0, "GPU": 8.0}, "PASS", "3 nodes, 96 CPUs, 8 GPUs"),
        ("head:6379", 0, RAY | {"nodes": 1, "CPU": 0.0, "GPU": 0.0}, "FAIL", "Add a node with cores"),
        (
            "head:6379",
            1,
            "ConnectionError: nobody",
            "FAIL",
            "no cluster at head:6379: ConnectionError: nobody",
        ),
        ("", 1, "ImportError: no ray", "FAIL", "Ray cannot be used: ImportError: no ray"),
        ("", 1, "", "FAIL", "no message"),
    ],
)
def test_ray(monkeypatch, address, code, answer, status, words):
    output = json.dumps(answer) if code == 0 else ""
    error = "" if code == 0 else f"Traceback\n{answer}"
    run = Run(code, f"noise\n{output}\n", error if answer else "")
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: run)
    told(only(machine_checks.ray_here()), status, words)


def test_a_cluster_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(machine_checks, "RAY_SECONDS", 0.1)
    told(only(machine_checks.ray_here()), "FAIL", "the cluster at 127.0.0.1:1 did not answer within 0.1 s")


def test_ray_is_looked_at_for_real_and_none_is_started(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    told(only(machine_checks.ray_here()), "PASS")
