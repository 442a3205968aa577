"""The temporal view: reference numbers, what both boundaries promise, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transformer import QuickGELU, VisionTransformer

from backbones.attention import attend
from backbones.config import Boundary, TemporalView
from backbones.errors import BackboneError
from backbones.taps import FrozenTower
from backbones.temporal import attend_over_time
from tests.small_clips import small_model

GOLDEN = Path(__file__).parent / "golden" / "openvclip_vit.npz"
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def view_of(window: int, boundary: Boundary = "zeros"):
    return TemporalView(window=window, boundary=boundary)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "meta_json"}


@pytest.fixture(scope="module")
def visual(golden):
    made = VisionTransformer(64, 16, 64, 4, 4, 4.0, output_dim=32, act_layer=QuickGELU)
    made.load_state_dict({name[3:]: values for name, values in golden.items() if name.startswith("sd/")})
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(golden):
    return rearrange(golden["input"], "n c t h w -> (n t) c h w")


def run(visual, view, images, frames):
    return FrozenTower(visual, range(4), MEAN, STD, view=view)(images, frames=frames)


@pytest.mark.parametrize(
    ("window", "frames", "name"),
    [(1, 5, "expand"), (2, 5, "expand_step2"), (3, 5, "expand_step3"), (1, 1, "expand_T1")],
)
def test_golden_embeddings(golden, visual, images, window, frames, name):
    found = run(visual, view_of(window), images, frames).pooled
    torch.testing.assert_close(found, golden[f"embed/{name}"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("view", "name"), [(view_of(1), "expand"), (None, "plain")])
def test_golden_blocks(golden, visual, images, view, name):
    taps = run(visual, view, images, 5)
    for block, tokens in taps.out.items():
        expected = rearrange(golden[f"block_LND/{name}/{block}"], "l b c -> b l c")
        torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(taps.pooled, golden[f"embed/{name}"], atol=1e-4, rtol=0)


def test_golden_attention(golden, visual):
    attention = visual.transformer.resblocks[0].attn
    tokens = rearrange(golden["attn0_in_LND/expand"], "l b c -> b l c")
    projected = torch.nn.functional.linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = projected.unflatten(-1, (3, 4, 16)).unbind(2)
    seen = attend_over_time(q, k, v, frames=5, view=view_of(1))
    found = rearrange(attention.out_proj(seen.flatten(2)), "b l c -> l b c")
    torch.testing.assert_close(found, golden["attn0_out_LND/expand"], atol=1e-4, rtol=0)


def textbook(inputs, frames, view):
    """Each frame's neighbours gathered with a mask over all frames of its clip."""
    q, k, v = (rearrange(x, "(n t) l h d -> n t l h d", t=frames) for x in inputs)
    out = torch.zeros_like(q)
    for t in range(frames):
        near = [s for s in range(t - view.window, t + view.window + 1)]
        real = [s for s in near if 0 <= s < frames]
        scores = torch.einsum("nlhd,nsmhd->nhlsm", q[:, t], k[:, real]) * q.shape[-1] ** -0.5
        weights = scores.exp()
        total = weights.sum((-2, -1), keepdim=True)
        if view.boundary == "zeros":
            total = total + (len(near) - len(real)) * q.shape[2]
        out[:, t] = torch.einsum("nhlsm,nsmhd->nlhd", weights / total, v[:, real])
    return rearrange(out, "n t l h d -> (n t) l h d")


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["zeros", "masked"]),
)
def test_equals_the_textbook_form(clips, frames, window, heads, boundary):
    q, k, v = torch.randn(3, clips * frames, 5, heads, 4, dtype=torch.float64)
    view = view_of(window, boundary)
    found = attend_over_time(q, k, v, frames=frames, view=view)
    torch.testing.assert_close(found, textbook((q, k, v), frames, view))


def test_gradients_equal_the_textbook_forms():
    inputs = [torch.randn(6, 5, 2, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    for view in (view_of(1), view_of(2), view_of(1, "masked")):
        found, expected = (
            torch.autograd.grad(form(view).square().sum(), inputs)
            for form in (
                lambda view: attend_over_time(inputs[0], inputs[1], inputs[2], frames=3, view=view),
                lambda view: textbook(inputs, 3, view),
            )
        )
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("vision", [{}, {"image_size": [64, 96]}])
@pytest.mark.parametrize("window", [1, 3])
def test_masked_static_clip_is_plain_clip(vision, window):
    model = small_model(1, **vision)
    pictures = torch.randn(2, 3, *model.visual.image_size, generator=torch.Generator().manual_seed(0))
    taps = run(model.visual, view_of(window, "masked"), pictures.repeat_interleave(5, 0), 5)
    plain = run(model.visual, None, pictures, None)
    for found, expected in (
        (taps.pooled, plain.pooled),
        (taps.out[3], plain.out[3]),
        (taps.k[2], plain.k[2]),
    ):
        torch.testing.assert_close(found, expected.repeat_interleave(5, 0), atol=1e-5, rtol=1e-5)


def test_one_frame_alone():
    model = small_model(1)
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = run(model.visual, None, picture, None).pooled
    masked = run(model.visual, view_of(1, "masked"), picture, 1).pooled
    zeros = run(model.visual, view_of(1), picture, 1).pooled
    torch.testing.assert_close(masked, plain, atol=1e-5, rtol=1e-5)
    assert (zeros - plain).abs().max() > 0.01


def test_clips_do_not_see_each_other(visual, images):
    together = run(visual, view_of(2), images, 5).pooled
    apart = torch.cat([run(visual, view_of(2), clip, 5).pooled for clip in images.split(5)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


def test_no_new_parameters():
    model = small_model()
    names = {name: values.shape for name, values in model.visual.state_dict().items()}
    tower = FrozenTower(model.visual, (1,), MEAN, STD, view=view_of(2))
    assert {name.removeprefix("visual."): v.shape for name, v in tower.state_dict().items()} == names


def test_checkpointed_blocks_give_the_same_gradients():
    model = small_model(2).requires_grad_(True)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = []
    for recompute in (False, True):
        model.zero_grad()
        model.visual.set_grad_checkpointing(recompute)
        taps = run(model.visual, view_of(1), images, 2)
        (taps.pooled.square().sum() + taps.q[1].sum()).backward()
        found.append([values.grad for values in model.visual.parameters() if values.grad is not None])
    torch.testing.assert_close(found[0], found[1])


def kept_bytes(call):
    """Bytes that autograd keeps for the backward pass, each memory once."""
    seen = {}

    def note(values):
        memory = values.untyped_storage()
        seen[memory.data_ptr()] = memory.nbytes()
        return values

    with torch.autograd.graph.saved_tensors_hooks(note, lambda values: values):
        kept = call()
    return sum(seen.values()), kept


def test_keys_of_neighbours_are_not_copied():
    """Beyond q, k and v the backward pass keeps the two ends of the clip, not 3 keys for every one."""
    q, k, v = (torch.randn(16, 50, 2, 8, requires_grad=True) for _ in range(3))
    plain, _ = kept_bytes(lambda: attend(q, k, v))
    spread, _ = kept_bytes(lambda: attend_over_time(q, k, v, frames=16, view=view_of(1)))
    assert spread < 1.8 * plain
    assert (
        kept_bytes(lambda: attend_over_time(q, k, v, frames=16, view=view_of(1, "masked")))[0] < 1.3 * plain
    )


def test_mistakes(visual, images):
    with pytest.raises(BackboneError, match="sees clips; say how long"):
        run(visual, view_of(1), images, None)
    with pytest.raises(BackboneError, match="expected clips of 4 frames, found 10"):
        run(visual, view_of(1), images, 4)
    with pytest.raises(BackboneError, match="block 0: expected CLIP's plain attention"):
        FrozenTower(small_model(qk_norm=True).visual, (), MEAN, STD, view=view_of(1))
    with pytest.raises(BackboneError, match="window: expected a whole number"):
        view_of(0)
