"""How well a model names clips while it is trained: top-1 and top-5 of the sum over views."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import torch
from jaxtyping import Float
from torch import Tensor

from finetune.tuning.data import Material
from finetune.tuning.decoding import Decoders
from finetune.tuning.tuner import Tuner
from finetune.video_vectors import video_vector
from video import Clip, DecodedClip, DecodeError, ViewPlan

AHEAD = 2
"""Clips that are decoded, or being so, for each process that decodes."""


@torch.no_grad()
def examine(tuner: Tuner, material: Material, decoders: Decoders) -> dict[str, float]:
    """`eval_top1` and `eval_top5` of the present weights, over the clips that can be decoded; each process of
    the team looks at its part, and all get the scores.
    """
    ours = tuner.team.part(len(material.clips))
    targets = material.labels.targets[ours].tolist()
    counts = torch.zeros(3)
    for target, views in zip(
        targets, decoded(material.clips[ours], tuner.config.test_views, decoders), strict=True
    ):
        if views is not None:
            best = _scores(tuner, views).topk(min(5, len(tuner.classes))).indices.tolist()
            counts += torch.tensor([target == best[0], target in best, 1.0])
    top1, top5, seen = tuner.team.mean(counts).tolist()
    return {"eval_top1": top1 / max(seen, 1e-9), "eval_top5": top5 / max(seen, 1e-9)}


def decoded(clips: tuple[Clip, ...], plan: ViewPlan, decoders: Decoders) -> Iterator[DecodedClip | None]:
    """The views of each clip in order, some ahead; None for one that cannot be decoded."""
    left, ahead = iter(clips), deque[Future[DecodedClip]]()
    while True:
        while len(ahead) < AHEAD * decoders.processes and (clip := next(left, None)) is not None:
            ahead.append(decoders.submit(clip, plan))
        if not ahead:
            return
        try:
            yield ahead.popleft().result()
        except DecodeError:
            yield None


def _scores(tuner: Tuner, views: DecodedClip) -> Float[Tensor, " K"]:
    """Of one clip; the scale would not change their order."""
    with tuner.autocast():
        embeddings = tuner.model.embed(tuner.model.normalised(torch.from_numpy(views.frames)))
    return tuner.classes @ video_vector(embeddings)
