"""Stochastic weight averaging: the mean of a training's weights, taken as it goes or from its checkpoints.

Open-VCLIP (arXiv 2302.00624) averages the weights after each epoch but the first, 2 to 22, with equal shares,
and mixes that mean with CLIP in the end. Both ways here are the same sum, mean + (theta - mean) / n in fp32,
so a mean kept during training equals that of the checkpoints bit for bit.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.checkpoint import read_checkpoint


class RunningAverage:
    """The mean of weights seen so far, restorable from a checkpoint.

    Attributes:
        count: how many were seen.
        mean: their mean, fp32, on the device of the first; empty before it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, tensors: Mapping[str, Tensor]) -> None:
        """Take in one more set of weights. Raises ValueError where names or shapes are others than before."""
        if self.count and _shapes(tensors) != _shapes(self.mean):
            odd = sorted(_shapes(tensors).items() ^ _shapes(self.mean).items())
            raise ValueError(
                f"expected the weights of one model, found {odd[0][0]} in some only, or reshaped"
            )
        self.count += 1
        for name, values in tensors.items():
            values = values.detach().float()
            mean = self.mean.get(name)
            self.mean[name] = (
                values.clone() if mean is None else mean.lerp_(values.to(mean.device), 1 / self.count)
            )

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers for a checkpoint; `load_state_dict` goes on from them, to the bit."""
        return {"count": self.count, "mean": dict(self.mean)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; later sums do not touch it."""
        self.count = int(state["count"])
        self.mean = {name: values.clone() for name, values in state["mean"].items()}


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of weight files of any kind that `read_checkpoint` reads, one in memory at a time.

    Raises:
        BackboneError: a file is missing, damaged or no weight file.
        ValueError: no file, or files of different models.
    """
    if not paths:
        raise ValueError("expected checkpoints to average, found none; name at least one")
    average = RunningAverage()
    for path in paths:
        try:
            average.add(read_checkpoint(path).tensors)
        except ValueError as error:
            if str(path) in str(error):
                raise
            raise ValueError(f"{path}: {error}") from error
    return average.mean


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(values.shape) for name, values in tensors.items()}
