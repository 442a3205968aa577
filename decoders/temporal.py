"""EVL's three temporal modules: where the order of frames enters a decoder that is otherwise blind to it.

A frozen image tower sees each frame alone, and attention over the tokens of all frames is a set operation:
play the clip backwards and nothing changes. Each module adds something to the frozen tokens F (N,T,L,C) that
does depend on time; all three read the frozen inputs, never each other's output, and each can be left out.

* `TemporalConv`: depthwise over time, kernel 3, per token and channel, as three scaled shifts (a Conv1d would
  first
  bring time to the last axis, two transposes of the largest tensor of the step).
* a position per frame, (T,C), which needs no code of its own.
* `CrossFrameTable`: the tower's own queries and keys, compared between neighbouring frames, give for each
  patch a map of
  where in the next (or last) frame it is found; each displacement carries a learned vector, and a patch
  receives the average of these vectors under its map: a soft optical-flow code.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import nn


class TemporalConv(nn.Module):
    """Depthwise convolution over time: kernel 3, zero padding; `weight[:, 0, 0]` is the tap of the previous
    frame.

    Parameters have the names, shapes and start (uniform in +-1/sqrt(3)) of a Conv1d with groups = C.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 1, 3).uniform_(-(3**-0.5), 3**-0.5))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-(3**-0.5), 3**-0.5))

    def forward(self, tokens: Float[torch.Tensor, "N T L C"]) -> Float[torch.Tensor, "N T L C"]:
        """The convolution's own output, to be added to the tokens. Frames outside the clip count as zeros."""
        before, same, after = self.weight[:, 0].unbind(dim=1)
        mixed = torch.addcmul(self.bias, tokens, same)
        mixed[:, 1:] += tokens[:, :-1] * before
        mixed[:, :-1] += tokens[:, 1:] * after
        return mixed


class CrossFrameTable(nn.Module):
    """A vector per displacement for the previous frame (`w1`) and the next (`w2`), both zero at the start.

    Row (dy + h - 1) * (2w - 1) + (dx + w - 1) belongs to a query patch that lies dy rows below and dx columns
    right of the key patch.
    """

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        rows = (2 * grid[0] - 1) * (2 * grid[1] - 1)
        self.w1 = nn.Parameter(torch.zeros(rows, width))
        self.w2 = nn.Parameter(torch.zeros(rows, width))

    def forward(
        self, map_prev: Float[torch.Tensor, "N M P P"], map_next: Float[torch.Tensor, "N M P P"]
    ) -> Float[torch.Tensor, "N M+1 P+1 C"]:
        """What each token receives: zeros for the CLS token, no `prev` part in frame 0 and no `next` part in
        the last.
        """
        from_prev = F.pad(displacement_sum(map_prev, self.w1, self.grid), (0, 0, 1, 0, 1, 0))
        from_next = F.pad(displacement_sum(map_next, self.w2, self.grid), (0, 0, 1, 0, 0, 1))
        return from_prev + from_next


def displacement_sum(
    maps: Float[torch.Tensor, "N M P P"], table: Float[torch.Tensor, "R C"], grid: tuple[int, int]
) -> Float[torch.Tensor, "N M P C"]:
    """out[a] = sum over b of maps[a, b] * table[displacement of a from b], as one product per row of the
    grid.

    Spelling the table out for every pair of patches takes P * P * C floats (118 MB for ViT-B/16) and scatters
    its gradient. But the displacements that one row of queries can have are h whole rows of the table. So the
    maps, which are data, are scattered along x only, to (h, N M w, h (2w-1)), and multiplied with that slice:
    everything the table sees is a plain product.
    """
    height, width = grid
    span = 2 * width - 1
    n, m, _, _ = maps.shape
    keyed = rearrange(maps, "n m (ya xa) (yb xb) -> ya n m xa yb xb", ya=height, yb=height)
    scattered = maps.new_zeros(height, n, m, width, height, span)
    for x in range(width):
        scattered[:, :, :, x, :, width - 1 - x : span - x] = keyed[:, :, :, x]
    # a key further right or down is a smaller displacement, so the table is read backwards
    slices = table.flip(0).unflatten(0, (2 * height - 1, span))
    windows = torch.stack([slices[height - 1 - y : 2 * height - 1 - y] for y in range(height)])
    product = torch.bmm(scattered.flatten(4).flatten(1, 3), windows.flatten(1, 2).to(maps.dtype))
    return rearrange(product, "ya (n m xa) c -> n m (ya xa) c", n=n, m=m, xa=width)
