"""Tokens averaged to fewer: layouts, means by hand."""

import pytest
import torch

from decoders.omnivl.finding.coarse import Layout, coarsened, coarser


@pytest.mark.parametrize(
    ("frames", "grid", "most", "found"),
    [
        (8, (14, 14), 64, (8, (2, 3))),
        (1, (14, 14), 64, (1, (7, 8))),
        (1, (7, 7), 64, (1, (7, 7))),
        (32, (7, 7), 64, (32, (1, 1))),
        (48, (7, 7), 64, (32, (1, 1))),
        (3, (2, 3), 2, (1, (1, 1))),
    ],
)
def test_the_finest_layout_that_fits(frames, grid, most, found):
    layout = coarser(Layout(frames=frames, grid=grid), most)
    assert (layout.frames, layout.grid) == found
    assert layout.tokens <= most


def test_no_patch_is_refused():
    with pytest.raises(ValueError, match="2 tokens at least"):
        coarser(Layout(frames=2, grid=(2, 2)), 1)


def test_means_by_hand():
    layout = Layout(frames=2, grid=(2, 2))
    tokens = torch.tensor([[[9.0], [1], [2], [3], [4], [7], [10], [20], [30], [40]]])
    squares = coarsened(tokens, layout, Layout(frames=2, grid=(2, 1)))
    assert squares.flatten().tolist() == [9, 1.5, 3.5, 7, 15, 35]
    frames = coarsened(tokens, layout, Layout(frames=1, grid=(2, 2)))
    assert frames.flatten().tolist() == [8, 5.5, 11, 16.5, 22]


def test_what_fits_is_not_touched():
    layout = Layout(frames=2, grid=(2, 2))
    tokens = torch.randn(3, layout.tokens, 4, generator=torch.Generator().manual_seed(0))
    assert coarser(layout, 10) is layout
    assert coarsened(tokens, layout, layout) is tokens
