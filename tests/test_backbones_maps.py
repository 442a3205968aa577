"""Cross-frame maps against loops in numpy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backbones.maps import cross_frame_maps

GOLDEN = Path(__file__).parent / "golden" / "evl_tiny_full.npz"


def looped(q, k, t, other):
    """One clip's map from frame t to frame `other`: q, k (T, L, H, D) in float64."""
    heads, width = q.shape[2:]
    total = 0.0
    for head in range(heads):
        scores = q[t, 1:, head] @ k[other, 1:, head].T / np.sqrt(width)
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        total = total + exponentials / exponentials.sum(axis=1, keepdims=True)
    return total / heads


def compare(q, k, atol):
    previous, following = cross_frame_maps(q, k)
    assert previous.dtype == following.dtype == torch.float32
    q, k = q.double().numpy(), k.double().numpy()
    for clip in range(len(q)):
        for t in range(q.shape[1] - 1):
            back, forth = looped(q[clip], k[clip], t + 1, t), looped(q[clip], k[clip], t, t + 1)
            np.testing.assert_allclose(previous[clip, t], back, rtol=0, atol=atol)
            np.testing.assert_allclose(following[clip, t], forth, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_equals_the_loops(dtype):
    generator = torch.Generator().manual_seed(0)
    q, k = (3 * torch.randn(2, 3, 7, 4, 8, generator=generator).to(dtype) for _ in range(2))
    compare(q, k, 1e-6)


def test_equals_the_loops_on_the_reference_taps():
    golden = np.load(GOLDEN)
    for layer in range(json.loads(golden["meta_json"].tobytes())["dec"]):
        compare(*(torch.from_numpy(golden[f"dec_in/{layer}/{kind}"]) for kind in "qk"), 1e-6)


def test_gives_the_reference_cross_frame_branch():
    """A map times the table of relative displacements is what the published code added to the tokens."""
    golden = np.load(GOLDEN)
    index = torch.from_numpy(golden["idx_tensor"])
    for layer in range(json.loads(golden["meta_json"].tobytes())["dec"]):
        q, k = (torch.from_numpy(golden[f"dec_in/{layer}/{kind}"]) for kind in "qk")
        backward, forward = (
            torch.from_numpy(golden[f"sd/decoder.cross_attention.{layer}.w{side}"])[index] for side in (1, 2)
        )
        previous, following = cross_frame_maps(q, k)
        expected = torch.from_numpy(golden[f"trace/cross_out/{layer}"])
        found = torch.zeros_like(expected)
        found[:, 1:, 1:] += torch.einsum("ntab,abc->ntac", previous, backward)
        found[:, :-1, 1:] += torch.einsum("ntab,abc->ntac", following, forward)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_one_frame_has_no_neighbours():
    previous, following = cross_frame_maps(torch.randn(2, 1, 5, 3, 4), torch.randn(2, 1, 5, 3, 4))
    assert previous.shape == following.shape == (2, 0, 4, 4)


def test_rows_sum_to_one_and_inputs_are_left_alone():
    q, k = torch.randn(1, 3, 5, 2, 4), torch.randn(1, 3, 5, 2, 4)
    copies = q.clone(), k.clone()
    for maps in cross_frame_maps(q, k):
        torch.testing.assert_close(maps.sum(-1), torch.ones(1, 2, 4))
    assert torch.equal(q, copies[0])
    assert torch.equal(k, copies[1])


def test_gradients_reach_queries_and_keys():
    q, k = (torch.randn(1, 2, 4, 2, 3, requires_grad=True) for _ in range(2))
    previous, following = cross_frame_maps(q, k)
    (previous.square().sum() + following.square().sum()).backward()
    for tokens in (q, k):
        assert tokens.grad is not None
        assert tokens.grad[:, :, 1:].abs().sum() > 0
        assert tokens.grad[:, :, 0].abs().sum() == 0
