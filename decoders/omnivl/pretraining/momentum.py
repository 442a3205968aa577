"""A module's slow twin: a moving average of what it learns, which embeds for the queue.

Only what is trained is copied; a frozen part is the module's own, so a twin of a light head on a frozen tower
is light. torch's AveragedModel would copy all of it.
"""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MomentumCopy(nn.Module):
    """The twin, equal to `module` to begin with.

    Attributes:
        module: to be called; it gives no gradients.
    """

    def __init__(self, module: nn.Module, momentum: float) -> None:
        super().__init__()
        frozen = {id(one): one for one in module.parameters() if not one.requires_grad}
        self.module = copy.deepcopy(module, frozen).requires_grad_(False)
        self._original = (module,)  # in a tuple, or torch would take it for a part of its twin
        self._average = get_ema_multi_avg_fn(momentum)

    @torch.no_grad()
    def update(self) -> None:
        """Each learned parameter becomes momentum times itself and (1 - momentum) times the module's; buffers
        are the module's of now.
        """
        (module,) = self._original
        pairs = zip(self.module.parameters(), module.parameters(), strict=True)
        if learned := [(ours, theirs) for ours, theirs in pairs if ours is not theirs]:
            averages, values = zip(*learned, strict=True)
            self._average(averages, values, None)
        for ours, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            ours.copy_(theirs)
