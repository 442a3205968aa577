"""Models of the ablation of Open-VCLIP examined: clips decoded once, weights mixed, questions answered.

Between CLIP's weights and tuned ones lies a line of models. Each is put into the tower, makes a vector of
every test clip and still, and answers with the nearest name. Names are encoded once, since no training
touches the text tower. A tower has one temporal view, so there are two, with CLIP's weights both.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ablations.openvclip_sets import PANELS, Question
from ablations.openvclip_world import HiddenConfig, Scene, paint_scene
from backbones.config import BackboneConfig
from backbones.text import PHOTO_TEMPLATES, class_matrix
from backbones.weights import LoadedClip, load_clip
from finetune.interpolate import mixed
from pipeline.recipes import TINY_CLIP
from video import Clip, ViewPlan, decode_views

ROWS = 32
"""Clips that go through the tower at once."""
Weights = Mapping[str, Tensor]


def tiny_clip(window: int) -> LoadedClip:
    """The demo's CLIP, without a temporal view (0) or with Open-VCLIP's (1)."""
    boundary = "zeros" if window else None
    return load_clip(BackboneConfig(name=str(TINY_CLIP), window=window, boundary=boundary))


class Footage:
    """What is tested, as frames, made when first needed.

    Args:
        scenes: in the order in which questions number them. folder: of the clips. config: of the stills.
        plan: views of the clips.
    """

    def __init__(
        self, scenes: Sequence[Scene], folder: Path, *, config: HiddenConfig, plan: ViewPlan
    ) -> None:
        self._scenes = scenes
        self._folder = folder
        self._config = config
        self._plan = plan

    @cached_property
    def frames(self) -> UInt8[Tensor, "N T h w 3"]:
        """All of them; a still is a clip that stands still."""
        return torch.from_numpy(np.stack([self._frames(scene) for scene in self._scenes]))

    def _frames(self, scene: Scene) -> UInt8[np.ndarray, "T h w 3"]:
        if scene.split == "still":
            return np.repeat(paint_scene(scene, self._config), self._plan.frames, axis=0)
        clip = Clip(key=scene.path, path=str(self._folder / scene.path))
        return decode_views(clip, self._plan).frames[0]


class Examiner:
    """Answers questions about the footage, under any weights.

    Args:
        window: frames before and after that the tower's blocks see.
    """

    def __init__(self, footage: Footage, window: int) -> None:
        self._footage = footage
        self._clip = tiny_clip(window)
        self._original = {name: values.clone() for name, values in self._clip.model.state_dict().items()}
        self._names: dict[tuple[str, ...], Tensor] = {}

    def scores(self, tuned: Weights, share: float, questions: Sequence[Question]) -> dict[str, float]:
        """Accuracy by panel at `share` of CLIP's weights.

        Args:
            tuned: weights by CLIP's names; those that are not there are CLIP's own.
        """
        weights = mixed(self._original, self._original | dict(tuned), share)
        self._clip.model.load_state_dict(weights)
        vectors = self.vectors()
        found: dict[str, list[float]] = {panel: [] for panel in PANELS}
        for question in questions:
            cosines = vectors[list(question.scenes)] @ self._matrix(question.names).T
            found[question.panel].append(question.accuracy(cosines.argmax(dim=1).tolist()))
        return {panel: fmean(accuracies) for panel, accuracies in found.items()}

    @torch.inference_mode()
    def vectors(self) -> Float[Tensor, "N E"]:
        """Of everything tested, under the present weights: the mean over frames of their unit embeddings."""
        frames = self._footage.frames
        tower, length = self._clip.tower(), frames.shape[1]
        found = []
        for clips in frames.split(ROWS):
            pooled = tower(tower.normalise(clips.flatten(0, 1)), frames=length).pooled
            unit = F.normalize(pooled.float(), dim=-1)
            found.append(rearrange(unit, "(n t) e -> n t e", t=length).mean(dim=1))
        return torch.cat(found)

    def _matrix(self, names: tuple[str, ...]) -> Tensor:
        if names not in self._names:
            self._names[names] = class_matrix(self._clip, names, PHOTO_TEMPLATES)
        return self._names[names]
