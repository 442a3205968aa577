"""Open-VCLIP on real videos: two processes, killed and gone on with, mixed with CLIP, evaluated, cached.

    python -m benchmarks.openvclip_run FOLDER [--quick]

FOLDER holds real videos, for instance vtest.avi and Megamind.avi of Debian's package `opencv-doc`;
`benchmarks.paper_clips` cuts six clips out of them. `framebank finetune openvclip-b16` trains ViT-B/16 at 224
pixels on 8 frames with two workers, twice: once to its end, and once killed with SIGKILL, workers and all,
after its first checkpoint, and then gone on with by `framebank finetune resume`. The result is mixed with
CLIP, names the held-out clips by their classes' names, and is the frozen backbone of a bank from which an
EVL decoder trains. What is changed is in `changed`: random weights in fp32, since a CPU has no fast half
precision; a few clips and epochs of steps of 2 clips. --quick takes ViT-S/32.

This shows that the commands work together; of a few clips nothing is learned that an accuracy would tell.
What must hold, or it fails: every loss and every weight of the killed run is that of the other, to the bit;
the bank's spec has the temporal view; the decoder's losses are finite.

Keys: `seconds` of each command, `killed_after` (steps), `steps`, `losses` (the first and the last; present
and interpolated weights), `top1` (of two clips), `bank_view`, `decoder_losses`.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.disk import work_folder
from benchmarks.paper_clips import write_clips
from benchmarks.paper_recipes import losses_of
from benchmarks.result import print_figures, write_result
from storage import Bank
from training.checkpoint import checkpoint_path, list_checkpoints
from training.metrics import METRICS, read_metrics

CLASSES = ("walking\n", "flying\n")
EPOCHS = 2
TRAIN = ("--weights", "random:0", "--precision", "fp32", "--batch-size", "2", "--epochs", str(EPOCHS))
EVERY = ("--log-every", "1", "--save-every", "1", "--average-from", "1", "--workers", "2")
FRAMEBANK = (sys.executable, "-c", "import sys, framebank; sys.exit(framebank.dispatch(sys.argv[1:]))")


def main() -> None:
    """Run everything, print the figures, write the result."""
    parser = argparse.ArgumentParser(description="Open-VCLIP end to end on a few real videos.")
    parser.add_argument("folder", type=Path, help="real videos (*.avi)")
    parser.add_argument("--quick", action="store_true", help="a small tower")
    options = parser.parse_args()
    name = "ViT-S-32" if options.quick else "ViT-B-16"
    with work_folder(None, 12 * 10**9) as folder:
        lists = write_clips(options.folder, folder)
        (folder / "classes.txt").write_text("".join(CLASSES))
        figures = run_all(name, lists, folder)
    changed = {"finetune": " ".join((*TRAIN, *EVERY)), "clips": 4}
    print_figures(f"Open-VCLIP, {name}", figures)
    write_result("openvclip_run-quick" if options.quick else "openvclip_run", figures | {"changed": changed})


def run_all(name: str, lists: dict[str, Path], folder: Path) -> dict[str, Any]:
    """All commands, and what they left. Raises ValueError where something does not hold."""
    classes = ("--classes", str(folder / "classes.txt"))
    train = ["finetune", "openvclip-b16", "--name", name, *TRAIN, *EVERY, *classes]
    train += ["--source", str(lists["train"]), "--eval-source", str(lists["val"])]
    whole, broken, mixed = folder / "whole", folder / "broken", folder / "openvclip.safetensors"
    seconds = {"finetune": framebank([*train, "--run", str(whole)])}
    killed = killed_after_a_checkpoint([*train, "--run", str(broken)], broken)
    seconds["resume"] = framebank(["finetune", "resume", "--run", str(broken), "--workers", "2"])
    refuse_difference(whole, broken)
    clip = ("--name", name, "--clip", "random:0")
    tuned = str(broken / "weights.safetensors")
    seconds["interpolate"] = framebank(["interpolate", tuned, *clip, "--out", str(mixed)])
    backbone = ("--name", name, "--weights", str(mixed))
    zeroshot = ["zeroshot", "--sources", str(lists["val"]), *classes, *backbone]
    seconds["zeroshot"] = framebank([*zeroshot, "--out", str(folder / "zero")])
    bank, run = folder / "bank", folder / "decoder"
    frozen = ("--backbone.name", name, "--backbone.weights", str(mixed), "--backbone.precision", "fp32")
    extract = ["extract", "k400-b16-8f", *frozen, "--source", str(lists["train"]), "--bank", str(bank)]
    seconds["extract"] = framebank([*extract, "--encoders", "1"])
    steps = ("--steps", "3", "--batch-size", "2", "--log-every", "1", "--eval-split", "")
    heads = ("--decoder.heads", "6", "--decoder.qkv-width", "384") if name == "ViT-S-32" else ()
    decode = ["train", "k400-b16-8f", "--bank", str(bank), "--run", str(run), "--precision", "fp32"]
    seconds["train"] = framebank([*decode, *steps, *heads, "--split", ""])
    lines = [line for line in read_metrics(broken / METRICS) if "loss" in line]
    temporal = Bank(bank).spec.backbone.temporal
    if temporal is None:
        raise ValueError(f"{bank} was made without the temporal view")
    return {
        "seconds": seconds,
        "killed_after": killed,
        "steps": len(lines),
        "losses": [[line["loss"], line["loss_interpolated"]] for line in (lines[0], lines[-1])],
        "top1": json.loads((folder / "zero/zeroshot.json").read_text())["top1"]["mean"],
        "bank_view": str(temporal),
        "decoder_losses": losses_of(run),
    }


def framebank(arguments: Sequence[str]) -> float:
    """`framebank ARGUMENTS` in a process of its own; its seconds. Raises where it fails."""
    print("framebank", *arguments, file=sys.stderr)
    began = time.perf_counter()
    subprocess.run([*FRAMEBANK, *arguments], check=True, stdout=sys.stderr)
    return round(time.perf_counter() - began, 1)


def killed_after_a_checkpoint(arguments: Sequence[str], run: Path) -> int:
    """Start a training, kill it and its workers once it has saved; the steps that it had saved then."""
    process = subprocess.Popen([*FRAMEBANK, *arguments], stdout=sys.stderr, start_new_session=True)
    try:
        while not (run.exists() and list_checkpoints(run)):
            if process.poll() is not None:
                raise ValueError(f"the training ended with {process.returncode} before it saved")
            time.sleep(0.2)
    finally:
        kill_with_all_it_started(process.pid)
        process.wait()
    return list_checkpoints(run)[-1]


def kill_with_all_it_started(pid: int) -> None:
    """SIGKILL for a process and everything below it."""
    below = psutil.Process(pid).children(recursive=True)
    for each in (pid, *(child.pid for child in below)):
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue


def refuse_difference(whole: Path, broken: Path) -> None:
    """Raise ValueError where two runs have other losses or other weights."""
    ours, theirs = (read_metrics(run / METRICS) for run in (broken, whole))
    if ours != theirs:
        raise ValueError(f"losses differ: {ours} and {theirs}")
    step = list_checkpoints(whole)[-1]
    states = [torch.load(checkpoint_path(run, step), weights_only=True) for run in (broken, whole)]
    for part in (("model",), ("average", "mean")):
        mine, other = states
        for name in part:
            mine, other = mine[name], other[name]
        odd = [name for name, values in other.items() if not torch.equal(mine[name], values)]
        if odd:
            raise ValueError(f"{len(odd)} tensors of {'.'.join(part)} differ, such as {odd[0]}")


if __name__ == "__main__":
    main()
