"""Small real extractions for tests: drawn videos under a small random CLIP."""

import subprocess
import sys
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from backbones.config import BackboneConfig
from pipeline.config import ExtractConfig, anchored
from pipeline.encode import ShardEncoder
from pipeline.extract import extract
from pipeline.progress import ExtractionProgress
from pipeline.stages import decode_lines
from pipeline.task import EncoderConfig, ShardTask
from storage import BankWriter
from tests.drawn_videos import write_video
from video import Sampling, ViewPlan

COMMAND = """
import sys
from tests.small_extractions import config_for, extract, quiet
extract(config_for(*sys.argv[1:4]), quiet())
"""


def draw_clip(path: Path, seed: int) -> None:
    """A video of 12 frames of coarse noise, another for each seed."""
    frames = np.random.default_rng(seed).integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
    write_video(path, frames.repeat(8, 1).repeat(8, 2), fps=12)


def draw_classes(folder: Path, clips: int) -> Path:
    """Different videos, turn by turn in two class folders; the folder."""
    for number in range(clips):
        place = folder / f"class {number % 2}" / f"clip {number}.mp4"
        place.parent.mkdir(exist_ok=True)
        draw_clip(place, number)
    return folder


def config_for(source, model, bank, **changes) -> ExtractConfig:
    """Four frames, two blocks, shards of two rows, one encoder."""
    values = {
        "source": str(source),
        "bank": str(bank),
        "backbone": BackboneConfig(name=model, weights="random:0"),
        "last_blocks": 2,
        "views": ViewPlan(sampling=Sampling(kind="tsn", frames=4), size=64),
        "shard_rows": 2,
        "batch_rows": 2,
        "encoders": 1,
    }
    return ExtractConfig(**(values | changes))


def quiet() -> Console:
    """A console that nobody sees."""
    return Console(file=StringIO())


def run_here(
    config: ExtractConfig,
    writer: BankWriter,
    part: int,
    tasks: Iterable[ShardTask],
    progress: ExtractionProgress,
) -> None:
    """In the place of `pipeline.extract.run_tasks`: the same stages without Ray, whose workers need seconds
    to start.
    """
    config_here = EncoderConfig(
        bank=writer.path,
        part=part,
        run=writer.run,
        backbone=anchored(config.backbone),
        batch_rows=config.batch_rows,
    )
    encode = None
    for task in tasks:
        encode = encode or ShardEncoder(config_here)
        progress.add(encode(task, decode_lines(task.lines, config.views, config.limits)), encoders=1)


def start_extraction(source, model, bank) -> subprocess.Popen:
    """The extraction of `config_for` in a process of its own."""
    command = [sys.executable, "-c", COMMAND, str(source), str(model), str(bank)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


__all__ = [
    "COMMAND",
    "config_for",
    "draw_classes",
    "draw_clip",
    "extract",
    "quiet",
    "run_here",
    "start_extraction",
]
