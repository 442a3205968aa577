"""Training from a bank against training without one, ViT-B/16, 8 frames: clips a second and memory.

    python -m benchmarks.train [--quick]

*bank*: batches read, decoded and learned from as `framebank train` does, from a float16 bank with maps of
four blocks (in the page cache), by a decoder with all three temporal modules. *online*: EVL without a bank;
each step runs the frozen tower over frames that are in memory already, and then the textbook form of the same
decoder (`benchmarks.textbook_evl`). *end_to_end*: the tower itself is fine-tuned, under a linear classifier
of its mean embedding, the cheapest head there is. All in fp32 with AdamW and as many threads as there are
cores; the rivals' videos cost nothing to decode. Batches hold 8 clips, end to end 2, whose activations are
many gigabytes. quick: ViT-S/32.

Each form runs in a process of its own, turn by turn, after a step to get warm; seconds a clip are the
clock's, medians over the rounds. Peak memory is that of the whole process.

Keys: `over_online`, `over_end_to_end` (their seconds a clip over the bank's), `clips_per_second` and
`peak_mb` of each.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from backbones.config import BackboneConfig
from backbones.taps import FrozenTower
from backbones.weights import load_clip
from benchmarks.disk import work_folder
from benchmarks.labelled_bank import CLASSES, write_bank
from benchmarks.result import print_figures, write_result
from benchmarks.rounds import ratio, rounded
from benchmarks.sample_rows import SampleRows
from benchmarks.textbook_evl import textbook_logits, textbook_maps
from decoders.clips import ClipOrder, labelled_clips
from decoders.config import DecoderConfig, TrainConfig
from decoders.dataset import open_features, training_batches
from decoders.evl import EVLDecoder, TokenShape
from decoders.task import build_decoder, pose_task
from decoders.trainer import Trainer
from storage import Bank
from training.optim import make_adamw

FORMS = ("bank", "online", "end_to_end")
CLIPS, FRAMES, LAYERS = 32, 8, 4
BATCH = {"bank": 8, "online": 8, "end_to_end": 2}
STEPS = {"bank": 8, "online": 1, "end_to_end": 1}
ROUNDS = 2
BARS = {"over_online": 8, "over_end_to_end": 20}


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="Training from a bank and without one.")
    parser.add_argument("--quick", action="store_true", help="a small tower")
    parser.add_argument("--form", choices=FORMS, help="run one form, print its figures, nothing else")
    parser.add_argument("--bank", type=Path, help="the bank, for --form")
    options = parser.parse_args()
    model = "ViT-S-32" if options.quick else "ViT-B-16"
    torch.set_num_threads(psutil.cpu_count(logical=False) or os.cpu_count() or 1)
    if options.form:
        print(json.dumps(run(options.form, model, options.bank)))
        return
    figures = {"model": model, **measure(model, quick=options.quick)}
    print_figures("training from a bank and without one", figures)
    write_result("train-quick" if options.quick else "train", figures | {"bars": BARS})


def measure(model: str, *, quick: bool) -> dict[str, Any]:
    """All forms, turn by turn."""
    seconds: dict[str, list[float]] = {form: [] for form in FORMS}
    peaks = dict.fromkeys(FORMS, 0)
    with work_folder(None, CLIPS * 3 * 10**7) as folder:
        write_bank(folder / "bank", rows_of(tower_of(model)), "float16")
        for _, form in itertools.product(range(ROUNDS), FORMS):
            command = [
                sys.executable,
                "-m",
                "benchmarks.train",
                "--form",
                form,
                "--bank",
                str(folder / "bank"),
            ]
            done = subprocess.run(command + ["--quick"] * quick, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            seconds[form].append(found["seconds"])
            peaks[form] = max(peaks[form], found["peak_mb"])
    return {
        "over_online": ratio(seconds["online"], seconds["bank"]),
        "over_end_to_end": ratio(seconds["end_to_end"], seconds["bank"]),
        "clips_per_second": {form: rounded(1 / median(some)) for form, some in seconds.items()},
        "peak_mb": peaks,
    }


def run(form: str, model: str, bank: Path) -> dict[str, float]:
    """Seconds a clip and peak megabytes of a form, in this process."""
    forms: dict[str, Callable[[], Iterator[None]]] = {
        "bank": lambda: bank_steps(bank),
        "online": lambda: online_steps(tower_of(model)),
        "end_to_end": lambda: end_to_end_steps(tower_of(model)),
    }
    steps = forms[form]()
    next(steps)
    began = time.perf_counter()
    for _ in range(STEPS[form]):
        next(steps)
    seconds = (time.perf_counter() - began) / STEPS[form] / BATCH[form]
    return {"seconds": seconds, "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)}


def bank_steps(path: Path) -> Iterator[None]:
    """Steps of `framebank train`, without its run directory."""
    device, bank = torch.device("cpu"), Bank(path)
    config = config_of(bank.spec.backbone.width)
    task = pose_task(bank, config)
    reader = open_features(bank, task, config, device)
    clips = labelled_clips(bank, split="", label="label", classes=task.classes, arrays=reader.arrays)
    trainer = Trainer(config, build_decoder(task, config), device)
    steps = range(config.steps)
    batches = training_batches(reader, ClipOrder(clips, config.order), steps, config.batch_size, 1)
    with closing(batches):
        for number in steps:
            trainer.learn(number, 0, next(batches))
            yield


def online_steps(tower: FrozenTower) -> Iterator[None]:
    """Frozen tower, then the textbook decoder."""
    frames, labels = drawn_clips(tower, BATCH["online"])
    config = config_of(tower.width)
    shape = TokenShape(width=tower.width, frames=FRAMES, grid=tower.grid)
    decoder = EVLDecoder(config.decoder, shape, CLASSES)
    optimizer = make_adamw(decoder.parameters(), config.optim)
    while True:
        with torch.no_grad():
            taps = tower(tower.normalise(frames.flatten(0, 1)))
            inputs = [
                (by_clip(taps.out[block]), *textbook_maps(by_clip(taps.q[block]), by_clip(taps.k[block])))
                for block in tower.blocks
            ]
        state = dict(decoder.named_parameters())
        logits = textbook_logits(state, inputs, heads=config.decoder.heads, grid=tower.grid)
        learn(optimizer, logits, labels)
        yield


def end_to_end_steps(tower: FrozenTower) -> Iterator[None]:
    """The tower's own weights under a linear classifier."""
    frames, labels = drawn_clips(tower, BATCH["end_to_end"])
    classifier = nn.Linear(tower.embed, CLASSES)
    tower.requires_grad_(True)
    optimizer = make_adamw([*tower.parameters(), *classifier.parameters()], config_of(tower.width).optim)
    while True:
        pooled = tower(tower.normalise(frames.flatten(0, 1))).pooled
        learn(optimizer, classifier(by_clip(pooled).mean(dim=1)), labels)
        yield


def config_of(width: int) -> TrainConfig:
    """The decoder's training, for tokens of so many channels."""
    decoder = DecoderConfig(layers=LAYERS, heads=max(1, width // 64))
    return TrainConfig(decoder=decoder, split="", batch_size=BATCH["bank"], steps=100)


def learn(optimizer: torch.optim.Optimizer, logits: Tensor, labels: Tensor) -> None:
    """One step of an optimiser."""
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(logits, labels).backward()
    optimizer.step()


def by_clip(frames: Tensor) -> Tensor:
    """(N T) ... to N T ..."""
    return rearrange(frames, "(n t) ... -> n t ...", t=FRAMES)


def drawn_clips(tower: FrozenTower, count: int) -> tuple[Tensor, Tensor]:
    """Frames (N, T, h, w, 3) uint8 and labels."""
    torch.manual_seed(0)
    frames = torch.randint(256, (count, FRAMES, *tower.size, 3), dtype=torch.uint8)
    return frames, torch.randint(CLASSES, (count,))


def tower_of(model: str) -> FrozenTower:
    """The tower, tapped where the decoder reads; random weights."""
    clip = load_clip(BackboneConfig(name=model, weights="random:0"))
    depth = clip.tower().depth
    return clip.tower(range(depth - LAYERS, depth))


def rows_of(tower: FrozenTower) -> SampleRows:
    """Rows as the tower's would be."""
    blocks = tuple(tower.blocks)
    return SampleRows(clips=CLIPS, blocks=blocks, frames=FRAMES, grid=tower.grid, width=tower.width)


if __name__ == "__main__":
    main()
