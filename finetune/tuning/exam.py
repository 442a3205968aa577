"""How well a model names clips while it is trained: top-1 and top-5 of the sum over views."""

import torch
from jaxtyping import Float
from torch import Tensor

from finetune.decoding import Decoders
from finetune.evaluation.video_vectors import video_vector
from finetune.tuning.data import Material
from finetune.tuning.tuner import Tuner
from video import DecodedClip


@torch.no_grad()
def examine(tuner: Tuner, material: Material, decoders: Decoders) -> dict[str, float]:
    """`eval_top1` and `eval_top5` of the present weights, over the clips that can be decoded; each process of
    the team looks at its part, and all get the scores.
    """
    ours = tuner.team.part(len(material.clips))
    targets = material.labels.targets[ours].tolist()
    counts = torch.zeros(3)
    found = decoders.in_order(material.clips[ours], tuner.config.test_views)
    for target, views in zip(targets, found, strict=True):
        if isinstance(views, DecodedClip):
            best = _scores(tuner, views).topk(min(5, len(tuner.classes))).indices.tolist()
            counts += torch.tensor([target == best[0], target in best, 1.0])
    top1, top5, seen = tuner.team.mean(counts).tolist()
    return {"eval_top1": top1 / max(seen, 1e-9), "eval_top5": top5 / max(seen, 1e-9)}


def _scores(tuner: Tuner, views: DecodedClip) -> Float[Tensor, " K"]:
    """Of one clip; the scale would not change their order."""
    with tuner.autocast():
        embeddings = tuner.model.embed(tuner.model.normalised(torch.from_numpy(views.frames)))
    return tuner.classes @ video_vector(embeddings)
