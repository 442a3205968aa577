"""The hand-written pooling: its derivative in every input, that pieces don't matter, and that unseen tokens
don't either.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.textbook_evl import textbook_cross
from decoders import tokens as pieces
from decoders.pooling import pool_tokens
from decoders.tokens import TokenParts

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
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1)
    folded, parts = case(torch.Generator().manual_seed(0), frames=frames, modules=modules)
    inputs = [x for x in flat(folded, parts) if x is not None]

    def run(*_):
        return pool_tokens(folded, parts)

    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


def drawn_seen(generator, *shape, share=0.4):
    """Some tokens of every clip; of the first clip only the last, so that whole pieces are unseen."""
    seen = torch.rand(*shape, generator=generator) < share
    seen[0] = False
    seen[:, -1, -1] = True
    return seen


@pytest.mark.parametrize("modules", [(), ("taps", "added"), ("taps", "added", "tables")])
def test_gradcheck_where_some_tokens_are_unseen(modules, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1)
    generator = torch.Generator().manual_seed(0)
    folded, parts = case(generator, modules=modules)
    parts = replace(parts, seen=drawn_seen(generator, N, T, P + 1))
    inputs = [x for x in flat(folded, parts) if x is not None]

    def run(*_):
        return pool_tokens(folded, parts)

    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


def plainly_pooled(folded, parts):
    """The same as it reads: every token built, normalised and scored, and unseen ones taken out."""
    tokens, (n, t, length, c) = parts.out, parts.out.shape
    if parts.taps is not None:
        series = tokens.permute(0, 2, 3, 1).reshape(n * length, c, t)
        mixed = F.conv1d(series, parts.taps.T[:, None], padding=1, groups=c)
        tokens = mixed.reshape(n, length, c, t).permute(0, 3, 1, 2)
    if parts.added is not None:
        tokens = tokens + parts.added[:, None]
    if parts.tables is not None:
        names = (f"decoder.cross_attention.0.{name}" for name in ("w1", "w2"))
        state = dict(zip(names, parts.tables, strict=True))
        tokens = tokens + textbook_cross(state, 0, *parts.maps, parts.grid)
    y = F.layer_norm(tokens, (c,)).flatten(1, 2)
    scores = torch.einsum("nhc,nsc->nhs", folded, y)
    if parts.seen is not None:
        scores = scores.masked_fill(~parts.seen.flatten(1)[:, None], -torch.inf)
    return torch.einsum("nhs,nsc->nhc", scores.softmax(dim=-1), y)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.data())
def test_unseen_tokens_are_as_if_they_were_not_there(data):
    n, t, heads, h, w = (data.draw(st.integers(*ends)) for ends in ((1, 4), (2, 4), (1, 3), (1, 4), (1, 4)))
    width, cross, masked = (
        4 * data.draw(st.integers(1, 5)),
        data.draw(st.booleans()),
        data.draw(st.booleans()),
    )
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    rows, p = (2 * h - 1) * (2 * w - 1), h * w

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    def parts_of(out, prev, after, taps, added, w1, w2):
        maps, tables = ((prev, after), (w1, w2)) if cross else (None, None)
        return TokenParts(out=out, maps=maps, grid=(h, w), taps=taps, added=added, tables=tables, seen=seen)

    seen = drawn_seen(generator, n, t, p + 1) if masked else None
    shapes = ((n, t, p + 1, width), (n, t - 1, p, p), (n, t - 1, p, p), (3, width), (t, width))
    inputs = [draw(*shape) for shape in (*shapes, (rows, width), (rows, width))]
    inputs[1:3] = [maps.softmax(dim=-1) for maps in inputs[1:3]]
    folded, weight = draw(n, heads, width) / width**0.5, draw(n, heads, width)
    found = []
    for form in (pool_tokens, plainly_pooled):
        leaves = [x.clone().requires_grad_() for x in (folded, *inputs)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pieces, "PIECE_BYTES", data.draw(st.sampled_from((1, 2**9, 2**20))))
            pooled = form(leaves[0], parts_of(*leaves[1:]))
            (pooled * weight).sum().backward()
        found.append([pooled, *(x.grad for x in leaves)])
    for left, right in zip(*found, strict=True):
        assert (left is None) == (right is None)
        if left is not None:
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)


def test_a_mask_that_hides_nothing_changes_nothing():
    folded, parts = case(torch.Generator().manual_seed(3))
    everything = replace(parts, seen=torch.ones(N, T, P + 1, dtype=torch.bool))
    assert torch.equal(pool_tokens(folded, parts), pool_tokens(folded, everything))


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
        monkeypatch.setattr(pieces, "PIECE_BYTES", size)
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
