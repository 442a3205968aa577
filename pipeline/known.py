"""What a bank already knows of its tower: to go on with it, a driver need not load the tower again."""

from collections.abc import Sequence

from backbones.config import BackboneConfig
from pipeline.config import ExtractConfig, origin
from storage import BackboneSpec, Bank, BankError, BankSpec, Kept
from video import decoder_versions


def known_request(config: ExtractConfig) -> BankSpec | None:
    """The spec that a config asks for, in the words of a bank that was made with the same backbone, by name
    and weights, and keeps all of it; None where there is none, and the tower must be asked.

    Weights of the same name may have changed since: every encoder holds their digest against the bank's.
    """
    try:
        bank = Bank(config.bank) if config.bank else None
    except BankError:
        return None
    if bank is None:
        return None
    backbone, asked, video = bank.spec.backbone, config.backbone, bank.spec.video
    made, ours = bank.manifest.made, origin(config)
    same = (
        all(made.get(name) == ours[name] for name in ("backbone", "weights"))
        and asked.precision == backbone.precision
        and asked.quick_gelu in (None, backbone.quick_gelu)
        and asked_view(asked) in (None, backbone.view)
        and config.last_blocks <= backbone.depth
    )
    if not same:
        return None
    spec = spec_for(config, backbone, video["mean"], video["std"])
    return spec if spec.kept[0] in bank.spec.kept else None


def asked_view(asked: BackboneConfig) -> tuple[int, str | None] | None:
    """Window and boundary as they are asked for; None where the weights are to say."""
    return None if asked.window is None else (asked.window, asked.boundary)


def spec_for(
    config: ExtractConfig, backbone: BackboneSpec, mean: Sequence[float], std: Sequence[float]
) -> BankSpec:
    """The spec of the bank that a config asks for.

    Args:
        backbone: its tower. mean, std: of the frames that the tower was trained on, per channel.
    """
    blocks = range(backbone.depth - config.last_blocks, backbone.depth)
    kept = Kept(blocks=tuple(blocks), attention=config.attention, dtype=config.dtype)
    return BankSpec(
        backbone=backbone,
        frames=config.views.frames,
        views=config.views.count,
        video={
            "plan": config.views.to_json(),
            "decoders": decoder_versions(),
            "mean": mean,
            "std": std,
        },
        kept=(kept,),
    )
