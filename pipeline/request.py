"""What an extraction asks of a bank: whose tower, which rows, what is kept of them.

The tower is loaded to know its facts: the spec, and the frozen weights that derived q and k need. Workers
load their own.
"""

from dataclasses import dataclass

import numpy as np

from backbones.config import BackboneConfig
from backbones.taps import FrozenTower
from backbones.weights import LoadedClip, load_clip
from pipeline.config import ExtractConfig
from pipeline.encode import temporal_spec
from pipeline.known import spec_for
from storage import BackboneSpec, BankSpec, derived_blocks, weight_name


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedTower:
    """The backbone as the driver sees it, to know its facts; workers load their own."""

    clip: LoadedClip
    tower: FrozenTower


def load_tower(config: ExtractConfig) -> LoadedTower:
    """The config's backbone.

    Raises:
        ValueError: it has too few blocks, or sees frames of another size.
    """
    clip = load_clip(config.backbone)
    tower = clip.tower((0,))
    if config.last_blocks > tower.depth:
        raise ValueError(f"{clip.name} has {tower.depth} blocks, cannot keep the last {config.last_blocks}")
    if config.views.hw != tower.size:
        raise ValueError(
            f"{clip.name} sees frames of {tower.size} pixels, views.size asks for {config.views.hw}; "
            f"set --views.size {tower.size[0]}"
        )
    return LoadedTower(clip=clip, tower=tower)


def bank_request(config: ExtractConfig, loaded: LoadedTower) -> tuple[BankSpec, dict[str, np.ndarray]]:
    """The spec of the bank that a config asks for, and the frozen weights that it holds, by name."""
    spec = build_spec(config, loaded)
    return spec, frozen_weights(loaded.tower, spec)


def frozen_weights(tower: FrozenTower, spec: BankSpec) -> dict[str, np.ndarray]:
    """The weights that a bank with derived q and k holds, by name; none for other banks."""
    return {
        weight_name(block, which): values.numpy()
        for block in derived_blocks(spec)
        for which, values in tower.query_key_weights(block).items()
    }


def build_spec(config: ExtractConfig, loaded: LoadedTower) -> BankSpec:
    """The spec of the bank that a config asks for."""
    clip = loaded.clip
    return spec_for(config, backbone_spec(config.backbone, loaded), clip.mean, clip.std)


def backbone_spec(config: BackboneConfig, loaded: LoadedTower) -> BackboneSpec:
    """The tower's part of a bank's spec."""
    clip, tower = loaded.clip, loaded.tower
    return BackboneSpec(
        name=clip.name,
        weights=clip.digest,
        precision=config.precision,
        quick_gelu=clip.quick_gelu,
        width=tower.width,
        heads=tower.heads,
        depth=tower.depth,
        grid=tower.grid,
        embed=tower.embed,
        temporal=temporal_spec(clip.view),
    )
