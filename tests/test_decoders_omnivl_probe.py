"""Straight cuts through embeddings."""

import pytest
import torch
from torch.nn import functional as F

from decoders.omnivl.probe import Examples, ProbeConfig, fit_probe, linear_probe


def drawn(count, *, spread, seed, classes=3, width=6):
    """Unit vectors around one corner a class."""
    stream = torch.Generator().manual_seed(seed)
    numbers = torch.arange(count) % classes
    noise = spread * torch.randn(count, width, generator=stream)
    return Examples(F.normalize(torch.eye(width)[numbers] + noise, dim=1), numbers)


def test_nothing_is_left_to_gain():
    examples = drawn(60, spread=0.5, seed=0)
    double = Examples(examples.embeddings.double(), examples.classes)
    probe = fit_probe(double, 3, 1e-2)
    chances = probe.logits(double.embeddings).softmax(dim=1)
    excess = (chances - F.one_hot(double.classes, 3)) / 60
    # at the optimum the gradients of fit and penalty cancel, that of the bias is zero
    torch.testing.assert_close(excess.T @ double.embeddings, -1e-2 * probe.weight, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(excess.sum(dim=0), torch.zeros(3).double(), atol=1e-6, rtol=0.0)


def test_two_points_on_paper():
    # logits at +1 and -1 are +-w for classes of weights w and -w: loss log(1 + e^-2w) + penalty w^2, whose
    # minimum is where 2 / (1 + e^2w) = 2 penalty w; w = 1 for a penalty of 1 / (1 + e^2)
    points = Examples(torch.tensor([[1.0], [-1.0]]).double(), torch.tensor([0, 1]))
    probe = fit_probe(points, 2, float(1 / (1 + torch.tensor(2.0).double().exp())))
    torch.testing.assert_close(probe.weight, torch.tensor([[1.0], [-1.0]]).double(), atol=1e-5, rtol=0.0)


def test_classes_that_lie_apart_are_told_apart():
    train, validation, test = (drawn(60, spread=0.1, seed=seed) for seed in range(3))
    found = linear_probe(train, validation, test, ProbeConfig())
    assert found.accuracy == 1.0
    assert len(found.validation) == 9
    assert found.penalty == max(
        penalty
        for penalty, score in zip(ProbeConfig().penalties, found.validation, strict=True)
        if score == 1.0
    )


def test_the_penalty_is_picked_on_validation_data():
    train, validation = drawn(30, spread=2.0, seed=0), drawn(300, spread=2.0, seed=1)
    test = drawn(300, spread=2.0, seed=2)
    config = ProbeConfig(penalties=(1e-6, 1e-2, 1e-1))
    found = linear_probe(train, validation, test, config)
    scores = [fit_probe(train, 3, penalty).accuracy(validation) for penalty in config.penalties]
    assert list(found.validation) == scores
    assert scores[config.penalties.index(found.penalty)] == max(scores)
    both = Examples(*(torch.cat(pair) for pair in zip(train, validation, strict=True)))
    assert torch.equal(found.probe.weight, fit_probe(both, 3, found.penalty).weight)
    assert found.accuracy == found.probe.accuracy(test)


def test_half_precision_is_fitted_in_single():
    train = drawn(30, spread=0.1, seed=0)
    probe = fit_probe(Examples(train.embeddings.half(), train.classes), 3, 1e-3)
    assert probe.weight.dtype == torch.float32
    assert probe.accuracy(Examples(train.embeddings.half(), train.classes)) == 1.0


@torch.no_grad()
def test_it_learns_where_gradients_are_off():
    assert fit_probe(drawn(30, spread=0.1, seed=0), 3, 1e-3).weight.abs().sum() > 0


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="penalties from 0"):
        ProbeConfig(penalties=())
    nothing = Examples(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match="examples to fit"):
        fit_probe(nothing, 2, 0.1)
