"""A linear probe: how well a straight cut through frozen embeddings tells classes apart.

Logistic regression on all examples at once, by L-BFGS, as CLIP's protocol has it: with a penalty on squared
weights that is picked on validation data, then fitted anew on training and validation data together, and
tested once. The problem is convex and begins at zero, so nothing is drawn and no rate is chosen. The penalty
counts against the mean over examples; scikit-learn's C is 1 / (examples * penalty).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """How a probe is fitted."""

    penalties: tuple[float, ...] = tuple(10.0**power for power in range(-8, 1))
    """Weights of half the squared norm that are tried, against the mean cross-entropy."""
    iterations: int = 1000
    """Most steps of L-BFGS; it ends earlier where nothing is gained."""

    def __post_init__(self) -> None:
        if not self.penalties or min(self.penalties) < 0 or self.iterations < 1:
            raise ValueError(f"expected penalties from 0, and iterations from 1, found {self}")


class Examples(NamedTuple):
    """Embeddings of images or clips, with their classes."""

    embeddings: Float[Tensor, "N E"]
    classes: Int[Tensor, " N"]


class Probe(NamedTuple):
    """A linear layer."""

    weight: Float[Tensor, "K E"]
    bias: Float[Tensor, " K"]

    def logits(self, embeddings: Float[Tensor, "N E"]) -> Float[Tensor, "N K"]:
        """Scores of classes."""
        return F.linear(embeddings.to(self.weight.dtype), self.weight, self.bias)

    def accuracy(self, examples: Examples) -> float:
        """Share of examples whose own class scores highest."""
        right = self.logits(examples.embeddings).argmax(dim=1) == examples.classes
        return right.double().mean().item()


class Probed(NamedTuple):
    """What a probe came to."""

    accuracy: float
    """On the test examples."""
    penalty: float
    """The one that was picked."""
    validation: tuple[float, ...]
    """Accuracies on the validation examples, one a penalty."""
    probe: Probe


def linear_probe(train: Examples, validation: Examples, test: Examples, config: ProbeConfig) -> Probed:
    """Pick a penalty, fit, test. Of penalties that are as good the largest is picked. Classes are numbers
    from 0.
    """
    classes = 1 + int(max(one.classes.max() for one in (train, validation, test)))
    penalties = sorted(config.penalties, reverse=True)
    found = {
        penalty: fit_probe(train, classes, penalty, iterations=config.iterations).accuracy(validation)
        for penalty in penalties
    }
    best = max(penalties, key=found.__getitem__)
    both = Examples(*(torch.cat(pair) for pair in zip(train, validation, strict=True)))
    probe = fit_probe(both, classes, best, iterations=config.iterations)
    scores = tuple(found[penalty] for penalty in config.penalties)
    return Probed(accuracy=probe.accuracy(test), penalty=best, validation=scores, probe=probe)


def fit_probe(examples: Examples, classes: int, penalty: float, *, iterations: int = 1000) -> Probe:
    """The layer of least mean cross-entropy and penalty; the bias costs nothing. In fp32 at least."""
    if not len(examples.classes):
        raise ValueError("expected examples to fit a probe to, found none")
    embeddings = examples.embeddings.detach()
    embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
    weight = embeddings.new_zeros(classes, embeddings.shape[1], requires_grad=True)
    bias = embeddings.new_zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        fit = F.cross_entropy(F.linear(embeddings, weight, bias), examples.classes)
        whole = fit + penalty / 2 * weight.square().sum()
        whole.backward()
        return whole

    with torch.enable_grad():
        optimiser.step(loss)
    return Probe(weight.detach(), bias.detach())
