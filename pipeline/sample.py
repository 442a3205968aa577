"""A few of the user's own videos, decoded and encoded under the clock, as an extraction would do it.

Decoding runs in the child process that keeps a fatal video from taking anything down. The tower runs in this
process: on a CPU with one thread, as extraction's workers do, on CUDA where there is one. What is done for
the first time (starting the child, importing its decoders, the first batch on a GPU) is done once beforehand
and not counted, since an extraction of any size pays for it once.
"""

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config import ExtractConfig
from pipeline.costs import Workers
from pipeline.decode_worker import DecodeOutcome, decode_isolated, own_process
from pipeline.errors import ExtractionError
from pipeline.keep import keep
from pipeline.plan import Line
from pipeline.request import LoadedTower, build_spec
from pipeline.task import clip_of
from storage import ClipTable, part_layouts


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a few clips showed."""

    clips: int
    """Clips that were decoded, or tried."""
    written: int
    """Those that gave frames."""
    reasons: dict[str, int]
    """Why the others did not, and how many clips each reason kept out."""
    decode: float
    """Seconds a clip in one decode worker, failed ones included."""
    tower: float
    """Seconds a row in the tower, on one core or one GPU."""
    keep: float
    """Seconds a row from taps to the bank's arrays on the CPU, likewise."""


def draw(clips: ClipTable, count: int, seed: int) -> list[Line]:
    """Some lines of a listing, in its order, the same for the same seed; all where there are fewer."""
    places = random.Random(seed).sample(range(clips.num_rows), min(count, clips.num_rows))
    return clips.take(sorted(places)).to_pylist()


def workers(config: ExtractConfig) -> Workers:
    """What an extraction can have at work at once on this machine."""
    cores, gpus = len(os.sched_getaffinity(0)), torch.cuda.device_count()
    asked = config.encoders or (int(gpus / config.gpus_per_encoder) if gpus else cores)
    return Workers(decoders=cores, encoders=max(1, min(asked, gpus or cores)), gpus=gpus)


def device() -> str:
    """Where the tower runs."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def measure_sample(
    config: ExtractConfig,
    loaded: LoadedTower,
    lines: Sequence[Line],
    told: Callable[[str], None] = lambda key: None,
) -> Sample:
    """Decode and encode some clips.

    Args:
        lines: the clips; `told` hears of each, by its key, when it has been decoded and what it filled is
            encoded.

    Raises:
        ExtractionError: none of them gives frames.
    """
    clock = TowerClock(config, loaded)
    reasons: Counter[str] = Counter()
    spent, rows = 0.0, defaultdict[int, list[np.ndarray]](list)
    with decoding(), one_thread():
        decode_line(lines[0], config)
        for line in lines:
            began = time.perf_counter()
            outcome = decode_line(line, config)
            spent += time.perf_counter() - began
            waiting = rows[line["frames"]]
            waiting += [] if outcome.clip is None else list(outcome.clip.frames)
            reasons.update([outcome.reason] if outcome.clip is None else [])
            while len(waiting) >= config.batch_rows:
                clock.encode(waiting[: config.batch_rows])
                del waiting[: config.batch_rows]
            told(line["key"])
        for waiting in filter(None, rows.values()):
            clock.encode(waiting)
    if not clock.rows:
        raise ExtractionError(
            f"expected frames from some of {len(lines)} sampled clips, found none, e.g. {lines[0]['key']}: "
            f"{reasons.most_common(1)[0][0]}. Look at the source, or draw others (--seed, --sample)"
        )
    return Sample(
        clips=len(lines),
        written=len(lines) - reasons.total(),
        reasons=dict(reasons.most_common()),
        decode=spent / len(lines),
        tower=clock.tower_seconds / clock.rows,
        keep=clock.keep_seconds / clock.rows,
    )


def decode_line(line: Line, config: ExtractConfig) -> DecodeOutcome:
    """What an extraction makes of a line of the listing."""
    return decode_isolated(clip_of(line), config.views.with_frames(line["frames"]), config.limits)


class TowerClock:
    """The tower as the asked-for bank needs it, and how long it and the keeping took."""

    def __init__(self, config: ExtractConfig, loaded: LoadedTower) -> None:
        spec = build_spec(config, loaded)
        clip = loaded.clip
        self.spec = spec
        blocks = spec.kept[0].token_blocks
        self.tower = clip.tower(blocks).to(device())
        self.rows, self.tower_seconds, self.keep_seconds = 0, 0.0, 0.0

    def encode(self, rows: Sequence[np.ndarray]) -> None:
        """Encode a batch of rows (T, h, w, 3), all of one T, and count the time; the first is encoded once
        before.
        """
        if not self.rows:
            self._run(rows if self.tower.device.type == "cuda" else rows[:1])
        seen, kept = self._run(rows)
        self.rows += len(rows)
        self.tower_seconds += seen
        self.keep_seconds += kept

    @torch.inference_mode()
    def _run(self, rows: Sequence[np.ndarray]) -> tuple[float, float]:
        began = time.perf_counter()
        images = self.tower.normalise(torch.from_numpy(np.concatenate(rows)))
        taps = self.tower(images, frames=len(rows[0]))
        if self.tower.device.type == "cuda":
            torch.cuda.synchronize()
        seen = time.perf_counter()
        keep(taps, len(rows), part_layouts(self.spec, 0, len(rows[0])))
        return seen - began, time.perf_counter() - seen


@contextmanager
def decoding() -> Iterator[None]:
    """End the decoding child when done."""
    try:
        yield
    finally:
        while own_process():
            own_process().pop().stop()


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch on a CPU, as an extraction's encoder has there; as before when done."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if device() == "cpu" else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
