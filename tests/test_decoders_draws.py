"""Random numbers of a step: the same however its batch is cut, others for all that is to be other."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from decoders.config import DecoderConfig
from decoders.draws import Draws, dropout, seeded
from decoders.evl import BlockFeatures, EVLDecoder, TokenShape

WHOLE = Draws(seed=3, step=5, rows=slice(0, 8), total=8, device=torch.device("cpu"))
LARGE = replace(WHOLE, rows=slice(0, 1000), total=1000)


def cut(pieces):
    size = WHOLE.total // pieces
    return [replace(WHOLE, rows=slice(i * size, (i + 1) * size)) for i in range(pieces)]


@pytest.mark.parametrize("pieces", [1, 2, 4, 8])
def test_pieces_draw_the_rows_of_the_whole(pieces):
    for shape in [(), (5,), (2, 3)]:
        found = torch.cat([piece.uniform("some", *shape) for piece in cut(pieces)])
        assert torch.equal(found, WHOLE.uniform("some", *shape))
        assert found.shape == (8, *shape)


def test_each_stream_is_its_own_and_always_the_same():
    drawn = WHOLE.uniform("some", 5)
    assert torch.equal(drawn, WHOLE.uniform("some", 5))
    others = [WHOLE.uniform("other", 5)]
    others += [replace(WHOLE, **{name: 4}).uniform("some", 5) for name in ("seed", "step")]
    swapped = replace(WHOLE, seed=WHOLE.step, step=WHOLE.seed)
    for other in [*others, swapped.uniform("some", 5)]:
        assert not (other == drawn).any()
    assert drawn.unique().numel() == drawn.numel()


def test_uniform():
    drawn = LARGE.uniform("some", 40).flatten()
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert (torch.histc(drawn, 10, 0, 1) / len(drawn) - 0.1).abs().max() < 0.01


def test_torchs_own_generator_neither_matters_nor_moves():
    torch.manual_seed(1)
    expected, drawn = torch.rand(3), WHOLE.uniform("some", 2)
    torch.manual_seed(1)
    with seeded(0):
        weights = torch.rand(3)
    assert torch.equal(WHOLE.uniform("some", 2), drawn)
    assert torch.equal(torch.rand(3), expected)
    with seeded(0):
        assert torch.equal(torch.rand(3), weights)


def test_dropout_keeps_the_mean_and_drops_the_share():
    values = torch.ones(1000, 40)
    found = dropout(values, 0.2, LARGE, "some")
    assert set(found.unique().tolist()) == {0.0, 1.25}
    assert float((found == 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    assert float(found.mean()) == pytest.approx(1, abs=0.02)
    assert dropout(values, 0.0, LARGE, "some") is values
    assert dropout(values, 0.2, None, "some") is values


def test_a_decoder_drops_out_alike_in_pieces_and_differently_in_each_place():
    config = DecoderConfig(layers=2, qkv_width=8, heads=2, dropout=0.5, head_dropout=0.5)
    with seeded(0):
        model = EVLDecoder(config, TokenShape(width=8, frames=2, grid=(2, 2)), 3)
        blocks = [(torch.randn(8, 2, 5, 8), torch.rand(2, 8, 1, 4, 4)) for _ in range(2)]

    def logits(draws, rows=slice(0, 8)):
        features = [
            BlockFeatures(out=out[rows], map_prev=maps[0, rows], map_next=maps[1, rows])
            for out, maps in blocks
        ]
        return model(features, draws).detach()

    whole = logits(WHOLE)
    for pieces in (2, 4):
        found = torch.cat([logits(piece, piece.rows) for piece in cut(pieces)])
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-6)
    assert (logits(None) - whole).abs().max() > 0.1
    masks = [WHOLE.uniform(name, 8) >= 0.5 for name in ("mlp 0", "mlp 1", "classifier")]
    assert not any(torch.equal(left, right) for left, right in pairwise(masks))
