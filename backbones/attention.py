"""Attention over tokens, by the fastest kernel there is for the device.

On a CPU torch's scaled_dot_product_attention never writes the L x L scores to memory. On CUDA xformers (the
extra `cuda`) takes (B, L, H, D) as it is, without transposing; where it is not installed torch's own kernel
serves there, too.
"""

from functools import cache
from importlib.util import find_spec

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def attend(
    q: Float[Tensor, "B L H D"], k: Float[Tensor, "B S H D"], v: Float[Tensor, "B S H D"]
) -> Float[Tensor, "B L H D"]:
    """softmax(q k / sqrt(D)) v per head, without a mask."""
    if q.is_cuda and _has_xformers():
        from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]

        return memory_efficient_attention(q, k, v)
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(
        1, 2
    )


@cache
def _has_xformers() -> bool:
    return find_spec("xformers") is not None
