"""The optimiser and its learning rate: AdamW and a cosine that is a pure function of the step.

EVL's published runs decay every tensor, biases, norms and position tables included, at a constant base rate
with a per-step cosine to zero and no warm-up. That is the default here; `decay_vectors=False` leaves tensors
of at most one dimension undecayed, as most ViT recipes do. The rate has no state of its own: a resumed run
computes it from the step number, so there is nothing to save and nothing that can drift.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    lr: float = 4e-4
    """Base learning rate, the peak of the schedule."""
    weight_decay: float = 0.05
    """AdamW's decoupled decay."""
    decay_vectors: bool = True
    """Decay tensors of at most one dimension (biases, norms, the class token) too, as EVL does."""
    beta1: float = 0.9
    """AdamW's decay rate of the first moment."""
    beta2: float = 0.999
    """AdamW's decay rate of the second moment."""
    warmup_steps: int = 0
    """Steps of linear warm-up from lr / warmup_steps; 0 starts at the full rate."""
    floor: float = 0.0
    """Share of lr that is left at the end of the cosine, and that warm-up begins above."""

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, found {self.lr}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0, found {self.weight_decay}")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise ValueError(f"betas must lie in [0, 1), found {self.beta1} and {self.beta2}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must lie in [0, 1], found {self.floor}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must be at least 0, found {self.warmup_steps}")


def make_adamw(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that need a gradient; one group, or two where vectors are not decayed."""
    trainable = [p for p in parameters if p.requires_grad]
    if config.decay_vectors:
        groups = [{"params": trainable}]
    else:
        groups = [
            {"params": [p for p in trainable if p.ndim > 1]},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ]
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(groups, lr=config.lr, betas=betas, weight_decay=config.weight_decay, fused=True)


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """Rate of 0-based `step` of a run of `steps`: linear warm-up, then a cosine that would reach the floor at
    `steps`.
    """
    if step < config.warmup_steps:
        share = (step + 1) / config.warmup_steps
    else:
        progress = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
        share = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return config.lr * (config.floor + (1.0 - config.floor) * share)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the same rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
