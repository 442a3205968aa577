"""Image towers that become any mixture of CLIP's weights and tuned ones, in place.

A network is loaded once for all curves that begin from the same CLIP; beside it are kept, on its device and
in fp32, CLIP's own image tower and that of each run. Mixing reads two of these and writes the model: 0.16 s
for ViT-B/16 on one core, which needs 9.7 s for 3 views of 8 frames of a video; the faster the device, the
closer the two, so some videos are decoded before the weights are changed. The text tower stays CLIP's own, as
in Open-VCLIP (arXiv 2302.00624), so a set has one class matrix for all shares; the scale would change no
order of classes and is left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from backbones.checkpoint import read_checkpoint
from backbones.config import BackboneConfig, Precision
from backbones.taps import FrozenTower
from backbones.weights import DTYPES, LoadedClip, image_digest, load_clip
from finetune.evaluation.encoding import identity_of
from finetune.final import fill_tuned, is_text
from finetune.interpolate import mix_into
from finetune.tradeoff.tuned import Tuned
from video import ViewPlan

TEXT_TOLERANCE = 0.01
"""How far a text tower may be from CLIP's, relative to each tensor's norm: room for averages' rounding and
for weight decay."""

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """All mixtures of one run."""

    tuned: Tuned
    clip: LoadedClip
    """The model that is mixed, which other curves of the same CLIP share, with this curve's temporal view."""
    own: Tensors
    """CLIP's image tower."""
    tensors: Tensors
    """The tuned one."""
    digest: str
    """Of the tuned one."""

    def tower(self, share: float) -> FrozenTower:
        """The image tower with so much of CLIP's weights; good until the next is asked for."""
        visual: Any = self.clip.model.visual
        mix_into(visual, self.own, self.tensors, share)
        return self.clip.tower().to(visual.conv1.weight.device)

    def identity(self, share: float, plan: ViewPlan) -> dict[str, Any]:
        """What decides the vectors of videos; at the ends that is one of the two towers alone, so curves that
        end at the same CLIP share its vectors.
        """
        digests = {"clip": self.clip.digest if share else "", "tuned": self.digest if share < 1 else ""}
        return identity_of(self.clip, plan) | {"digest": digests, "share": share}


def curves_of(runs: Sequence[Tuned], precision: Precision, device: torch.device) -> list[Curve]:
    """Every run's towers, ready to be mixed on a device.

    Raises:
        BackboneError: weights that cannot be had, are damaged, or are another network's.
        ValueError: weights that began from another CLIP, or whose text tower was tuned, too.
    """
    by_clip: dict[tuple[str, str], list[Tuned]] = {}
    for tuned in runs:
        by_clip.setdefault((tuned.name, tuned.clip), []).append(tuned)
    made = [curve for some in by_clip.values() for curve in _of_one_clip(some, precision, device)]
    found = {curve.tuned.label: curve for curve in made}
    return [found[tuned.label] for tuned in runs]


def _of_one_clip(runs: Sequence[Tuned], precision: Precision, device: torch.device) -> list[Curve]:
    """The curves of runs that began from the same CLIP, whose weights are read before the model is cast."""
    first = runs[0]
    clip = load_clip(BackboneConfig(name=first.name, weights=first.clip, window=0))
    before = {name: values.clone() for name, values in clip.model.state_dict().items()}
    towers = [_tower_of(tuned, clip, before) for tuned in runs]
    clip.model.load_state_dict(before)
    own = _on(device, {name: before[f"visual.{name}"] for name in clip.model.visual.state_dict()})
    clip = replace(clip, model=clip.model.to(device, DTYPES[precision]), precision=precision)
    return [
        Curve(
            tuned=tuned,
            clip=replace(clip, view=tuned.view),
            own=own,
            tensors=_on(device, tensors),
            digest=digest,
        )
        for tuned, (tensors, digest) in zip(runs, towers, strict=True)
    ]


def _tower_of(tuned: Tuned, clip: LoadedClip, before: Tensors) -> tuple[Tensors, str]:
    """A run's image tower and its digest; the model is left with its weights."""
    if tuned.clip_digest not in ("", clip.digest):
        raise ValueError(
            f"expected the CLIP that {tuned.path} began from (digest {tuned.clip_digest[:12]}), found "
            f"{tuned.name} {tuned.clip} ({clip.digest[:12]}); name the right one with --clip"
        )
    fill_tuned(clip, before, read_checkpoint(tuned.path).tensors, path=str(tuned.path))
    _refuse_tuned_text(tuned, clip.model.state_dict(), before)
    visual: Any = clip.model.visual
    tensors = {name: values.clone() for name, values in visual.state_dict().items()}
    return tensors, image_digest(visual)


def _refuse_tuned_text(tuned: Tuned, found: Tensors, before: Tensors) -> None:
    for name, values in before.items():
        if is_text(name) and (found[name] - values).norm() > TEXT_TOLERANCE * values.norm():
            raise ValueError(
                f"expected CLIP's own text tower in {tuned.path}, found another ({name}); classes are "
                "CLIP's texts for all shares, so a text tower that was tuned, or another CLIP's, cannot be "
                "compared; name the CLIP that training began from with --clip"
            )


def _on(device: torch.device, tensors: Tensors) -> Tensors:
    return {name: values.to(device) for name, values in tensors.items()}
