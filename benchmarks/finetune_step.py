"""What a step of Open-VCLIP costs over one of plain fine-tuning: time and memory.

    python -m benchmarks.finetune_step [--quick]

Both are steps of `framebank finetune` (`finetune.tuning.tuner`) on the same clips in memory, ViT-B/16 with
the temporal view, 4 clips of 8 frames, half of what each of the published processes takes (quick: 2 clips,
ViT-S/32), fp32. Open-VCLIP takes a second gradient of the batch at interpolated
weights; the physical limit is twice the time of plain fine-tuning, plus the passes over the weights that
make the interpolated ones.

Each form runs in a process of its own, turn by turn, on one thread, after a step of a clip to get warm.
Seconds are those of the CPU, which are the clock's less what other programs took; ratios are medians over the
rounds. Memory is the highest resident set less that before the model was loaded: weights,
gradients, optimiser, CLIP's own weights where they are needed, and activations. `state_mb` is what of it
stays between two steps.

Keys: `time_over_plain`, `memory_over_plain`; `seconds`, `peak_mb` and `state_mb` of each form.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any

import psutil
import torch

from backbones.weights import load_clip
from benchmarks.result import print_figures, write_result
from benchmarks.rounds import ratio, rounded
from finetune.interpolate import RegulariserConfig
from finetune.tuning.batches import VideoBatch
from finetune.tuning.config import TuneConfig
from finetune.tuning.tuner import Tuner
from finetune.video_clip import trainable

FORMS = {"plain": 0.0, "openvclip": 0.5}
"""Name to the weight of the interpolated pass."""
CLASSES, FRAMES, ROUNDS = 400, 8, 2
BARS = {"time_over_plain": 2.1, "memory_over_plain": 1.25}


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="A step of Open-VCLIP over one of plain fine-tuning.")
    parser.add_argument("--quick", action="store_true", help="a small tower, 2 clips")
    parser.add_argument("--form", choices=FORMS, help="run one form, print its figures, nothing else")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.form:
        print(json.dumps(run(options.form, quick=options.quick)))
        return
    figures = measure(quick=options.quick)
    print_figures("a step of Open-VCLIP", figures)
    write_result("finetune_step-quick" if options.quick else "finetune_step", figures | {"bars": BARS})


def measure(*, quick: bool) -> dict[str, Any]:
    """Both forms, turn by turn."""
    found: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for _, form in itertools.product(range(ROUNDS), FORMS):
        command = [sys.executable, "-m", "benchmarks.finetune_step", "--form", form]
        done = subprocess.run(command + ["--quick"] * quick, check=True, capture_output=True, text=True)
        found[form].append(json.loads(done.stdout.splitlines()[-1]))

    def each(name: str) -> dict[str, list[float]]:
        return {form: [one[name] for one in some] for form, some in found.items()}

    seconds, peaks = each("seconds"), each("peak_mb")
    return {
        "time_over_plain": ratio(seconds["openvclip"], seconds["plain"]),
        "memory_over_plain": ratio(peaks["openvclip"], peaks["plain"]),
        "seconds": {form: rounded(median(some)) for form, some in seconds.items()},
        "peak_mb": {form: median(some) for form, some in peaks.items()},
        "state_mb": {form: median(some) for form, some in each("state_mb").items()},
    }


def run(form: str, *, quick: bool) -> dict[str, float]:
    """Figures of a form, in this process."""
    before = psutil.Process().memory_info().rss
    tuner, batch = tuner_of(form, quick=quick), drawn_batch(2 if quick else 4)
    tuner.learn(0, drawn_batch(1))
    began = time.process_time()
    tuner.learn(1, batch)
    seconds = time.process_time() - began
    tuner.optimizer.zero_grad(set_to_none=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    return {"seconds": seconds, "peak_mb": round(peak / 1e6), "state_mb": round(state_bytes(tuner) / 1e6)}


def tuner_of(form: str, *, quick: bool) -> Tuner:
    """With random weights."""
    config = TuneConfig(
        name="ViT-S-32" if quick else "ViT-B-16",
        weights="random:0",
        regulariser=RegulariserConfig(weight=FORMS[form]),
    )
    model = trainable(load_clip(config.backbone))
    torch.manual_seed(0)
    classes = torch.nn.functional.normalize(torch.randn(CLASSES, model.visual.output_dim), dim=-1)
    return Tuner(config, model, classes, steps=1000, schedule=config.schedule(1000))


def drawn_batch(clips: int) -> VideoBatch:
    """Clips of noise."""
    torch.manual_seed(0)
    frames = torch.randint(256, (clips, FRAMES, 224, 224, 3), dtype=torch.uint8)
    return VideoBatch(frames=frames, targets=torch.randint(CLASSES, (clips,)))


def state_bytes(tuner: Tuner) -> int:
    """Weights, optimiser and CLIP's own weights."""
    moments = [value for state in tuner.optimizer.state.values() for value in state.values()]
    tensors = [*tuner.model.parameters(), *tuner.anchor.values(), *moments]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


if __name__ == "__main__":
    main()
