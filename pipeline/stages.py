"""What the engine does to a shard of clips, and what of a machine that takes.

On machines without a GPU encoders are single-threaded and there is one per core, because two cores that work
on different shards need no agreement.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pipeline.config import ExtractConfig, anchored
from pipeline.decode_worker import DecodeLimits, DecodeOutcome, decode_isolated
from pipeline.engine import Stages
from pipeline.task import EncoderConfig, ShardReport, ShardTask, clip_of
from storage import BankWriter
from training.cluster import cluster_cores, cluster_gpus
from video import ViewPlan

DECODE_CLIPS = 8
"""Clips of a decode task: few enough that a shard's are spread over the cores."""
DECODE_CPUS = 0.5
ENCODE_CPUS = 0.5
"""Shares of a core on machines without a GPU: each has room for an encoder and for decoding beside it."""


def stages_of(config: ExtractConfig, writer: BankWriter, part: int) -> Stages[ShardTask, ShardReport]:
    """What is done to a shard, and what of a machine that takes."""
    gpus = cluster_gpus()
    encoder = EncoderConfig(
        bank=writer.path,
        part=part,
        run=writer.run,
        backbone=anchored(config.backbone),
        device="cuda" if gpus else "cpu",
        threads=0 if gpus else 1,
        batch_rows=config.batch_rows,
    )
    return Stages(
        name=lambda task: f"shard {task.shard} (clips {task.lines[0]['key']} ...)",
        parts=parts_of,
        decode=partial(decode_lines, plan=config.views, limits=config.limits),
        encoder=partial(new_encoder, encoder),
        decode_resources={"num_cpus": 1.0 if gpus else DECODE_CPUS},
        encode_resources=(
            {"num_cpus": 0.0, "num_gpus": config.gpus_per_encoder} if gpus else {"num_cpus": ENCODE_CPUS}
        ),
        encoders=config.encoders or (0 if gpus else cluster_cores()),
    )


def new_encoder(config: EncoderConfig) -> Callable[[ShardTask, list[DecodeOutcome]], ShardReport]:
    """An encoder, in the process that is to hold it: what it imports takes seconds and a gigabyte."""
    from pipeline.encode import ShardEncoder

    return ShardEncoder(config)


def parts_of(task: ShardTask) -> list[tuple[dict[str, Any], ...]]:
    """The lines of a shard's clips, a decode task each."""
    return [task.lines[start : start + DECODE_CLIPS] for start in range(0, len(task.lines), DECODE_CLIPS)]


def decode_lines(
    lines: Sequence[dict[str, Any]], plan: ViewPlan, limits: DecodeLimits
) -> list[DecodeOutcome]:
    """What became of some of a shard's clips, one after the other.

    Args:
        lines: lines of the listing, which say how many frames are wanted.
    """
    return [decode_isolated(clip_of(line), plan.with_frames(line["frames"]), limits) for line in lines]
