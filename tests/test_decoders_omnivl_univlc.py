"""UniVLC against InfoNCE, against numbers by hand, and against its gradient on paper."""

from math import log

import pytest
import torch
from torch.nn import functional as F

from decoders.omnivl.pretraining.univlc import EMPTY, floor, univlc

THIRD = {
    "query": torch.tensor([[log(2), 0, 0], [0, log(6), 0], [0, 0, log(2)]]),
    "keys": torch.eye(3),
    "query_ids": torch.tensor([7, 7, 9]),
    "key_ids": torch.tensor([7, 7, 9]),
    "temperature": 1.0,
}
"""Logits are the queries: probabilities are (2 1 1)/4, (1 6 1)/8, (1 1 2)/4. The first two share an id."""


def drawn(count, width=6, seed=0):
    stream = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, width, generator=stream), dim=-1)


@pytest.mark.parametrize("positives", ["mean", "sum"])
def test_distinct_ids_are_infonce(positives):
    query, keys, ids = drawn(4), drawn(9, seed=1), torch.arange(9)
    found = univlc(query, keys, ids[:4], ids, temperature=0.07, positives=positives)
    logits = query @ keys.T / 0.07
    infonce = logits.exp().sum(dim=1).log() - logits.diagonal()
    torch.testing.assert_close(found, infonce, atol=1e-6, rtol=1e-6)
    expected = F.cross_entropy(logits, torch.arange(4), reduction="none")
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_three_by_three_by_hand():
    # row 1: keys 1 and 2 of probability 1/2 and 1/4: log 2 + log 4 = 3 log 2
    # row 2: keys 1 and 2 of probability 1/8 and 3/4: log 8 + log 4/3 = log 32/3
    # row 3: key 3 of probability 1/2: log 2
    summed = torch.tensor([3 * log(2), log(32 / 3), log(2)])
    torch.testing.assert_close(univlc(**THIRD, positives="sum"), summed)
    torch.testing.assert_close(univlc(**THIRD, positives="mean"), summed / torch.tensor([2, 2, 1]))


@pytest.mark.parametrize("positives", ["mean", "sum"])
def test_the_gradient_of_a_logit_is_its_probability_less_its_share(positives):
    query = THIRD["query"].clone().requires_grad_()  # keys are the unit vectors: these are the logits
    univlc(**(THIRD | {"query": query}), positives=positives).sum().backward()
    chances = torch.tensor([[2, 1, 1], [1, 6, 1], [1, 1, 2]]) / torch.tensor([[4], [8], [4]])
    own = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    count = own.sum(dim=1, keepdim=True)
    expected = chances - own / count
    torch.testing.assert_close(query.grad, expected if positives == "mean" else expected * count)


@pytest.mark.parametrize("positives", ["mean", "sum"])
def test_the_floor_is_reached_when_the_positives_share_all(positives):
    query, ids = torch.tensor([[50.0, 50.0, 0.0]]), torch.tensor([7, 7, 9])
    found = univlc(query, torch.eye(3), ids[:1], ids, temperature=1.0, positives=positives)
    least = floor(ids[:1], ids, positives=positives)
    torch.testing.assert_close(found, least)
    torch.testing.assert_close(least, torch.tensor([log(2) if positives == "mean" else 2 * log(2)]))
    torch.testing.assert_close(floor(ids, ids), torch.tensor([log(2), log(2), 0.0]))


def test_keys_that_are_not_there_are_neither_positive_nor_negative():
    query, keys = drawn(3).requires_grad_(), drawn(5, seed=1).requires_grad_()
    ids, key_ids = torch.tensor([0, 1, EMPTY]), torch.tensor([0, 1, EMPTY, EMPTY, 2])
    found = univlc(query, keys, ids, key_ids, temperature=0.1, positives="mean")
    without = univlc(query, keys[[0, 1, 4]], ids, key_ids[[0, 1, 4]], temperature=0.1, positives="mean")
    torch.testing.assert_close(found, without)
    assert found[2] == 0
    assert floor(ids, key_ids).tolist() == [0, 0, 0]
    found.sum().backward()
    assert keys.grad[2:4].abs().sum() == 0
    assert query.grad.isfinite().all()
