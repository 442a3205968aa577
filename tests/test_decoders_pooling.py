"""The hand-written pooling: its derivative in every input, and that pieces don't matter."""

import pytest
import torch

from decoders import pooling
from decoders.pooling import TokenParts, pool_tokens

N, T, H, C, GRID = 2, 3, 2, 4, (2, 3)
P = GRID[0] * GRID[1]


def case(generator, *, frames=T, modules=("taps", "added", "tables")):
    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    rows = (2 * GRID[0] - 1) * (2 * GRID[1] - 1)
    cross = "tables" in modules
    parts = TokenParts(
        out=draw(N, frames, P + 1, C),
        maps=(draw(N, frames - 1, P, P), draw(N, frames - 1, P, P)) if cross else None,
        grid=GRID,
        taps=draw(3, C) if "taps" in modules else None,
        added=draw(frames, C) if "added" in modules else None,
        tables=(draw(rows, C), draw(rows, C)) if cross else None,
    )
    return draw(N, H, C), parts


def flat(folded, parts):
    return [folded, parts.out, parts.taps, parts.added, *(parts.maps or ()), *(parts.tables or ())]


@pytest.mark.parametrize(
    "modules", [(), ("taps",), ("added",), ("taps", "added"), ("taps", "added", "tables")]
)
@pytest.mark.parametrize("frames", [1, 2])
def test_gradcheck_in_every_input(modules, frames, monkeypatch):
    modules = [name for name in modules if name != "tables" or frames > 1]
    monkeypatch.setattr(pooling, "PIECE_BYTES", 1)
    folded, parts = case(torch.Generator().manual_seed(0), frames=frames, modules=modules)
    inputs = [x for x in flat(folded, parts) if x is not None]

    def run(*_):
        return pool_tokens(folded, parts)

    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


def test_frozen_inputs_get_no_gradient():
    folded, parts = case(torch.Generator().manual_seed(0))
    parts.out.requires_grad_(False)
    for maps in parts.maps:
        maps.requires_grad_(False)
    pool_tokens(folded, parts).sum().backward()
    assert parts.out.grad is None
    assert all(maps.grad is None for maps in parts.maps)
    assert all(table.grad is not None for table in parts.tables)


def test_pieces_change_nothing(monkeypatch):
    found = []
    for size in (1, 2**20):
        monkeypatch.setattr(pooling, "PIECE_BYTES", size)
        folded, parts = case(torch.Generator().manual_seed(1))
        pooled = pool_tokens(folded, parts)
        pooled.square().sum().backward()
        found.append([pooled, *(x.grad for x in flat(folded, parts))])
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right)


def test_half_features_under_autocast_are_computed_in_fp32_and_kept_as_they_came():
    folded, parts = case(torch.Generator().manual_seed(2), modules=())
    folded, kept = folded.detach().float().requires_grad_(), []
    half = TokenParts(
        out=parts.out.detach().bfloat16(), maps=None, grid=GRID, taps=None, added=None, tables=None
    )
    keep = torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x)
    with torch.autocast("cpu", dtype=torch.bfloat16), keep:
        found = pool_tokens(folded, half)
    whole = TokenParts(out=half.out.float(), maps=None, grid=GRID, taps=None, added=None, tables=None)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, pool_tokens(folded, whole))
    assert sum(x.numel() for x in kept if x.dtype == torch.bfloat16) == 2 * half.out.numel()
