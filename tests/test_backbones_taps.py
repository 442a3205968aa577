"""The tapped tower against the reference's tensors, against hooks on plain open_clip, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import nn

from backbones.errors import BackboneError
from backbones.taps import FrozenTower
from tests.small_clips import small_config, small_model

GOLDEN = Path(__file__).parent / "golden" / "evl_tiny_full.npz"
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD


def tower_of(model, blocks=(1, 3)):
    return FrozenTower(model.visual, blocks, MEAN, STD)


def frames_like(model, count=2):
    return torch.randn(count, 3, *model.visual.image_size, generator=torch.Generator().manual_seed(5))


def test_golden():
    """Every backbone tensor that the published EVL code gave."""
    golden = np.load(GOLDEN)
    meta = json.loads(golden["meta_json"].tobytes())
    visual = VisionTransformer(
        *(meta[name] for name in ("size", "patch", "width", "layers", "heads", "mlp")),
        output_dim=32,
        act_layer=QuickGELU,
    )
    prefix = "clip_visual/"
    names = [name.removeprefix(prefix) for name in golden.files if name.startswith(prefix)]
    visual.load_state_dict({name: torch.from_numpy(golden[prefix + name]) for name in names})
    frames = torch.from_numpy(golden["input"]).transpose(1, 2).flatten(0, 1)
    with torch.inference_mode():
        taps = FrozenTower(visual.eval(), range(meta["layers"]), MEAN, STD)(frames)
    first = meta["layers"] - meta["dec"]
    for layer in range(meta["dec"]):
        for kind, found in (("out", taps.out), ("q", taps.q), ("k", taps.k)):
            expected = torch.from_numpy(golden[f"dec_in/{layer}/{kind}"]).flatten(0, 1)
            torch.testing.assert_close(found[first + layer], expected, rtol=0, atol=1e-4)
    for block in range(first):
        expected = torch.from_numpy(golden[f"backbone_early/{block}/out"])
        torch.testing.assert_close(taps.out[block], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "vision",
    [
        {},
        {"image_size": [64, 96]},
        {"image_size": [96, 64], "patch_size": [16, 32]},
        {"ls_init_value": 0.5},
        {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True},
        {"attentional_pool": True, "attn_pooler_heads": 2},
        {"pos_embed_type": "sin_cos_2d"},
        {"output_tokens": True},
    ],
    ids=str,
)
def test_equals_hooks_on_plain_open_clip(vision):
    model = small_model(2, **vision)
    tower, frames = tower_of(model), frames_like(model)
    outs, inputs = hooked(model.visual)
    with torch.inference_mode():
        taps = tower(frames)
        pooled = model.encode_image(frames)
        pooled = pooled[0] if isinstance(pooled, tuple) else pooled
    torch.testing.assert_close(taps.pooled, pooled)
    assert list(taps.out) == list(taps.q) == list(taps.k) == [1, 3]
    for block in (1, 3):
        attention = model.visual.transformer.resblocks[block].attn
        projected = nn.functional.linear(inputs[block], attention.in_proj_weight, attention.in_proj_bias)
        q, k, _ = (part.unflatten(-1, (4, 16)) for part in projected.chunk(3, dim=-1))
        torch.testing.assert_close(taps.out[block], outs[block])
        torch.testing.assert_close(taps.q[block], q)
        torch.testing.assert_close(taps.k[block], k)


def hooked(visual):
    """Dictionaries that a plain forward pass fills: block outputs and the inputs of their attention."""
    outs, inputs = {}, {}
    for number, block in enumerate(visual.transformer.resblocks):
        block.register_forward_hook(lambda _, __, out, number=number: outs.update({number: out}))
        block.ln_1.register_forward_hook(lambda _, __, out, number=number: inputs.update({number: out}))
    return outs, inputs


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_stays_close(dtype):
    model = small_model(2)
    frames = frames_like(model)
    with torch.inference_mode():
        expected = tower_of(model)(frames)
        found = tower_of(model.to(dtype))(frames.to(dtype))
        plain = model.encode_image(frames.to(dtype))
    torch.testing.assert_close(found.pooled, plain, rtol=0.05, atol=0.05)
    assert found.out[3].dtype == found.q[3].dtype == found.pooled.dtype == dtype
    torch.testing.assert_close(found.out[3].float(), expected.out[3], rtol=0.1, atol=0.15)
    torch.testing.assert_close(found.k[1].float(), expected.k[1], rtol=0.1, atol=0.15)


def test_shapes_and_properties():
    model = small_model(image_size=[64, 96])
    tower = tower_of(model, blocks=(3, 0))
    assert (tower.grid, tower.size) == ((4, 6), (64, 96))
    assert (tower.heads, tower.width, tower.depth, tower.embed) == (4, 64, 4, 32)
    assert tower.blocks == (0, 3)
    assert not list(tower.state_dict().keys() - {f"visual.{name}" for name in model.visual.state_dict()})
    taps = tower(frames_like(model, 3))
    assert taps.out[0].shape == (3, 25, 64)
    assert taps.q[3].shape == taps.k[3].shape == (3, 25, 4, 16)
    assert taps.pooled.shape == (3, 32)


def test_no_block_at_all_is_encode_image():
    model = small_model()
    taps = tower_of(model, blocks=())(frames_like(model))
    assert not taps.out
    torch.testing.assert_close(taps.pooled, model.encode_image(frames_like(model)))


def test_normalise_equals_open_clips_preprocessing():
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    tower = tower_of(small_model())
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    expected = (frames.permute(0, 3, 1, 2) / 255 - mean) / std
    torch.testing.assert_close(tower.normalise(frames), expected, rtol=0, atol=1e-6)
    halved = tower.bfloat16()
    assert halved.normalise(frames).dtype == torch.bfloat16


def test_gradients_flow_when_the_weights_want_them():
    model = small_model().requires_grad_(True)
    taps = tower_of(model)(frames_like(model))
    (taps.out[3].sum() + taps.q[1].sum() + taps.k[3].sum() + taps.pooled.sum()).backward()
    assert model.visual.conv1.weight.grad is not None
    frozen = small_model()
    assert not tower_of(frozen)(frames_like(frozen)).out[3].requires_grad


@pytest.mark.parametrize("blocks", [(4,), (-1,), (1, 1)])
def test_impossible_blocks(blocks):
    with pytest.raises(BackboneError, match="different numbers from 0 to 3"):
        tower_of(small_model(), blocks=blocks)


def test_wrong_frame_size():
    with pytest.raises(BackboneError, match=r"expected frames of \(64, 64\), found \(64, 80\)"):
        tower_of(small_model())(torch.zeros(1, 3, 64, 80))


@pytest.mark.parametrize(
    "vision", [{"qk_norm": True}, {"scaled_cosine_attn": True}, {"block_type": "custom"}]
)
def test_custom_blocks_are_refused(vision):
    model = open_clip.CLIP(**small_config(**vision))
    with pytest.raises(BackboneError, match="block 1: expected CLIP's plain attention block"):
        tower_of(model)


def test_other_towers_are_refused():
    with pytest.raises(BackboneError, match="expected open_clip's VisionTransformer, found Linear"):
        FrozenTower(nn.Linear(2, 2), (), MEAN, STD)
    with pytest.raises(BackboneError, match="pools each frame into one embedding"):
        tower_of(small_model(attentional_pool="parallel"))
