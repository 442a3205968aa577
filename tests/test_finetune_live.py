"""The decoder on a live tower: reference numbers end to end, and equality with the bank."""

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
from finetune.live import LiveEVL
from storage import BackboneSpec, Bank, BankSpec, BankWriter, ShardWriter
from tests.small_banks import clip_line

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


def write_live_bank(path, live, frames, attention):
    """A bank of what the live tower sees, one clip a row."""
    clips, length = frames.shape[:2]
    images = live.tower.normalise(rearrange(frames, "n t h w c -> (n t) h w c"))
    taps = live.tower(images)
    features = live.features(rearrange(images, "(n t) c h w -> n t c h w", n=clips))
    arrays = {"features/pooled": rearrange(taps.pooled, "(n t) e -> n t e", n=clips)}
    for block, maps in zip(live.blocks, features, strict=True):
        name = f"features/block{block:02d}/"
        arrays[name + "out"] = maps.out
        if attention == "maps":
            arrays |= {name + "map_prev": maps.map_prev, name + "map_next": maps.map_next}
        else:
            for tap, values in (("q", taps.q), ("k", taps.k)):
                arrays[name + tap] = rearrange(values[block], "(n t) l h d -> n t l h d", n=clips)
    tower = live.tower
    spec = BankSpec(
        backbone=BackboneSpec(
            name="tiny",
            weights="0" * 64,
            precision="fp32",
            quick_gelu=True,
            width=tower.width,
            heads=tower.heads,
            depth=tower.depth,
            grid=tower.grid,
            embed=tower.embed,
        ),
        blocks=live.blocks,
        attention=attention,
        frames=length,
        views=1,
        video={},
    )
    lines = [clip_line(i) for i in range(clips)]
    with BankWriter(path, spec) as writer:
        writer.enrol(lines)
        with ShardWriter(path, 0, run=writer.run) as shard:
            table = []
            for row, line in enumerate(writer.listing.to_pylist()):
                shard.append(row, {k: v[row].numpy().astype(np.float16) for k, v in arrays.items()})
                facts = {n: line[n] for n in ("row", "key", "label", "class_name", "split")}
                table.append(facts | {"view": 0, "outcome": "written", "reason": "", "content": ""})
            shard.commit(table, {})
    return Bank.open(path)


def test_bank_equals_live_in_both_attention_modes(live, tmp_path):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (5, 4, 64, 64, 3), generator=generator, dtype=torch.uint8)
    expected = live(frames)
    rows = np.array([3, 0, 4, 1, 2])
    found = {}
    for attention in ("maps", "qk"):
        bank = write_live_bank(tmp_path / attention, live, frames, attention)
        reader = FeatureReader(bank, live.blocks, maps=True, device=torch.device("cpu"), dtype=torch.float32)
        found[attention] = live.decoder(reader.read(rows))
        bank.close()
    scale = expected.abs().max()
    for logits in found.values():
        assert (logits - expected[rows]).abs().max() < 2e-3 * scale
    assert (found["maps"] - found["qk"]).abs().max() < 1e-3 * scale


def test_refuses_a_tower_that_does_not_fit(live):
    shape = TokenShape(width=64, frames=4, grid=(4, 5))
    with pytest.raises(ValueError, match=r"width and grid \(64, \(4, 5\)\)"):
        LiveEVL(live.tower, EVLDecoder(TINY, shape, 7))
    deep = EVLDecoder(DecoderConfig(layers=5, heads=4), TokenShape(width=64, frames=4, grid=(4, 4)), 7)
    with pytest.raises(ValueError, match="tap more blocks"):
        LiveEVL(live.tower, deep)
