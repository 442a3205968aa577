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

The modules here hold parameters; the functions compute, forward and backward, on pieces small enough to stay
in a CPU's cache: p tokens of a frame in all frames and clips, (p,T,N,C). `decoders.pooling` strings them
together.

Spelling the table out for every pair of patches takes P * P * C floats (118 MB for ViT-B/16) and scatters its
gradient. But the h * w displacements that the keys of a patch can have lie in one window of the table. Turn
the table round, so that keys come in their own order, and copy the part that one column of patches needs, a
strip ((2h-1) * w vectors): then the window of each patch is a run of whole rows of it, the patch's share is a
plain product of its maps and that view, and so is the gradient.
"""

import torch
from jaxtyping import Float
from torch import nn
from torch.nn.grad import conv2d_weight


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
    tokens: Float[torch.Tensor, "p T N C"],
    taps: Float[torch.Tensor, "3 C"],
    added: Float[torch.Tensor, "T C"] | None = None,
) -> Float[torch.Tensor, "p T N C"]:
    """Convolution over time with zero padding, and what is added to each frame."""
    before, same, after = taps
    mixed = tokens * same if added is None else torch.addcmul(added[:, None], tokens, same)
    mixed[:, 1:].addcmul_(tokens[:, :-1], before)
    mixed[:, :-1].addcmul_(tokens[:, 1:], after)
    return mixed


def taps_gradient(
    tokens: Float[torch.Tensor, "p T N C"], gradient: Float[torch.Tensor, "p T N C"]
) -> Float[torch.Tensor, "3 C"]:
    """Gradient of `shift_and_add` for its taps; for its tokens it is `shift_and_add` with reversed taps."""
    if tokens.dtype == torch.float32 and tokens.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return _taps_gradient_in_one_pass(tokens, gradient)
    before = (gradient[:, 1:] * tokens[:, :-1]).flatten(0, 2).sum(dim=0)
    same = (gradient * tokens).flatten(0, 2).sum(dim=0)
    after = (gradient[:, :-1] * tokens[:, 1:]).flatten(0, 2).sum(dim=0)
    return torch.stack([before, same, after])


def _taps_gradient_in_one_pass(
    tokens: Float[torch.Tensor, "p T N C"], gradient: Float[torch.Tensor, "p T N C"]
) -> Float[torch.Tensor, "3 C"]:
    """The same as that of a depthwise convolution over pictures of T rows and N columns, for which oneDNN has
    a kernel: less than half the time of products that are written and read again.
    """
    pictures, seen = (x.permute(0, 3, 1, 2) for x in (gradient, tokens))
    width = tokens.shape[-1]
    taps = conv2d_weight(seen, (width, 1, 3, 1), pictures, padding=(1, 0), groups=width)
    return taps.flatten(1).T


def turned(table: Float[torch.Tensor, "R C"], grid: tuple[int, int]) -> Float[torch.Tensor, "Y X C"]:
    """The table with the displacements of keys from patches, ascending: Y = 2h - 1, X = 2w - 1."""
    return table.flip(0).unflatten(0, (2 * grid[0] - 1, 2 * grid[1] - 1))


def strip_of(
    table: Float[torch.Tensor, "Y X C"], column: int, grid: tuple[int, int]
) -> Float[torch.Tensor, "Y w C"]:
    """View of the part of a turned table that the patches of a column need; the lowest patch takes the first
    h rows, the topmost the last.
    """
    return table[:, grid[1] - 1 - column :][:, : grid[1]]


def add_cross_frame(
    frames: Float[torch.Tensor, "h M N C"],
    maps: Float[torch.Tensor, "h M N P"],
    strip: Float[torch.Tensor, "Y w C"],
) -> None:
    """Add to the frames of a column of patches what their maps make of the strip."""
    own = maps.to(frames.dtype, memory_format=torch.contiguous_format).flatten(1, 2)
    for some, mine, window in zip(frames.flatten(1, 2), own, _windows(strip, len(frames)), strict=True):
        some.addmm_(mine, window)


def strip_gradient(
    gradient: Float[torch.Tensor, "h T N C"],
    maps: Float[torch.Tensor, "h M N P"],
    first: int,
    width: int,
) -> Float[torch.Tensor, "Y w C"]:
    """Gradient of `add_cross_frame` for the strip; of all frames, those with maps being M from `first` on.

    Two patches, one below the other, at a time: their windows share all but a row of keys, and one larger
    product takes less time than two that each read and write the window. Maps of zero for the other frames
    take less, too, than a copy of the gradient without them.
    """
    (height, frames, clips, channels), (_, count, _, keys) = gradient.shape, maps.shape
    lone = height % 2  # the last pair then has one patch, and its window a row of keys that nobody has
    pairs = gradient.new_zeros((height + lone) // 2, 2, frames, clips, keys + width)
    seen = pairs[:, :, first : first + count]
    seen[:, 0, ..., width:] = maps[::2]
    seen[: height // 2, 1, ..., :keys] = maps[1::2]
    strip = gradient.new_zeros((2 * height - 1 + lone) * width, channels)
    for pair, own in enumerate(pairs.flatten(1, 3)):
        some = gradient[2 * pair : 2 * pair + 2].flatten(0, 2)
        start = (height + lone - 2 - 2 * pair) * width
        strip[start : start + keys + width].addmm_(own[: len(some)].T, some)
    return strip[lone * width :].unflatten(0, (-1, width))


def maps_gradient(
    gradient: Float[torch.Tensor, "h M N C"], strip: Float[torch.Tensor, "Y w C"]
) -> Float[torch.Tensor, "h M N P"]:
    """Gradient of `add_cross_frame` for the maps."""
    windows = _windows(strip, len(gradient))
    return torch.stack([some @ window.T for some, window in zip(gradient, windows, strict=True)])


def _windows(strip: Float[torch.Tensor, "Y w C"], height: int) -> list[Float[torch.Tensor, "P C"]]:
    """Views of what each patch needs of its column's strip, the topmost first: a vector for each key."""
    width = strip.shape[1]
    return [*strip.flatten(0, 1).unfold(0, height * width, width).mT][::-1]
