"""Where each patch looks in the frame before and the frame after: EVL's cross-frame attention maps.

The frozen queries of a frame meet the frozen keys of its neighbour, patches only (CLS is left out before the
softmax), and the heads are averaged after it (arXiv 2208.03550 and its published code). Since only the
average is ever used, the heads are summed one by one: the largest tensor is N x (T-1) x P x P, not H times
that; for ViT-B/16 and 8 frames 1 MB a clip and direction instead of 13. All arithmetic is fp32, whatever q
and k were stored in.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


def cross_frame_maps(
    q: Float[Tensor, "N T L H D"], k: Float[Tensor, "N T L H D"]
) -> tuple[Float[Tensor, "N T-1 L-1 L-1"], Float[Tensor, "N T-1 L-1 L-1"]]:
    """(map_prev, map_next), fp32, each (N, T-1, P, P): a row per query patch, over key patches, sums to 1.

    map_prev[:, t-1] has frame t look at frame t-1, for t = 1..T-1; map_next[:, t] has frame t look at frame
    t+1, for t = 0..T-2. A single frame has no neighbours: T = 1 gives (N, 0, P, P).
    """
    queries = _patches_by_head(q) * q.shape[-1] ** -0.5
    keys = _patches_by_head(k).transpose(-1, -2)
    return _mean_over_heads(queries[:, :, 1:], keys[:, :, :-1]), _mean_over_heads(
        queries[:, :, :-1], keys[:, :, 1:]
    )


def _patches_by_head(tokens: Float[Tensor, "N T L H D"]) -> Float[Tensor, "H N T P D"]:
    return rearrange(tokens[:, :, 1:].float(), "n t p h d -> h n t p d").contiguous()


def _mean_over_heads(
    queries: Float[Tensor, "H N S P D"], keys: Float[Tensor, "H N S D P"]
) -> Float[Tensor, "N S P P"]:
    heads, clips, pairs, patches, _ = queries.shape
    total = queries.new_zeros(clips, pairs, patches, patches)
    for query, key in zip(queries, keys, strict=True):
        total = total + torch.softmax(query @ key, dim=-1)
    return total / heads
