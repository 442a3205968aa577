"""Pre-trainings by name.

OmniVL's own sizes are those that its paper is remembered to name (base size throughout, 20 epochs of images
at 3e-4, 10 of both at 8e-5); nobody has checked them against it. Steps are counted, not epochs: an epoch of
two kinds of batches is none.
"""

from collections.abc import Callable

from decoders.omnivl.config import AdapterConfig, HeadsConfig, ObjectiveConfig, PretrainConfig
from decoders.omnivl.schedule import ScheduleConfig
from training.optim import OptimConfig


def omnivl_b16() -> PretrainConfig:
    """OmniVL's size: heads as BERT-base, 14 million images and 2.5 million clips in mind.

    97,000 steps of 2,880 images, then as many of 4,096 images and of 800 clips in turn: weeks on 64 GPUs end
    to end, days on 8 from a bank. Published, of the whole method: 133.9 CIDEr on COCO, 44.1 % on MSRVTT-QA.
    """
    return PretrainConfig(
        heads=HeadsConfig(
            width=768, heads=12, text_layers=12, align_layers=12, generate_layers=12, context=30
        ),
        adapter=AdapterConfig(blocks=1, layers=2, heads=12),
        schedule=ScheduleConfig(
            image_steps=97_000,
            joint_steps=97_000,
            image_batch=2880,
            video_batch=800,
            optim=OptimConfig(lr=3e-4, weight_decay=0.05, decay_vectors=False, warmup_steps=3000),
            joint_optim=OptimConfig(lr=8e-5, weight_decay=0.05, decay_vectors=False, warmup_steps=1000),
        ),
    )


def omnivl_lab() -> PretrainConfig:
    """A size for one GPU and some 100,000 captions from a bank: a day or less. Nothing was published of
    it."""
    return PretrainConfig(
        adapter=AdapterConfig(blocks=2, layers=2, heads=8, pool=2),
        objective=ObjectiveConfig(queue=16_384),
        schedule=ScheduleConfig(image_steps=20_000, joint_steps=20_000, image_batch=256, video_batch=64),
    )


def shapes() -> PretrainConfig:
    """The drawn world of `framebank ablate omnivl` under the demo's tiny CLIP: 7 minutes on one CPU core.

    Expect captions of held-out images and clips that are right to the word in most cases.
    """
    return PretrainConfig(
        heads=HeadsConfig(
            width=96,
            heads=4,
            embed=64,
            text_layers=2,
            align_layers=2,
            generate_layers=2,
            context=16,
            merges=1000,
        ),
        adapter=AdapterConfig(blocks=2, layers=2, heads=4, pool=2, frames=4),
        objective=ObjectiveConfig(queue=512, momentum=0.99, smoothing=0.0),
        schedule=ScheduleConfig(
            image_steps=500,
            joint_steps=1000,
            image_batch=32,
            video_batch=32,
            optim=OptimConfig(lr=1e-3, weight_decay=0.05, decay_vectors=False, warmup_steps=50),
            joint_optim=OptimConfig(lr=1e-3, weight_decay=0.05, decay_vectors=False, warmup_steps=50),
        ),
        label="shape",
        log_every=50,
        save_every=500,
    )


RECIPES: dict[str, Callable[[], PretrainConfig]] = {
    "omnivl-b16": omnivl_b16,
    "omnivl-lab": omnivl_lab,
    "shapes": shapes,
}
