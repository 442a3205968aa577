"""The decoder on a live tower: reference numbers end to end, and equality with the bank."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from open_clip.transformer import QuickGELU, VisionTransformer

from backbones.taps import FrozenTower
from decoders.config import DecoderConfig
from decoders.dataset import FeatureReader
from decoders.evl import EVLDecoder, TokenShape
from decoders.wanted import everything, wanted_by
from finetune.live import LiveEVL
from tests.live_banks import write_live_bank

GOLDEN = Path(__file__).parent / "golden" / "evl_tiny_full.npz"
TINY = DecoderConfig(layers=3, qkv_width=96, heads=6)
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return {
            name: torch.from_numpy(arrays[name]) for name in arrays.files if arrays[name].dtype != np.uint8
        }


@pytest.fixture(scope="module")
def live(golden):
    visual = VisionTransformer(
        image_size=64,
        patch_size=16,
        width=64,
        layers=6,
        heads=4,
        mlp_ratio=4.0,
        output_dim=32,
        act_layer=QuickGELU,
    )
    prefix = "clip_visual/"
    visual.load_state_dict({k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)})
    tower = FrozenTower(visual.eval().requires_grad_(False), (2, 3, 4, 5), MEAN, STD)
    decoder = EVLDecoder(TINY, TokenShape(width=64, frames=4, grid=(4, 4)), 7).eval()
    decoder.load_state_dict({k[3:]: v for k, v in golden.items() if k.startswith("sd/")})
    return LiveEVL(tower, decoder)


def test_golden_end_to_end(golden, live):
    images = rearrange(golden["input"], "n c t h w -> n t c h w")
    for i, block in enumerate(live.features(images)):
        torch.testing.assert_close(block.out, golden[f"dec_in/{i}/out"], atol=1e-4, rtol=0)
    torch.testing.assert_close(live.classify(images), golden["logits"], atol=1e-4, rtol=0)


def test_golden_gradients_end_to_end(golden, live):
    live.zero_grad()
    images = rearrange(golden["input"], "n c t h w -> n t c h w")
    torch.nn.functional.cross_entropy(live.classify(images), golden["labels"]).backward()
    for name, parameter in live.decoder.named_parameters():
        torch.testing.assert_close(parameter.grad.norm(), golden[f"grad_norm/{name}"], atol=1e-4, rtol=0)
    assert all(parameter.grad is None for parameter in live.tower.parameters())


def test_gradients_reach_a_trainable_tower(golden, live):
    live.tower.requires_grad_(True)
    images = rearrange(golden["input"], "n c t h w -> n t c h w")
    live.classify(images).sum().backward()
    assert live.tower.visual.conv1.weight.grad.abs().sum() > 0
    live.tower.requires_grad_(False)
    live.zero_grad()


def test_bank_equals_live_in_every_attention_mode_and_type(live, tmp_path):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (5, 4, 64, 64, 3), generator=generator, dtype=torch.uint8)
    expected = live(frames)
    rows = np.array([3, 0, 4, 1, 2])
    scale = expected.abs().max()
    for attention in ("maps", "qk", "derived"):
        for dtype, tolerance in (("float16", 1e-3), ("int8", 2e-2)):
            bank = write_live_bank(
                tmp_path / f"{attention}-{dtype}", live, frames, attention=attention, dtype=dtype
            )
            wanted = everything(*live.blocks)
            reader = FeatureReader(bank, wanted, device=torch.device("cpu"), dtype=torch.float32)
            logits = live.decoder(reader.read(rows))
            bank.close()
            assert (logits - expected[rows]).abs().max() < tolerance * scale, (attention, dtype)


@pytest.mark.parametrize(
    "decoder",
    [replace(TINY, tokens="pooled", cross_frame=False), replace(TINY, multi_layer=False, layers=5)],
    ids=["pooled", "last"],
)
def test_variants_of_what_is_read_are_the_same_live(live, tmp_path, decoder):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (3, 4, 64, 64, 3), generator=generator, dtype=torch.uint8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        variant = LiveEVL(live.tower, EVLDecoder(decoder, live.decoder.shape, 7).eval())
    assert len(variant.blocks) == decoder.layers
    bank = write_live_bank(tmp_path / "bank", live, frames)
    wanted = wanted_by(decoder, decoder.blocks_of(bank.spec.blocks))
    reader = FeatureReader(bank, wanted, device=torch.device("cpu"), dtype=torch.float32)
    expected = variant(frames)
    found = variant.decoder(reader.read(np.arange(3)))
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()


def test_refuses_a_tower_that_does_not_fit(live):
    shape = TokenShape(width=64, frames=4, grid=(4, 5))
    with pytest.raises(ValueError, match=r"width and grid \(64, \(4, 5\)\)"):
        LiveEVL(live.tower, EVLDecoder(TINY, shape, 7))
    deep = EVLDecoder(DecoderConfig(layers=5, heads=4), TokenShape(width=64, frames=4, grid=(4, 4)), 7)
    with pytest.raises(ValueError, match="tap more blocks"):
        LiveEVL(live.tower, deep)
