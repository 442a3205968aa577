"""Attention over neighbouring frames: Open-VCLIP's temporal view of CLIP, without a new parameter.

The queries of frame t meet the keys of frames t-w to t+w, all tokens of them, in one softmax (arXiv
2302.00624 has w = 1); keys and values are projected once a frame. After 12 blocks a frame has seen 12 w
frames each way.

Beyond a clip's ends, `zeros` has keys and values of zero: they add exp(0) each to the denominator and nothing
to the numerator, so the ends are damped. Released weights were trained so. `masked` leaves them out: a clip
of one picture repeated then is plain CLIP. The two are different functions (of a random
tower's border frames by up to half their deviation), so the choice is kept with the weights.

Frames go one by one: a frame's neighbours lie side by side in memory, so their (2w+1) L keys are a view of
it, which a kernel reads as it is, and only clips' ends are padded. Copying them for all frames at once, the
usual form, keeps 2w+1 copies of keys and values for the backward pass. Either way attention is 2w+1 times as
much work as plain CLIP's; the rest of a block, most of it, is the same.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backbones.attention import attend
from backbones.config import TemporalView


def attend_over_time(
    q: Float[Tensor, "B L H D"],
    k: Float[Tensor, "B L H D"],
    v: Float[Tensor, "B L H D"],
    *,
    frames: int,
    view: TemporalView,
) -> Float[Tensor, "B L H D"]:
    """Every frame's tokens attend to those of the frames within the window; the frames of a clip, `frames` of
    them, lie side by side in B.
    """
    q, k, v = (rearrange(values, "(n t) l h d -> n t l h d", t=frames) for values in (q, k, v))
    seen = [attend(q[:, t], _around(k, t, view), _around(v, t, view)) for t in range(frames)]
    return rearrange(torch.stack(seen, dim=1), "n t l h d -> (n t) l h d")


def _around(values: Float[Tensor, "N T L H D"], t: int, view: TemporalView) -> Float[Tensor, "N S H D"]:
    """Keys or values that frame t sees: a view of them, but for the ends of a clip with `zeros`."""
    first, last = max(0, t - view.window), min(values.shape[1], t + view.window + 1)
    found = values[:, first:last].flatten(1, 2)
    absent = 2 * view.window + 1 - (last - first)
    if view.boundary == "masked" or not absent:
        return found
    return F.pad(found, (0, 0, 0, 0, 0, absent * values.shape[2]))
