"""A small bank of images and clips with captions and classes, and a small pre-training from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from decoders.omnivl.config import AdapterConfig, HeadsConfig, ObjectiveConfig, PretrainConfig
from decoders.omnivl.schedule import ScheduleConfig
from storage import BankWriter
from tests.small_banks import clip_line, small_spec, write_shard
from training.optim import OptimConfig

IMAGES, CLIPS = 8, 10
OPTIM = OptimConfig(lr=1e-3, weight_decay=0.1, decay_vectors=False)


def write_mixed_bank(path: Path, **spec: Any) -> None:
    """Images of one frame, clips of three; some have a caption and a class, some one of both."""
    wanted = small_spec(**spec)
    lines = [mixed_line(number, frames=1 if number < IMAGES else 3) for number in range(IMAGES + CLIPS)]
    with BankWriter(path, wanted) as writer:
        writer.enrol(lines)
        for shard in range(-(-writer.rows // writer.shard_rows)):
            write_shard(path, shard, writer=writer)


def mixed_line(number: int, *, frames: int) -> dict[str, Any]:
    """Every third has no caption, every fourth no class."""
    line = clip_line(number) | {"frames": frames}
    line["captions"] = [] if number % 3 == 1 else [f"thing {number}", f"it is thing {number}"]
    if number % 4 == 3:
        line |= {"label": -1, "class_name": "", "captions": [f"thing {number}"]}
    return line


def small_config(schedule: str = "decoupled", **changes: Any) -> PretrainConfig:
    """Four steps of images, six of both, in batches of four."""
    objective = ObjectiveConfig(queue=6, momentum=0.9, negatives_from=2)
    config = PretrainConfig(
        heads=HeadsConfig(
            width=16, heads=2, embed=8, text_layers=1, align_layers=1, generate_layers=1, context=10
        ),
        adapter=AdapterConfig(blocks=2, layers=1, heads=2, frames=3),
        objective=objective,
        schedule=ScheduleConfig(
            schedule=schedule,  # pyright: ignore[reportArgumentType]
            image_steps=3,
            joint_steps=4,
            image_batch=4,
            video_batch=4,
            optim=OPTIM,
            joint_optim=OPTIM,
        ),
        log_every=1,
        save_every=100,
    )
    return replace(config, **changes)
