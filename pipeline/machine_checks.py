"""What `framebank doctor` looks at on this machine: Python, torch and GPUs, codecs, memory, limits, Ray."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import psutil

from pipeline.checkup import Finding, failed, judged, passed, warned

OLDEST_PYTHON = (3, 11)
GPU_FREE = 2 * 10**9
"""Bytes free on a GPU below which a tower with its batch may not fit."""
MEMORY_WARN, MEMORY_FAIL = 4 * 10**9, 10**9
"""Bytes of available memory; an encoder with ViT-B/16 and a decode worker take about 2 GB."""
STORE_SHARE = 0.3
"""Share of the available memory that Ray gives its object store by default."""
FILES_WARN, FILES_FAIL = 4096, 256
"""Open files; Ray itself complains below the first."""
RAY_SECONDS = 60.0
CGROUP = Path("/sys/fs/cgroup/memory.max")
SHARED_MEMORY = Path("/dev/shm")


def python() -> list[Finding]:
    """The interpreter's version."""
    fact = f"{'.'.join(map(str, sys.version_info[:3]))} at {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return [
            failed("python", fact, "Make an environment with Python 3.11 or later: uv venv --python 3.11")
        ]
    return [passed("python", fact)]


def torch_and_gpus() -> list[Finding]:
    """torch's build against the driver, and each GPU: that it computes, and its free memory."""
    import torch

    build = torch.version.cuda or torch.version.hip
    fact = f"{torch.__version__}, {f'built for CUDA {build}' if build else 'built for the CPU only'}"
    driver = gpu_driver()
    if torch.cuda.is_available():
        return [passed("torch", fact), *(gpu(number) for number in range(torch.cuda.device_count()))]
    if driver is None:
        mend = "Encode on a machine with a GPU, or be patient: ViT-B/16 takes seconds a clip on a CPU"
        return [warned("torch", f"{fact}; no GPU and no driver here", mend)]
    if build is None:
        mend = "Install a build of torch for CUDA, as https://pytorch.org/get-started/locally says"
        return [failed("torch", f"{fact}, but the machine has GPUs (driver {driver})", mend)]
    mend = (
        "Update the driver, or install torch for an older CUDA; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
    )
    return [failed("torch", f"{fact}, but it cannot use the GPUs of driver {driver}", mend)]


def gpu_driver() -> str | None:
    """Version of NVIDIA's driver, or None where there is none."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return None
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return run.stdout.split("\n")[0].strip() or None if run.returncode == 0 else None


def gpu(number: int) -> Finding:
    """One GPU: does it compute, and how much of its memory is free."""
    import torch

    name = torch.cuda.get_device_properties(number).name
    try:
        torch.ones(8, 8, device=f"cuda:{number}").sum().item()
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        return failed(
            f"gpu {number}", f"{name} computes nothing: {said}", "Install a torch built for this GPU"
        )
    free, total = torch.cuda.mem_get_info(number)
    fact = f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    mend = "See with nvidia-smi who uses it, or leave it out by CUDA_VISIBLE_DEVICES"
    return judged(f"gpu {number}", fact, mend, fail=False, warn=free < GPU_FREE)


def codecs() -> list[Finding]:
    """The decoders of PyAV's FFmpeg, and decord."""
    from video.codecs import DECODERS, decord_fault, ffmpeg_version, missing_codecs

    missing, fault = missing_codecs(), decord_fault()
    have = [codec for codec in DECODERS if codec not in missing]
    fact = f"FFmpeg {ffmpeg_version()} of PyAV decodes {', '.join(have) or 'nothing'}"
    if missing:
        fact += f", but not {', '.join(missing)}"
    mend = "Install PyAV's own wheel, which has all of them: pip install --force-reinstall --no-deps av"
    found = judged("codecs", fact, mend, fail="h264" in missing, warn=bool(missing))
    if not fault:
        return [found, passed("decord", "can be imported; it decodes what its frame numbers fit")]
    mend = "pip install decord (for x86-64 only); without it PyAV decodes everything, more slowly"
    return [found, warned("decord", f"cannot be imported: {fault}", mend)]


def memory() -> list[Finding]:
    """Cores, and memory that is available, within the container's limit."""
    found, limit = psutil.virtual_memory(), memory_limit()
    used = psutil.Process().memory_info().rss
    available = found.available if limit is None else min(found.available, max(0, limit - used))
    total = found.total if limit is None else min(found.total, limit)
    fact = f"{available / 1e9:.1f} of {total / 1e9:.1f} GB available, {len(os.sched_getaffinity(0))} cores"
    mend = "End other programs, raise the container's limit, or run fewer workers (--encoders 1)"
    return [judged("memory", fact, mend, fail=available < MEMORY_FAIL, warn=available < MEMORY_WARN)]


def memory_limit() -> int | None:
    """Bytes that this container may use, or None where there is no limit."""
    try:
        text = CGROUP.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def shared_memory() -> list[Finding]:
    """Room in /dev/shm for Ray's object store."""
    need = STORE_SHARE * psutil.virtual_memory().available
    if not SHARED_MEMORY.is_dir():
        free, fact = 0, f"there is no {SHARED_MEMORY}"
    else:
        free = shutil.disk_usage(SHARED_MEMORY).free
        fact = f"{free / 1e9:.2f} GB free in {SHARED_MEMORY}"
    fact += f"; Ray's object store would take {need / 1e9:.2f} GB"
    mend = (
        f"In a container: docker run --shm-size={need / 2**30:.0f}g; otherwise: mount -o remount,size=... "
        f"{SHARED_MEMORY}. Ray takes the slower /tmp until then"
    )
    return [judged("shared memory", fact, mend, fail=False, warn=free < need)]


def open_files() -> list[Finding]:
    """The limit on open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fact = "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft:,} at once (ulimit -n)"
    if soft == resource.RLIM_INFINITY:
        return [passed("open files", fact)]
    most = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    mend = (
        f"ulimit -n {most}" if most > soft else "Raise the hard limit (nofile in /etc/security/limits.conf)"
    )
    return [judged("open files", fact, mend, fail=soft < FILES_FAIL, warn=soft < FILES_WARN)]


def ray_here() -> list[Finding]:
    """Ray's version, and the cluster that RAY_ADDRESS names or that runs here."""
    named = os.environ.get("RAY_ADDRESS", "")
    command = [sys.executable, "-P", "-m", "pipeline.ray_probe"]
    mend = (
        f"Start the cluster, correct RAY_ADDRESS ({named}), or unset it to start Ray here"
        if named
        else ("pip install -e . anew; if an old Ray is still running here: ray stop")
    )
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=RAY_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        where = f"the cluster at {named}" if named else "Ray"
        return [failed("ray", f"{where} did not answer within {RAY_SECONDS:g} s", mend)]
    if run.returncode:
        said = (run.stderr.strip().splitlines() or ["no message"])[-1]
        return [failed("ray", f"{f'no cluster at {named}' if named else 'Ray cannot be used'}: {said}", mend)]
    found = json.loads(run.stdout.strip().splitlines()[-1])
    if found.get("alone"):
        return [passed("ray", f"{found['version']}; no cluster runs here, one is started when needed")]
    where = named or "a cluster that runs on this machine"
    fact = (
        f"{found['version']}, {where}: {found['nodes']} nodes, {found['CPU']:g} CPUs, {found['GPU']:g} GPUs"
    )
    return [judged("ray", fact, "Add a node with cores to the cluster", fail=not found["CPU"], warn=False)]
