"""EVL's three temporal modules: where the order of frames enters a decoder that is otherwise blind to it.

A frozen image tower sees each frame alone, and attention over the tokens of all frames is a set operation:
play the clip backwards and nothing changes. Each module adds something to the frozen tokens F (N,T,L,C) that
does depend on time; all three read the frozen inputs, never each other's output, and each can be left out.

* a depthwise convolution over time, kernel 3, per token and channel, as three scaled shifts (a Conv1d would
  first bring time to the last axis, two transposes of the largest tensor of the step);
* a position per frame, (T,C);
* the tower's own queries and keys, compared between neighbouring frames, give for each patch a map of where
  in the neighbour it is found; each displacement carries a learned vector, and a patch receives the average
  of these vectors under its map: a soft optical-flow code.

The modules here hold parameters; the functions compute, forward and backward, on pieces of a batch small
enough to stay in a CPU's cache. `decoders.pooling` strings them together.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import nn


class TemporalConv(nn.Module):
    """Parameters of the convolution, with the names, shapes and start of a Conv1d with groups = C.

    `weight[:, 0, 0]` is the tap of the previous frame. Start: uniform in +-1/sqrt(3), so not an identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 1, 3).uniform_(-(3**-0.5), 3**-0.5))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-(3**-0.5), 3**-0.5))

    @property
    def taps(self) -> Float[torch.Tensor, "3 C"]:
        """Weights of the previous, the same and the next frame."""
        return self.weight[:, 0].T

    @property
    def residual_taps(self) -> Float[torch.Tensor, "3 C"]:
        """The same with the residual connection: 1 added to the middle tap."""
        before, same, after = self.weight[:, 0].unbind(dim=1)
        return torch.stack([before, 1 + same, after])


class CrossFrameTable(nn.Module):
    """A vector per displacement for the previous frame (`w1`) and the next (`w2`), both zero at the start.

    Row (dy + h - 1) * (2w - 1) + (dx + w - 1) belongs to a query patch that lies dy rows below and dx columns
    right of the key patch.
    """

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        rows = (2 * grid[0] - 1) * (2 * grid[1] - 1)
        self.w1 = nn.Parameter(torch.zeros(rows, width))
        self.w2 = nn.Parameter(torch.zeros(rows, width))


def shift_and_add(
    tokens: Float[torch.Tensor, "N T L C"], taps: Float[torch.Tensor, "3 C"]
) -> Float[torch.Tensor, "N T L C"]:
    """Convolution over time with zero padding, without bias."""
    before, same, after = taps
    mixed = tokens * same
    mixed[:, 1:].addcmul_(tokens[:, :-1], before)
    mixed[:, :-1].addcmul_(tokens[:, 1:], after)
    return mixed


def taps_gradient(
    tokens: Float[torch.Tensor, "N T L C"], gradient: Float[torch.Tensor, "N T L C"]
) -> Float[torch.Tensor, "3 C"]:
    """Gradient of `shift_and_add` for its taps; for its tokens it is `shift_and_add` with reversed taps."""
    before = (gradient[:, 1:] * tokens[:, :-1]).sum(dim=(0, 1, 2))
    same = (gradient * tokens).sum(dim=(0, 1, 2))
    after = (gradient[:, :-1] * tokens[:, 1:]).sum(dim=(0, 1, 2))
    return torch.stack([before, same, after])


def spread(maps: Float[torch.Tensor, "N M P P"], grid: tuple[int, int]) -> Float[torch.Tensor, "h NMw hS"]:
    """Maps with their keys sorted by displacement, S = 2w - 1 columns for each of the h rows of keys.

    Spelling the table out for every pair of patches takes P * P * C floats (118 MB for ViT-B/16) and scatters
    its gradient. But the displacements that a row of queries can have are h whole rows of the table: rows y
    to y + h - 1 for the queries of row y, keys taken from last to first. So the maps are spread along x only,
    and all the table sees is a plain product per row of queries. Half of the spread map is zeros, the price
    for having no gather and no scatter.
    """
    height, width = grid
    n, m = maps.shape[:2]
    keyed = rearrange(maps.flip(-1), "n m (ya xa) (yb xb) -> ya n m xa yb xb", ya=height, yb=height)
    spread_out = maps.new_zeros(height, n, m, width, height, 2 * width - 1)
    for x in range(width):
        spread_out[:, :, :, x, :, x : x + width] = keyed[:, :, :, x]
    return spread_out.flatten(4).flatten(1, 3)


def gather(
    spread_out: Float[torch.Tensor, "h NMw hS"], pairs: int, grid: tuple[int, int]
) -> Float[torch.Tensor, "N M P P"]:
    """Adjoint of `spread`: the entries that came from maps, back in their places; `pairs` is M."""
    height, width = grid
    unfolded = rearrange(spread_out, "ya (n m xa) (yb s) -> ya n m xa yb s", m=pairs, xa=width, yb=height)
    columns = [unfolded[:, :, :, x, :, x : x + width] for x in range(width)]
    return rearrange(columns, "xa ya n m yb xb -> n m (ya xa) (yb xb)").flip(-1)


def table_rows(
    table: Float[torch.Tensor, "R C"], y: int, grid: tuple[int, int]
) -> Float[torch.Tensor, "hS C"]:
    """View of the part of the table that queries in row `y` of the grid need."""
    span = 2 * grid[1] - 1
    return table[y * span : (y + grid[0]) * span]


def patch_row(
    tokens: Float[torch.Tensor, "N M L C"], y: int, grid: tuple[int, int]
) -> Float[torch.Tensor, "N M w C"]:
    """View of row `y` of the patches; CLS comes before them."""
    return tokens[:, :, 1 + y * grid[1] : 1 + (y + 1) * grid[1]]
