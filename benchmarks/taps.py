"""What the taps cost: the tapped tower against open_clip's own `encode_image`, on the same frames.

Both run in eval and inference mode on one thread, in turn, pair by pair, each pair in changing order, so that
whatever else the machine does falls on both. The figure is the median of the pairs' ratios. The tower hands
out `out`, `q` and `k` of its last four blocks and the pooled embedding; `encode_image` only the latter. A
second figure runs `encode_image` against itself in the same way, and tells how far the first one can be
trusted.

    python -m benchmarks.taps [--quick]

takes ViT-B/16 with random weights and 8 frames of 224 x 224; quick: ViT-S/32.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from backbones.config import BackboneConfig
from backbones.weights import load_clip
from benchmarks.result import write_result

FRAMES = 8
TAPPED = 4


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description="What the taps cost over encode_image.")
    parser.add_argument("--quick", action="store_true", help="a smaller tower and fewer pairs")
    quick: bool = parser.parse_args().quick
    torch.set_num_threads(1)
    name, pairs = ("ViT-S-32", 15) if quick else ("ViT-B-16", 21)
    figures = {"model": name, "frames": FRAMES, "pairs": pairs, **measure(name, pairs)}
    _print_table(figures)
    write_result("taps-quick" if quick else "taps", figures)


def measure(name: str, pairs: int) -> dict[str, float]:
    """Medians of seconds and of ratios for one model."""
    clip = load_clip(BackboneConfig(name=name, weights="random:0"))
    depth = clip.tower().depth
    tower = clip.tower(range(depth - TAPPED, depth))
    frames = torch.randn(FRAMES, 3, *clip.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        taps, plain, ratio = _compare(lambda: tower(frames), lambda: clip.model.encode_image(frames), pairs)
        _, _, noise = _compare(
            lambda: clip.model.encode_image(frames), lambda: clip.model.encode_image(frames), pairs
        )
    return {
        "taps_seconds": taps,
        "encode_image_seconds": plain,
        "taps_over_encode_image": ratio,
        "encode_image_over_itself": noise,
    }


def _compare(
    first: Callable[[], object], second: Callable[[], object], pairs: int
) -> tuple[float, float, float]:
    """Median seconds of both, and the median over pairs of first / second."""
    for warm_up in (first, second):
        warm_up()
    times: list[tuple[float, float]] = []
    for pair in range(pairs):
        if pair % 2:
            later = _seconds(second)
            times.append((_seconds(first), later))
        else:
            times.append((_seconds(first), _seconds(second)))
    ones, others = zip(*times, strict=True)
    ratio = statistics.median(one / other for one, other in times)
    return round(statistics.median(ones), 4), round(statistics.median(others), 4), round(ratio, 4)


def _seconds(run: Callable[[], object]) -> float:
    """CPU seconds: on one thread the same as those of the clock, less what other programs took."""
    start = time.process_time()
    run()
    return time.process_time() - start


def _print_table(figures: dict[str, object]) -> None:
    table = Table(title=f"{figures['model']}, {FRAMES} frames, taps of the last {TAPPED} blocks, 1 thread")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
