"""Decoded frames as a tower takes them."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def normalised(
    frames: UInt8[Tensor, "B h w 3"], mean: Float[Tensor, " 3"], std: Float[Tensor, " 3"], dtype: torch.dtype
) -> Float[Tensor, "B 3 h w"]:
    """In [0, 1], less the mean of each colour, over its deviation; on the device of these."""
    pixels = frames.to(mean.device, non_blocking=True).permute(0, 3, 1, 2).float()
    scale, shift = 1 / (255 * std.float()), mean.float() / std.float()
    return (pixels * scale[:, None, None] - shift[:, None, None]).to(dtype).contiguous()
