"""Extractions by name: what to keep so that the decoder recipe of the same name can train.

The `k400-*` recipes follow EVL's published training scripts (arXiv 2208.03550): one random view per video
with its frame choice, crop and RandAugment; `-test` gives the evaluation views of the same script. A cached
view is drawn once, where EVL draws a new one each epoch: raise `--views.augmented-views` to keep several.
Nothing of K400 or SSv2 was run by us; sizes are arithmetic.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import tyro

from backbones.config import BackboneConfig
from pipeline.config import ExtractConfig
from video import Sampling, ViewPlan

TINY_CLIP = Path(__file__).resolve().parent.parent / "demo" / "tiny_clip"
RANDAUGMENT = "rand-m7-n4-mstd0.5-inc1"


def shapes() -> ExtractConfig:
    """The demo's drawn videos under its tiny CLIP: 8 of 24 frames, one view; a minute on two CPU cores."""
    return ExtractConfig(
        source=tyro.MISSING,
        backbone=BackboneConfig(name=str(TINY_CLIP)),
        views=ViewPlan(sampling=Sampling(kind="tsn", frames=8), size=64),
        last_blocks=2,
    )


def images() -> ExtractConfig:
    """Stills: every image is a one-frame clip; ViT-B/16, 4 blocks, 1.2 MB a row."""
    return ExtractConfig(
        source=tyro.MISSING,
        backbone=openai("ViT-B-16"),
        attention="none",
        views=ViewPlan(sampling=Sampling(kind="dense", frames=1, stride=1)),
    )


def openai(name: str) -> BackboneConfig:
    """OpenAI's weights in fp16, as EVL runs them; on a CPU choose `--backbone.precision bf16` or fp32."""
    return BackboneConfig(name=name, weights="openai", precision="fp16")


def evl_train(model: str, sampling: Sampling, *, last_blocks: int = 4) -> ExtractConfig:
    """EVL's training views: random frames, random resized crop, RandAugment, never a flip."""
    views = ViewPlan(kind="train", sampling=sampling, resize="bilinear", randaugment=RANDAUGMENT)
    return evl(model, views, last_blocks)


def evl_test(
    model: str, sampling: Sampling, *, temporal: int, spatial: int, last_blocks: int = 4
) -> ExtractConfig:
    """EVL's evaluation views."""
    views = ViewPlan(sampling=sampling, temporal_views=temporal, spatial_views=spatial, resize="bilinear")
    return evl(model, views, last_blocks)


def evl(model: str, views: ViewPlan, last_blocks: int) -> ExtractConfig:
    """Everything but the views."""
    return ExtractConfig(source=tyro.MISSING, backbone=openai(model), views=views, last_blocks=last_blocks)


def k400(model: str, frames: int, stride: int, *, test: bool) -> ExtractConfig:
    """One of EVL's six Kinetics-400 scripts: 8 frames are tested on 3 clips in time, more on 3 crops."""
    sampling = Sampling(kind="evl-eval" if test else "evl-train", frames=frames, stride=stride)
    if not test:
        return evl_train(model, sampling)
    temporal, spatial = (3, 1) if frames == 8 else (1, 3)
    return evl_test(model, sampling, temporal=temporal, spatial=spatial)


def ssv2(model: str, frames: int, *, test: bool) -> ExtractConfig:
    """Something-Something v2: one frame per segment, all 12 blocks, tested on 3 crops."""
    sampling = Sampling(kind="tsn", frames=frames)
    if not test:
        return evl_train(model, sampling, last_blocks=12)
    return evl_test(model, sampling, temporal=1, spatial=3, last_blocks=12)


SCRIPTS: dict[str, tuple[str, Callable[..., ExtractConfig]]] = {
    "k400-b16-8f": ("ViT-B/16, 8 frames, stride 16", lambda **k: k400("ViT-B-16", 8, 16, **k)),
    "k400-b16-16f": ("ViT-B/16, 16 frames, stride 16", lambda **k: k400("ViT-B-16", 16, 16, **k)),
    "k400-b16-32f": ("ViT-B/16, 32 frames, stride 8", lambda **k: k400("ViT-B-16", 32, 8, **k)),
    "k400-l14-8f": ("ViT-L/14, 8 frames, stride 16", lambda **k: k400("ViT-L-14", 8, 16, **k)),
    "k400-l14-16f": ("ViT-L/14, 16 frames, stride 16", lambda **k: k400("ViT-L-14", 16, 16, **k)),
    "k400-l14-32f": ("ViT-L/14, 32 frames, stride 8", lambda **k: k400("ViT-L-14", 32, 8, **k)),
    "ssv2-b16-8f": ("ViT-B/16, 8 segments, 12 blocks", lambda **k: ssv2("ViT-B-16", 8, **k)),
}


def recipes() -> dict[str, tuple[str, ExtractConfig]]:
    """Every recipe by name, with a line that says what it is."""
    found = {"shapes": (first_line(shapes), shapes()), "images": (first_line(images), images())}
    for name, (what, make) in SCRIPTS.items():
        found[name] = (f"{what}; training views", make(test=False))
        found[f"{name}-test"] = (f"{what}; test views", make(test=True))
    return found


def first_line(function: Callable[..., object]) -> str:
    """First line of a docstring."""
    return (function.__doc__ or "").strip().splitlines()[0]


def parse(arguments: Sequence[str] | None) -> ExtractConfig:
    """Recipe name and overrides from the command line."""
    return tyro.extras.overridable_config_cli(
        recipes(),
        prog="framebank extract",
        description="Encode videos with a frozen CLIP into a bank; run it again to complete the bank.",
        args=arguments,
    )
