"""Fine-tunings by name: Open-VCLIP's, and the plain ones that it is compared with."""

from collections.abc import Callable
from dataclasses import replace

from finetune.interpolate import RegulariserConfig
from finetune.tuning.config import TuneConfig


def openvclip_b32() -> TuneConfig:
    """Open-VCLIP on Kinetics-400, ViT-B/32, 8 frames 16/30 s apart, as its code has it.

    Command: framebank finetune openvclip-b32 --source train.csv --eval-source val.csv --run RUN

    Hardware: 8 processes of 8 clips (--workers 8); hours not published.

    Expected: not published as a row that could be checked. Mix with `framebank interpolate --share 0.5`.

    Not measured here: no GPU and no Kinetics.
    """
    return TuneConfig(name="ViT-B-32", precision="fp16")


def openvclip_b16() -> TuneConfig:
    """Open-VCLIP on Kinetics-400, ViT-B/16, 8 frames 16/30 s apart, as its code has it.

    Command: framebank finetune openvclip-b16 --source train.csv --eval-source val.csv --run RUN --workers 8

    Hardware: 8 V100 of 32 GB, about a day for 22 epochs, as its authors say.

    Expected: zero-shot top-1 83.5 on all of UCF101, 53.2 on all of HMDB51, 73.0 on Kinetics-600's new
    classes, mixed with `framebank interpolate --share 0.5`; others who trained it report 82.4 to 82.6
    on UCF101.

    Not measured here: no GPU and no Kinetics.
    """
    return TuneConfig(name="ViT-B-16", precision="fp16")


def openvclip_l14() -> TuneConfig:
    """Open-VCLIP on Kinetics-400, ViT-L/14, 8 frames 16/30 s apart, as its code has it.

    Command: framebank finetune openvclip-l14 --source train.csv --eval-source val.csv --run RUN --workers 8

    Hardware: 8 processes of 8 clips, with activation checkpointing; hours not published.

    Expected: zero-shot top-1 87.9 on UCF101, 58.3 on HMDB51, 81.1 on Kinetics-600's new classes,
    mixed with `framebank interpolate --share 0.6`.

    Not measured here: no GPU and no Kinetics.
    """
    return TuneConfig(name="ViT-L-14", precision="fp16", recompute=True)


def plain_b32() -> TuneConfig:
    """Plain fine-tuning of ViT-B/32, the baseline of openvclip-b32: the same without the interpolated pass.

    Command: framebank finetune plain-b32 --source train.csv --eval-source val.csv --run RUN

    Hardware: half the compute of openvclip-b32.

    Expected: closed-set accuracy rises, zero-shot accuracy may fall below CLIP's own. Not measured here.
    """
    return _plain(openvclip_b32())


def plain_b16() -> TuneConfig:
    """Plain fine-tuning of ViT-B/16, the baseline of openvclip-b16: the same without the interpolated pass.

    Command: framebank finetune plain-b16 --source train.csv --eval-source val.csv --run RUN

    Hardware: half the compute of openvclip-b16.

    Expected: closed-set accuracy rises, zero-shot accuracy may fall below CLIP's own. Not measured here.
    """
    return _plain(openvclip_b16())


def plain_l14() -> TuneConfig:
    """Plain fine-tuning of ViT-L/14, the baseline of openvclip-l14: the same without the interpolated pass.

    Command: framebank finetune plain-l14 --source train.csv --eval-source val.csv --run RUN

    Hardware: half the compute of openvclip-l14.

    Expected: closed-set accuracy rises, zero-shot accuracy may fall below CLIP's own. Not measured here.
    """
    return _plain(openvclip_l14())


def _plain(config: TuneConfig) -> TuneConfig:
    return replace(config, regulariser=RegulariserConfig(weight=0.0))


RECIPES: dict[str, Callable[[], TuneConfig]] = {
    recipe.__name__.replace("_", "-"): recipe
    for recipe in (openvclip_b32, openvclip_b16, openvclip_l14, plain_b32, plain_b16, plain_l14)
}
"""Name on the command line to recipe."""
