"""Where the right answer stands when captions look for their videos, and videos for their captions.

Text to video: every caption is a query, and its rank is that of its own video among all videos. Video to
text: every video is a query, and its rank is that of the best of its own captions among all captions; its
other captions do not stand in its way. Ranks begin at 1. (With several captions a video, CLIP4Clip, arXiv
2104.08860, ranks videos by their best caption in the second direction, so a rival counts once however many of
its captions are above: never a worse rank than ours. With one caption a video both are the same.)

What scores the same shares the mean of its places: 1 + those above + half of those equal. A model that says
the same of everything gets the ranks of chance, half of all, where putting the right one first would make it
perfect. Equal inputs must then give equal scores wherever they stand, but a product in fp32 rounds by the
place in its batch; so products are taken in fp64 and rounded to fp32. The cost is small: 1,000 videos with
20,000 captions of width 512 are 2 x 10^10 operations. They are compared in pieces of at most 2^25 scores (0.4
GB), which these fit into whole; 2,990 with 59,800, the full test set of MSR-VTT, take six.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

PIECE = 1 << 25
"""Scores that are in memory at once."""
RECALLS = (1, 5, 10)

Parts = Sequence[tuple[Tensor, Tensor]]


def ranks(
    videos: Float32[Tensor, "N E"],
    texts: Float32[Tensor, "M E"],
    owners: Int64[Tensor, " M"],
    *,
    piece: int = PIECE,
    watch: Callable[[Parts], Iterable[tuple[Tensor, Tensor]]] = iter,
) -> tuple[Float64[Tensor, " M"], Float64[Tensor, " N"]]:
    """Ranks of N videos and their M captions, by the product of their vectors.

    Args:
        videos, texts: their vectors. owners: for each text the place of its video; every video has one.
        piece: scores that may be in memory at once. watch: what the pieces are taken through, for progress.

    Returns:
        The rank of each text's video, and of each video's best text.

    Raises:
        ValueError: vectors with values that are no numbers, of which no comparison would be true.
    """
    if not (videos.isfinite().all() and texts.isfinite().all()):
        raise ValueError("expected finite vectors, found nan or inf; encode with --precision fp32")
    columns = max(1, piece // len(videos))
    parts = list(zip(texts.split(columns), owners.split(columns), strict=True))
    every, best = videos.double(), best_own(videos, parts)
    by_text, above = [], torch.zeros(len(videos), dtype=torch.float64)
    for part, mine in watch(parts):
        scores = (every @ part.double().T).float()
        column = torch.arange(len(part))
        own = scores[mine, column]
        scores[mine, column] = -torch.inf  # what is left are rivals
        by_text.append(1 + ahead(scores, own))
        above += ahead(scores.T, best)
    return torch.cat(by_text), 1 + above


def best_own(videos: Float32[Tensor, "N E"], parts: Parts) -> Float32[Tensor, " N"]:
    """The highest score of each video with its own texts."""
    best = torch.full((len(videos),), -torch.inf)
    for part, mine in parts:
        own = torch.einsum("m e, m e -> m", videos[mine].double(), part.double()).float()
        best = best.scatter_reduce(0, mine, own, "amax")
    return best


def ahead(rivals: Float32[Tensor, "R Q"], own: Float32[Tensor, " Q"]) -> Float64[Tensor, " Q"]:
    """How many of each query's rivals are above its own answer, equal ones counted half."""
    return (rivals > own).sum(0).double() + (rivals == own).sum(0).double() / 2


def summary(found: Float64[Tensor, " Q"]) -> dict[str, float]:
    """Recall at 1, 5 and 10, median and mean of ranks."""
    recalls = {f"recall_at_{k}": float((found <= k).double().mean()) for k in RECALLS}
    return recalls | {"median_rank": float(found.quantile(0.5)), "mean_rank": float(found.mean())}
