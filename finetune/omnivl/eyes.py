"""How a pre-trained model sees files: which frames of them, and the tower that they go through.

A model that was trained end to end is its own tower. One that learned from a bank needs the bank's: frames
go through its taps to the adapter, as they did when the bank was made. Either takes as many frames as it
learned from, chosen by the same rule, but in fixed places, and one centre crop.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

from torch import nn

from backbones.config import BackboneConfig
from backbones.taps import FrozenTower
from backbones.weights import LoadedClip, load_clip
from decoders.omnivl.config import PretrainConfig
from decoders.omnivl.model import OmniVLModel, bank_visual
from decoders.omnivl.schedule import Kind
from decoders.omnivl.shown import Shown
from finetune.omnivl.encoder import SpaceTimeCLIP, space_time_clip
from finetune.omnivl.live_bank import LiveBankVisual
from storage import BackboneSpec
from storage.spec import differences
from video import ViewPlan


class Eye(Protocol):
    """What looks at decoded frames."""

    plans: Mapping[Kind, ViewPlan]
    """Frames and crop of each kind."""
    weights: str
    """Digest of the tower that it began from, or has."""

    @property
    def grid(self) -> tuple[int, int]:
        """Patches of a frame that the heads see."""
        ...

    @property
    def visual(self) -> SpaceTimeCLIP | LiveBankVisual:
        """From normalised frames to VisualOut."""
        ...


class OwnEye:
    """Of a model that was trained end to end."""

    def __init__(self, model: OmniVLModel) -> None:
        tier = model.tier
        self.plans: Mapping[Kind, ViewPlan] = {
            "image": fixed(ViewPlan.from_json(tier["image_views"])),
            "video": fixed(ViewPlan.from_json(tier["video_views"])),
        }
        self.weights = tier["weights"]
        self._model = model

    @property
    def visual(self) -> SpaceTimeCLIP:
        """The model's own."""
        found = self._model.visual
        assert isinstance(found, SpaceTimeCLIP)
        return found

    @property
    def grid(self) -> tuple[int, int]:
        """The tower's."""
        return self.visual.grid


class BankEye:
    """Of a model that learned from a bank; its tower is loaded when first needed.

    Args:
        shown: names the tower and its weights.
    """

    def __init__(self, model: OmniVLModel, shown: Shown) -> None:
        plan = fixed(ViewPlan.from_json(model.tier["video"]["plan"]))
        frames = model.config.adapter.frames
        self.plans: Mapping[Kind, ViewPlan] = {
            "image": plan.with_frames(1),
            "video": plan.with_frames(frames),
        }
        self.weights = model.tier["backbone"]["weights"]
        self._model, self._shown = model, shown

    @cached_property
    def visual(self) -> LiveBankVisual:
        """Tower and adapter. Raises BackboneError or ValueError where the bank's tower cannot be had."""
        tower = bank_tower(self._model.tier, self._shown).to(self._model.device)
        adapter: Any = self._model.visual
        return LiveBankVisual(tower, adapter)

    @property
    def grid(self) -> tuple[int, int]:
        """The tower's, in the adapter's squares."""
        adapter = self.visual.adapter
        height, width = adapter.grid
        return height // adapter.config.pool, width // adapter.config.pool


def fixed(plan: ViewPlan) -> ViewPlan:
    """The one view of an evaluation with a plan's frames, size and resizing: frames in their fixed places, a
    centre crop.
    """
    sampling = plan.sampling
    if sampling.kind == "evl-train":
        sampling = replace(sampling, kind="evl-eval")
    return ViewPlan(sampling=sampling, size=plan.size, resize=plan.resize)


def bank_tower(tier: Mapping[str, Any], shown: Shown) -> FrozenTower:
    """The tower of the bank that a model learned from, with taps after its blocks.

    Raises:
        BackboneError: it cannot be had. ValueError: what is named is another.
    """
    spec = BackboneSpec.from_json(tier["backbone"])
    window, boundary = spec.view
    options: dict[str, Any] = {"window": window, "boundary": boundary, "quick_gelu": spec.quick_gelu}
    name = shown.name or spec.name
    clip = load_clip(
        BackboneConfig(name=name, weights=shown.weights, precision=spec.precision, **options)  # pyright: ignore[reportArgumentType]
    )
    seen = {"mean": list(clip.mean), "std": list(clip.std)}
    lines = differences({name: list(tier["video"][name]) for name in seen}, seen)
    if clip.digest != spec.weights or lines:
        raise ValueError(
            f"expected the tower of the model's bank, {spec.name} {spec.weights[:12]}, found {clip.name} "
            f"{clip.digest[:12]}{''.join(f'; {line}' for line in lines)}; name it with --name and --weights"
        )
    return clip.tower(tier["blocks"])


def visual_of(config: PretrainConfig, tier: Mapping[str, Any]) -> nn.Module:
    """The visual module of a run of either tier, with no training's weights. Raises as `bank_visual`."""
    if tier["tier"] != "live":
        return bank_visual(config, tier)
    network = BackboneConfig(name=tier["name"], weights="random:0", quick_gelu=tier["quick_gelu"])
    clip: LoadedClip = replace(load_clip(network), mean=tuple(tier["mean"]), std=tuple(tier["std"]))
    return space_time_clip(clip, config.heads, ViewPlan.from_json(tier["video_views"]).frames)
