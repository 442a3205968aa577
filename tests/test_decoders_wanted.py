"""What a decoder wants of a bank, what several want together, and that a decoder of it is EVL's."""

from dataclasses import replace

import pytest
import torch

from benchmarks.textbook_evl import textbook_logits
from decoders.config import DecoderConfig
from decoders.evl import BlockFeatures, EVLDecoder, TokenShape
from decoders.wanted import Wanted, everything, union, wanted_by

FULL = DecoderConfig(layers=2, heads=4)
POOLED = replace(FULL, tokens="pooled", cross_frame=False)
SHAPE = TokenShape(width=24, frames=3, grid=(2, 2))


def test_each_layer_has_its_block_and_the_modules_decide_the_rest():
    assert wanted_by(FULL, (2, 3)) == everything(2, 3)
    assert wanted_by(FULL.without_temporal(), (2, 3)) == replace(everything(2, 3), maps=frozenset())
    assert wanted_by(POOLED, (3, 3)) == Wanted(blocks=(3, 3), whole=frozenset(), maps=frozenset())


def test_together_they_want_each_block_once_and_as_much_of_it_as_any():
    found = union([wanted_by(POOLED, (1, 3)), wanted_by(FULL, (3, 3)), wanted_by(POOLED, (2, 2))])
    assert found == Wanted(blocks=(1, 2, 3), whole=frozenset({3}), maps=frozenset({3}))


@pytest.mark.parametrize("decoder", [POOLED, POOLED.without_temporal(), replace(FULL, multi_layer=False)])
def test_variants_equal_the_textbook_on_what_they_read(decoder):
    generator = torch.Generator().manual_seed(0)
    out = torch.randn(2, 3, 1 if decoder.tokens == "pooled" else 5, 24, generator=generator)
    prev, after = torch.randn(2, 2, 2, 4, 4, generator=generator).softmax(dim=-1)
    block = BlockFeatures(out=out, map_prev=prev, map_next=after)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EVLDecoder(decoder, SHAPE, 5).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    state = {name: p.detach().double().requires_grad_() for name, p in model.named_parameters()}
    expected = textbook_logits(
        state, [(out.double(), prev.double(), after.double())] * 2, heads=4, grid=(2, 2)
    )
    found = model([block, block])
    torch.testing.assert_close(found, expected.float(), atol=1e-4, rtol=0)
    found.square().sum().backward()
    expected.square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, state[name].grad.float(), atol=1e-3, rtol=1e-3)


def test_a_decoder_of_pooled_frames_refuses_whole_ones():
    with pytest.raises(ValueError, match="one token a frame, found features with 5"):
        EVLDecoder(POOLED, SHAPE, 5)([BlockFeatures(out=torch.zeros(1, 3, 5, 24))] * 2)
