"""A bank of real videos, encoded by a small CLIP in this very process, without Ray."""

from pathlib import Path
from typing import Any

from backbones.config import BackboneConfig
from pipeline.config import ExtractConfig, origin
from pipeline.decode_worker import DecodeOutcome, failure
from pipeline.encode import ShardEncoder
from pipeline.listing import list_source
from pipeline.plan import Plan
from pipeline.request import bank_request, load_tower
from pipeline.task import EncoderConfig, ShardTask, clip_of
from storage import WRITTEN, BankWriter
from tests.small_clips import write_config
from tests.small_extractions import draw_clip
from video import DecodeError, Sampling, ViewPlan, decode_views


def draw_videos(folder: Path, count: int) -> Path:
    """Videos of coloured noise, each its own."""
    folder.mkdir()
    for number in range(count):
        draw_clip(folder / f"clip {number}.mp4", number)
    return folder


def encode_bank(folder: Path, **changes: Any) -> ExtractConfig:
    """A bank at `folder`/bank of the videos in `folder`/videos, completed if it is there; how it was made."""
    model = folder / "small.json"
    values: dict[str, Any] = {
        "source": str(folder / "videos"),
        "bank": str(folder / "bank"),
        "backbone": BackboneConfig(name=str(write_config(model)), weights="random:0"),
        "last_blocks": 2,
        "views": ViewPlan(sampling=Sampling(frames=3, stride=3), size=64, temporal_views=2),
        "shard_rows": 4,
        "grow": True,
    }
    config = ExtractConfig(**(values | changes))
    tower = load_tower(config)
    spec, weights = bank_request(config, tower)
    with BankWriter(
        config.bank, spec, shard_rows=config.shard_rows, grow=True, weights=weights, made=origin(config)
    ) as writer:
        writer.enrol(list_source(config))
        for part in writer.parts:
            encoder = EncoderConfig(bank=writer.path, run=writer.run, backbone=config.backbone, part=part)
            for task in Plan(writer, attempts=3).tasks(part):
                ShardEncoder(encoder)(task, decoded(task, config.views))
    return config


def decoded(task: ShardTask, plan: ViewPlan) -> list[DecodeOutcome]:
    """What the decode stage makes of a task."""
    outcomes = []
    for line in task.lines:
        try:
            clip = decode_views(clip_of(line), plan.with_frames(line["frames"]))
            outcomes.append(DecodeOutcome(outcome=WRITTEN, clip=clip))
        except DecodeError as error:
            outcomes.append(failure(error, seconds=0.0))
    return outcomes
