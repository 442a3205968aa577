"""A batch's taps as the bank stores them."""

import numpy as np
import pytest
import torch

from backbones.maps import cross_frame_maps
from backbones.taps import Taps
from pipeline.keep import keep
from storage import POOLED, array_layouts, array_name, dequantize_map, dequantize_tokens
from tests.small_banks import small_spec

ROWS, FRAMES, TOKENS, WIDTH, HEADS = 2, 3, 7, 16, 2


@pytest.fixture
def taps():
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return {block: torch.randn(ROWS * FRAMES, *shape, generator=generator) for block in (2, 3)}

    heads = (TOKENS, HEADS, WIDTH // HEADS)
    pooled = torch.randn(ROWS * FRAMES, 8, generator=generator)
    return Taps(out=drawn(TOKENS, WIDTH), q=drawn(*heads), k=drawn(*heads), pooled=pooled)


@pytest.mark.parametrize("attention", ["maps", "qk", "none"])
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_every_array_of_the_layout_and_no_other(taps, attention, dtype):
    layouts = array_layouts(small_spec(attention=attention, dtype=dtype))
    found = keep(taps, ROWS, layouts)
    assert {n: (v.shape[1:], str(v.dtype)) for n, v in found.values.items()} == {
        layout.name: (layout.row_shape, layout.dtype) for layout in layouts
    }
    assert found.statistics.keys() == {name for name in found.values if not name.endswith("_scale")}
    assert len(found) == ROWS
    np.testing.assert_array_equal(found.row(1).values[POOLED], found.values[POOLED][1])


def test_integers_decode_to_the_taps(taps):
    found = keep(taps, ROWS, array_layouts(small_spec(dtype="int8"))).values
    name = array_name(3, "out")
    tokens = dequantize_tokens(*(found[name + end] for end in ("", "_token_scale", "_channel_scale")))
    np.testing.assert_allclose(tokens, taps.out[3].unflatten(0, (ROWS, FRAMES)).numpy(), atol=0.03)
    prev, _ = cross_frame_maps(*(t[3].unflatten(0, (ROWS, FRAMES)) for t in (taps.q, taps.k)))
    name = array_name(3, "map_prev")
    np.testing.assert_allclose(dequantize_map(found[name], found[f"{name}_scale"]), prev.numpy(), atol=0.01)


def test_only_what_a_part_brings(taps):
    spec = small_spec(blocks=(2,)).with_part(small_spec(blocks=(2, 3), attention="qk").kept[0])
    layouts = [layout for layout in array_layouts(spec) if layout.part == 1]
    names = {"features/block03/out", *(f"features/block0{b}/{tap}" for b in (2, 3) for tap in "qk")}
    assert keep(taps, ROWS, layouts).values.keys() == names
