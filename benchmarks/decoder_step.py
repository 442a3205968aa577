"""What a training step of the decoder costs, against the textbook form of the same decoder.

    python -m benchmarks.decoder_step [--quick]

takes the paper's B/16 shape: 8 clips of 8 frames x 197 tokens x 768 channels, 4 layers, all three temporal
modules (quick: 2 clips of 4 frames x 26 tokens x 192, 2 layers). A step is forward, cross-entropy and
backward into every parameter; the optimiser is the same for both and left out. The textbook
(`benchmarks.textbook_evl`) projects keys and values of every token and computes the maps from q and k in each
step; ours reads the maps as a bank yields them. The rivals take turns on one thread, in CPU seconds, which
are those of the clock less what other programs took; ratios are medians over the rounds.

`fp32_over_textbook`: how many times as long the textbook takes; `fp32_no_maps_over_textbook`: the same with
neither maps nor tables on either side. `bf16_over_fp32_textbook`: the textbook in fp32 over ours on bf16
features and maps, as `precision = "bf16"` trains; `bf16_logits_difference` is the largest one of the logits
from those in fp32, over their standard deviation.

`peak_memory_ratio`: ours over the textbook's. Each runs in a process of its own: the highest resident set
during one step, less the resident set before it, when the model and its inputs are there and a step of the
quick shape has loaded the libraries. The gradients of the parameters count, with both; `peak_mb` are the two
peaks.

`bytes_per_step`: frozen tokens and maps, read once; `bandwidth_gbs`: a plain pass of one thread over memory;
`step_over_limit`: how many times as long our step takes as that pass over its bytes. `bf16_...` and
`no_maps_...` are the same for those steps.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from backbones.maps import cross_frame_maps
from benchmarks.result import print_figures, write_result
from benchmarks.rounds import ratio, rounded
from benchmarks.textbook_evl import textbook_logits, textbook_maps
from decoders.config import DecoderConfig
from decoders.evl import BlockFeatures, EVLDecoder, TokenShape

BARS = {
    "fp32_over_textbook": 4,
    "fp32_no_maps_over_textbook": 4,
    "bf16_over_fp32_textbook": 8,
    "peak_memory_ratio": 1 / 3,
}
CLASSES = 400
PASS_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Size:
    """A decoder and its batch."""

    clips: int
    shape: TokenShape
    layers: int
    rounds: int


FULL = Size(8, TokenShape(width=768, frames=8, grid=(14, 14)), 4, 3)
QUICK = Size(2, TokenShape(width=192, frames=4, grid=(5, 5)), 2, 3)


class Case:
    """One batch, and the decoder with its parameters moved off their start so that every module acts."""

    def __init__(self, size: Size, *, maps: bool = True) -> None:
        torch.manual_seed(0)
        shape, heads = size.shape, 12
        tokens = size.clips, shape.frames, shape.grid[0] * shape.grid[1] + 1
        self.maps, self.heads, self.grid = maps, heads, shape.grid
        self.model = EVLDecoder(DecoderConfig(layers=size.layers, cross_frame=maps), shape, CLASSES).eval()
        for parameter in self.model.parameters():
            parameter.data.add_(torch.randn_like(parameter), alpha=0.02)
        self.labels = torch.randint(CLASSES, (size.clips,))
        self.out = [torch.randn(*tokens, shape.width) for _ in range(size.layers)]
        parts = (*tokens, heads, shape.width // heads)
        self.qk = [(torch.randn(parts), torch.randn(parts)) for _ in range(size.layers if maps else 0)]

    def features(self, dtype: torch.dtype) -> list[BlockFeatures]:
        """What a bank yields of the batch."""
        if not self.maps:
            return [BlockFeatures(out=out.to(dtype)) for out in self.out]
        pairs = (tuple(x.to(dtype) for x in cross_frame_maps(q, k)) for q, k in self.qk)
        return [
            BlockFeatures(out=out.to(dtype), map_prev=prev, map_next=after)
            for out, (prev, after) in zip(self.out, pairs, strict=True)
        ]

    def textbook(self) -> Tensor:
        """A step of the textbook form; its logits."""
        maps = [textbook_maps(q, k) for q, k in self.qk] or [(None, None)] * len(self.out)
        inputs = [(out, *pair) for out, pair in zip(self.out, maps, strict=True)]
        state = dict(self.model.named_parameters())
        return self._learn(textbook_logits(state, inputs, heads=self.heads, grid=self.grid))

    def ours(self, features: list[BlockFeatures]) -> Tensor:
        """A step of ours; its logits."""
        return self._learn(self.model(features))

    def _learn(self, logits: Tensor) -> Tensor:
        self.model.zero_grad(set_to_none=True)
        F.cross_entropy(logits, self.labels).backward()
        return logits.detach()


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="What a training step of the decoder costs.")
    parser.add_argument("--quick", action="store_true", help="a small decoder")
    parser.add_argument(
        "--memory", choices=["ours", "textbook"], help="print one's peak in bytes, nothing else"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = QUICK if options.quick else FULL
    if options.memory:
        print(peak_bytes(size, options.memory))
        return
    figures = measure(size) | memory(quick=options.quick)
    print_figures("a decoder's step, 1 thread", figures)
    write_result("decoder_step-quick" if options.quick else "decoder_step", {**figures, "bars": BARS})


def measure(size: Size) -> dict[str, Any]:
    """Everything but memory."""
    case, plain = Case(size), Case(size, maps=False)
    full, half, bare = (
        case.features(torch.float32),
        case.features(torch.bfloat16),
        plain.features(torch.float32),
    )
    logits, of_half = case.ours(full), case.ours(half)
    steps: dict[str, Callable[[], object]] = {
        "textbook": case.textbook,
        "fp32": lambda: case.ours(full),
        "bf16": lambda: case.ours(half),
        "no_maps_textbook": plain.textbook,
        "no_maps": lambda: plain.ours(bare),
        "pass": _memory_pass(),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(size.rounds):
        for name, step in steps.items():
            seconds[name].append(_seconds(step))
    return {
        "fp32_over_textbook": ratio(seconds["textbook"], seconds["fp32"]),
        "fp32_no_maps_over_textbook": ratio(seconds["no_maps_textbook"], seconds["no_maps"]),
        "bf16_over_fp32_textbook": ratio(seconds["textbook"], seconds["bf16"]),
        "bf16_logits_difference": rounded(((of_half - logits).abs().max() / logits.std()).item()),
        "seconds": {name: rounded(statistics.median(some)) for name, some in seconds.items()},
        **_limits(seconds, {"": ("fp32", full), "bf16_": ("bf16", half), "no_maps_": ("no_maps", bare)}),
    }


def memory(*, quick: bool) -> dict[str, Any]:
    """Peaks of both forms, each in a child process."""
    peaks = {}
    for form in ("ours", "textbook"):
        command = [sys.executable, "-m", "benchmarks.decoder_step", "--memory", form, *(["--quick"] * quick)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks[form] = int(done.stdout.split()[-1])
    return {
        "peak_memory_ratio": rounded(peaks["ours"] / peaks["textbook"]),
        "peak_mb": {form: round(peak / 1e6) for form, peak in peaks.items()},
    }


def peak_bytes(size: Size, form: str) -> int:
    """What one step of `form` takes above the model and its inputs."""
    warm = Case(QUICK)
    case, features = Case(size), []
    if form == "ours":
        warm.ours(warm.features(torch.float32))
        features, case.qk = case.features(torch.float32), []
    else:
        warm.textbook()
    step = partial(case.ours, features) if form == "ours" else case.textbook
    before = psutil.Process().memory_info().rss
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    step()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")) - before


def _memory_pass() -> Callable[[], object]:
    read = torch.ones(PASS_BYTES // 4)
    return read.sum


def _limits(
    seconds: Mapping[str, list[float]], steps: Mapping[str, tuple[str, list[BlockFeatures]]]
) -> dict[str, float]:
    """Bytes of each step's features, and how far its time is from reading them once."""
    figures = {"bandwidth_gbs": rounded(PASS_BYTES / statistics.median(seconds["pass"]) / 1e9)}
    for prefix, (name, features) in steps.items():
        tensors = [
            x for block in features for x in (block.out, block.map_prev, block.map_next) if x is not None
        ]
        size = sum(x.nbytes for x in tensors)
        limit = [one * size / PASS_BYTES for one in seconds["pass"]]
        figures |= {f"{prefix}bytes_per_step": size, f"{prefix}step_over_limit": ratio(seconds[name], limit)}
    return figures


def _seconds(step: Callable[[], object]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


if __name__ == "__main__":
    main()
