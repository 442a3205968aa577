"""AdamW's groups and the schedule."""

import math

import pytest
import torch
from torch import nn

from training.optim import OptimConfig, learning_rate, make_adamw, set_learning_rate


def test_cosine_without_warmup_starts_full_and_ends_near_zero():
    config = OptimConfig(lr=4e-4)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[0] == 4e-4
    assert rates[50] == pytest.approx(2e-4)
    assert rates[25] == pytest.approx(4e-4 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 1e-6


def test_warmup_is_linear_and_the_cosine_takes_the_rest():
    config = OptimConfig(lr=1.0, warmup_steps=4)
    assert [learning_rate(step, 10, config) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert learning_rate(7, 10, config) == pytest.approx(0.5)


def test_decay_reaches_every_tensor_or_spares_vectors():
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    before = [p.detach().clone() for p in model.parameters()]
    for decay_vectors in (True, False):
        for p, value in zip(model.parameters(), before, strict=True):
            p.data.copy_(value)
            p.grad = torch.zeros_like(p)
        config = OptimConfig(lr=0.1, weight_decay=0.5, decay_vectors=decay_vectors)
        make_adamw(model.parameters(), config).step()
        for p, value in zip(model.parameters(), before, strict=True):
            expected = value * (1 - 0.1 * 0.5) if decay_vectors or p.ndim > 1 else value
            torch.testing.assert_close(p.detach(), expected)


def test_frozen_parameters_are_left_out_and_the_rate_reaches_all_groups():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    optimizer = make_adamw(model.parameters(), OptimConfig(decay_vectors=False))
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 0]
    set_learning_rate(optimizer, 0.25)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"weight_decay": -1.0}, {"beta2": 1.0}, {"warmup_steps": -1}])
def test_refuses_settings_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)).rstrip("2")):
        OptimConfig(**wrong)
