"""The paper's recipes from end to end on real videos: both extractions, training, evaluation.

    python -m benchmarks.paper_recipes FOLDER [--recipe NAME ...] [--quick]

FOLDER holds real videos, for instance vtest.avi and Megamind.avi of Debian's package `opencv-doc`;
`benchmarks.paper_clips` cuts clips out of them. Each recipe runs through the same four commands that README
gives for Kinetics, at its full size: ViT-B/16 or ViT-L/14 at 224 pixels, its frames, views, decoder and
pieces of a batch. What is changed is in `changed`: random weights in fp32, since a CPU has no fast half
precision; a few clips; a few steps of 4 clips. --quick is k400-b16-8f alone, on half of the clips.

This shows that the recipes work. The seconds are those of a CPU that others may be using, no measurement, and
of a few clips nothing is learned that an accuracy would tell.

What must hold, or it fails: frames as EVL's published code chooses them, for clips that are long enough and
for one that is not; the published number of tensors and parameters of the decoder (for 400 classes); a finite
loss; all rows there. Each recipe's figures are in a file of its own.

Keys: `seconds` of each command, `rows`, `views` and `frames` of both banks, `bytes_per_row`, `tensors`,
`parameters`, `parameters_of_400_classes`, `losses` (the first and the last), `top1`.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import framebank
from benchmarks.disk import work_folder
from benchmarks.paper_clips import write_clips
from benchmarks.published_frames import is_published
from benchmarks.result import print_figures, write_result
from decoders.evaluate import report_file
from pipeline.recipes import SCRIPTS
from storage import Bank
from storage.summary import summarise
from training.metrics import METRICS, read_metrics
from training.run import RunDirectory

EXTRACT = ("--backbone.weights", "random:0", "--backbone.precision", "fp32", "--encoders", "1")
TRAIN = ("--steps", "4", "--batch-size", "4", "--log-every", "1", "--eval-every", "4")
LIMITS = {"b16": (4, 2), "l14": (2, 1)}
"""Clips of the two lists that are taken, by tower: a row of ViT-L/14 takes four times as long."""
K400 = 400
PARAMETERS = {
    "k400-b16-8f": 33_183_376,
    "k400-b16-16f": 33_183_376 + 4 * 8 * 768,
    "k400-b16-32f": 33_183_376 + 4 * 24 * 768,
    "k400-l14-8f": 58_727_824,
    "k400-l14-16f": 58_727_824 + 4 * 8 * 1024,
    "k400-l14-32f": 58_727_824 + 4 * 24 * 1024,
}
"""Of the published decoders: two counted from the published code, the others have more positions in time."""
TENSORS = 97


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A recipe on some clips."""

    recipe: str
    lists: dict[str, Path]
    """List file of each split."""
    limits: tuple[int, int]
    """Clips of the lists that are taken."""
    folder: Path
    """For banks and run."""
    extract: tuple[str, ...] = EXTRACT
    """Overrides of the extractions."""

    def bank(self, split: str) -> Path:
        """The bank of a split."""
        return self.folder / split

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.folder / "run"

    def commands(self) -> dict[str, list[str]]:
        """What a user types, less `framebank`."""
        train, val = str(self.bank("train")), str(self.bank("val"))
        return {
            "extract_train": self._extraction(self.recipe, "train", self.limits[0]),
            "extract_test": self._extraction(f"{self.recipe}-test", "val", self.limits[1]),
            "train": [
                *("train", self.recipe, "--bank", train, "--eval-bank", val, "--run", str(self.run)),
                *TRAIN,
            ],
            "evaluate": ["evaluate", str(self.run), "--bank", val, "--split", "val", "--json"],
        }

    def _extraction(self, recipe: str, split: str, limit: int) -> list[str]:
        source, bank = str(self.lists[split]), str(self.bank(split))
        where = ["--source", source, "--bank", bank, "--split", split, "--limit", str(limit)]
        return ["extract", recipe, *where, *self.extract]


def main() -> None:
    """Run the recipes, print their figures, write the result."""
    parser = argparse.ArgumentParser(description="The paper's recipes, end to end on a few real videos.")
    parser.add_argument("folder", type=Path, help="real videos (*.avi)")
    parser.add_argument("--recipe", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), help="some of them")
    parser.add_argument("--quick", action="store_true", help="k400-b16-8f alone, three clips")
    options = parser.parse_args()
    names = ["k400-b16-8f"] if options.quick else options.recipe
    with work_folder(None, 4 * 10**9) as folder:
        lists = write_clips(options.folder, folder)
        for name in names:
            limits = LIMITS["l14" if options.quick else name.split("-")[1]]
            trial = Trial(recipe=name, lists=lists, limits=limits, folder=folder / name)
            figures = run_trial(trial)
            print_figures(name, figures)
            changed = {"extract": " ".join(EXTRACT), "train": " ".join(TRAIN), "clips": list(limits)}
            ending = f"{name}-quick" if options.quick else name
            write_result(f"paper_recipes-{ending}", figures | {"changed": changed})


def framebank_command(arguments: Sequence[str]) -> None:
    """`framebank ARGUMENTS`, in this process: so Ray starts once, and nothing is imported anew."""
    with redirect_stdout(sys.stderr):
        code = framebank.dispatch(arguments)
    if code:
        raise RuntimeError(f"framebank {' '.join(arguments)} ended with {code}")


def run_trial(trial: Trial) -> dict[str, Any]:
    """All four commands of a recipe, and what they left. Raises ValueError where a fact does not hold."""
    seconds = {}
    for name, arguments in trial.commands().items():
        began = time.perf_counter()
        framebank_command(arguments)
        seconds[name] = round(time.perf_counter() - began, 1)
    banks = {split: Bank(trial.bank(split)) for split in trial.lists}
    for split, bank in banks.items():
        refuse_other_frames(bank, split)
    report = json.loads(report_file(trial.run, "val").read_text())
    return {
        "seconds": seconds,
        "rows": {split: len(bank.rows()) for split, bank in banks.items()},
        "views": {split: bank.spec.views for split, bank in banks.items()},
        "bytes_per_row": round(summarise(banks["train"])["bytes_per_row"]),
        "frames": {split: frames_of(bank) for split, bank in banks.items()},
        **decoder_facts(trial),
        "losses": losses_of(trial.run),
        "top1": report["top1"],
    }


def frames_of(bank: Bank) -> dict[str, list[list[int]]]:
    """Clip to the frames of each of its views."""
    found: dict[str, list[list[int]]] = {}
    for line in bank.table.to_pylist():
        found.setdefault(f"{line['key']} ({line['num_frames']} frames)", []).append(list(line["indices"]))
    return found


def refuse_other_frames(bank: Bank, split: str) -> None:
    """Raise ValueError where a row is missing, or has other frames than the published code would choose."""
    plan = bank.spec.video["plan"]
    for line in bank.table.to_pylist():
        if line["outcome"] != "written":
            raise ValueError(f"{line['key']} was not written: {line['reason']}")
        if not is_published(plan, line["view"], line["indices"], line["num_frames"]):
            raise ValueError(f"{split}: {line['key']}, view {line['view']}: frames {line['indices']}")


def decoder_facts(trial: Trial) -> dict[str, int]:
    """Tensors and parameters of the trained decoder. Raises ValueError where they are not the published."""
    checkpoint = RunDirectory.read(trial.run).checkpoint
    assert checkpoint is not None
    model = torch.load(checkpoint, weights_only=True)["model"]
    classes, width = model["proj.2.weight"].shape
    parameters = sum(tensor.numel() for tensor in model.values())
    as_published = parameters + (K400 - classes) * (width + 1)
    expected = PARAMETERS.get(trial.recipe)
    if trial.extract is EXTRACT and expected and (len(model), as_published) != (TENSORS, expected):
        raise ValueError(f"{trial.recipe}: {len(model)} tensors, {as_published} parameters, not {expected}")
    facts = {"tensors": len(model), "parameters": parameters}
    return facts | {"parameters_of_400_classes": as_published}


def losses_of(run: Path) -> list[float]:
    """The first and the last loss. Raises ValueError where any is no number."""
    losses = [line["loss"] for line in read_metrics(run / METRICS) if "loss" in line]
    if not losses or not all(math.isfinite(loss) for loss in losses):
        raise ValueError(f"{run}: losses {losses}")
    return [round(losses[0], 4), round(losses[-1], 4)]


if __name__ == "__main__":
    main()
