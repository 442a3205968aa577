"""Attention against its definition."""

import pytest
import torch

from backbones.attention import attend


def definition(q, k, v):
    scores = torch.einsum("blhd,bshd->bhls", q, k) * q.shape[-1] ** -0.5
    return torch.einsum("bhls,bshd->blhd", scores.softmax(-1), v)


def test_equals_its_definition():
    q, k, v = torch.randn(2, 5, 3, 8), torch.randn(2, 7, 3, 8), torch.randn(2, 7, 3, 8)
    torch.testing.assert_close(attend(q, k, v), definition(q, k, v))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_equals_its_definition_on_cuda():
    q, k, v = (torch.randn(2, 7, 3, 8, device="cuda") for _ in range(3))
    torch.testing.assert_close(attend(q, k, v), definition(q, k, v), rtol=1e-3, atol=1e-3)
