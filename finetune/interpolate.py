"""Interpolated weights: one step of the regulariser, and the final mixture (Open-VCLIP, arXiv 2302.00624).

With CLIP's weights theta_A and the present ones theta, a step takes the gradient at theta, and adds C times
the one at theta_a = a theta_A + (1-a) theta on the same batch, a drawn anew from U(0, 0.6). The second is
added as it is, without the factor 1-a of the chain rule, so the objective is

    CE(theta) + C / (1-a) CE(a theta_A + (1-a) theta)

with C = 0.5. Points between CLIP and the tuned model are thus kept good, and the model that is used is one of
them: lambda theta_A + (1-lambda) theta, lambda = 0.5 for ViT-B and 0.6 for ViT-L in the published scripts.

For the first pass the parameters are pointed at interpolated tensors, and then back at their own memory,
which nobody has written to: theta is restored bit for bit, gradients add up where they belong, and beside
weights, gradients, optimiser and theta_A there is one more copy of the weights, for one pass. The reference
implementation copies weights and gradients as a whole, twice a step. `torch.func.functional_call` would need
the same memory, but blocks that are computed again in the backward pass would then see theta instead of
theta_a, without a word.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Anchor = Mapping[str, Tensor]
"""theta_A by the names of the model's own tensors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegulariserConfig:
    """The regulariser of a training."""

    low: float = 0.0
    """Least share a of CLIP's weights."""
    high: float = 0.6
    """Greatest share."""
    weight: float = 0.5
    """C, the factor of the loss at the interpolated weights; 0 trains without the regulariser."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ValueError(f"expected shares 0 <= low <= high <= 1, found {self.low} and {self.high}")
        if self.weight < 0:
            raise ValueError(f"weight must be at least 0, found {self.weight}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StepLosses:
    """What a step measured, both without the factor C, on the model's device."""

    interpolated: Tensor | None
    """The loss at theta_a; None where there was no such pass."""
    current: Tensor
    """The loss at theta."""


def draw_share(config: RegulariserConfig, *, seed: int, step: int) -> float:
    """The share a of one step: a function of seed and step, so all processes and a resumed run agree."""
    return random.Random(f"share {seed} {step}").uniform(config.low, config.high)


def anchor_of(model: nn.Module) -> dict[str, Tensor]:
    """A frozen copy of a model's present parameters: theta_A, if taken before training."""
    return {name: values.detach().clone() for name, values in model.named_parameters()}


def regularised_gradients(
    model: nn.Module,
    anchor: Anchor,
    backward: Callable[[float], Tensor],
    *,
    share: float,
    weight: float = 0.5,
) -> StepLosses:
    """Add both passes' gradients to the parameters' own.

    Args:
        model: its parameters are theta. anchor: theta_A, with the same names.
        backward: takes a factor, runs the backward pass of that times the batch's loss under the model's
            present weights (in pieces, or scaled for fp16, as it likes), and returns the loss itself; called
            twice, on the same batch.
        share: a. weight: C; with 0 the first pass is left out, and no anchor is needed.

    Raises:
        ValueError: the anchor is another model's.
    """
    interpolated = None
    if weight:
        with interpolated_weights(model, anchor, share=share):
            interpolated = backward(weight)
    return StepLosses(interpolated=interpolated, current=backward(1.0))


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scale all gradients to a total L2 norm of at most `max_norm`; the norm before. Call it on the sum of
    both passes, unscaled.
    """
    return nn.utils.clip_grad_norm_(parameters, max_norm)


@contextmanager
def interpolated_weights(model: nn.Module, anchor: Anchor, *, share: float) -> Iterator[None]:
    """Inside, the model's parameters are share * anchor + (1 - share) * theta; theta again after, bit for
    bit.

    A backward pass belongs inside, too. Raises ValueError where the anchor is another model's.
    """
    parameters = dict(model.named_parameters())
    _check(anchor, parameters)
    own = {name: parameter.data for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.data = torch.lerp(own[name], anchor[name].to(own[name]), share)
        torch.clear_autocast_cache()
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.data = own[name]
        torch.clear_autocast_cache()


def mixed(clip: Mapping[str, Tensor], tuned: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The final weights, fp32: share * clip + (1 - share) * tuned, tensor by tensor; what CLIP does not have
    is taken from the tuned ones as it is.

    Raises ValueError where a tensor of CLIP's is missing or of another shape in `tuned`.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share of CLIP's weights from 0 to 1, found {share}")
    _check(clip, {name: tuned[name] for name in clip if name in tuned})
    return {
        name: _mixed(clip[name], values, share) if name in clip else values for name, values in tuned.items()
    }


@torch.no_grad()
def mix_into(model: nn.Module, clip: Mapping[str, Tensor], tuned: Mapping[str, Tensor], share: float) -> None:
    """Put the final weights into a model, tensor by tensor, cast to its dtypes; no second copy of them all is
    made. All three have the same names and shapes, which is not checked.
    """
    for name, values in model.state_dict().items():
        values.copy_(_mixed(clip[name], tuned[name], share))


def _mixed(clip: Tensor, tuned: Tensor, share: float) -> Tensor:
    if not tuned.is_floating_point():
        return tuned
    return torch.lerp(tuned.float(), clip.to(tuned.device).float(), share)


def _check(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    odd = sorted(expected.keys() ^ found.keys())
    odd = odd or [name for name, values in expected.items() if values.shape != found[name].shape]
    if odd:
        raise ValueError(
            f"expected the tensors of the same model, found {len(odd)} that are missing or of another shape "
            f"in one of them, such as {odd[0]}; give the CLIP that training began from"
        )
