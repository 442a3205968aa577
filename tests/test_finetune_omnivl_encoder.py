"""The unified encoder: CLIP at first, one tower for images and clips, time learned from clips alone."""

import copy

import pytest
import torch
from einops import rearrange, repeat

from backbones.config import BackboneConfig, TemporalView
from backbones.taps import FrozenTower
from backbones.weights import load_clip
from decoders.draws import seeded
from decoders.omnivl.language.vocabulary import text_tokenizer
from finetune.omnivl.encoder import SpaceTimeCLIP, space_time_clip
from tests.small_clips import small_model, write_config
from tests.small_heads import SMALL, small_heads
from tests.small_visuals import moved
from training.optim import OptimConfig, make_adamw

FRAMES = 3
TOWERS = [
    {},
    {"quick_gelu": True},
    {"ls_init_value": 0.5},
    {"image_size": [64, 96]},
    {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True},
]


def encoder(**vision):
    visual = small_model(2, **vision).visual
    with seeded(0):
        return SpaceTimeCLIP(visual, SMALL, frames=FRAMES)


def clips(frames=FRAMES, count=2, size=(64, 64)):
    return torch.randn(count, frames, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("vision", TOWERS, ids=str)
@pytest.mark.parametrize("frames", [1, FRAMES])
def test_a_new_encoder_is_clip_frame_by_frame(vision, frames):
    model = encoder(**vision)
    tower = FrozenTower(model.visual, [3], (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    images = clips(frames, size=tower.size)
    with torch.no_grad():
        expected = tower(rearrange(images, "n t c h w -> (n t) c h w")).out[3]
        assert torch.equal(rearrange(model.encoded(images), "n t l c -> (n t) l c"), expected)
        seen = model(images)
    assert seen.tokens.shape == (2, frames * expected.shape[1], SMALL.width)
    torch.testing.assert_close(seen.embedding.norm(dim=-1), torch.ones(2))


def test_parameters_are_open_clips_and_those_of_time():
    model = encoder()
    names = set(model.state_dict())
    assert {name for name in names if name.startswith("visual.")} == {
        f"visual.{name}" for name in model.visual.state_dict()
    }
    others = {name.split(".")[0] for name in names}
    assert others == {"visual", "temporal", "project", "translate"}
    assert len(names) == len({values.data_ptr() for values in model.state_dict().values()})


def test_time_begins_as_the_attention_in_space():
    model = encoder()
    block, temporal = model.visual.transformer.resblocks[1], model.temporal[1]
    assert torch.equal(temporal.attn.in_proj_weight, block.attn.in_proj_weight)
    assert torch.equal(temporal.norm.weight, block.ln_1.weight)
    assert not temporal.attn.out_proj.weight.any()
    assert not temporal.attn.out_proj.bias.any()


def test_a_repeated_frame_is_matched_as_the_image_when_clips_come_first():
    model, heads = encoder().eval(), small_heads().eval()
    texts = text_tokenizer(SMALL.context)(["a red circle", "two blue squares"])
    images = clips(1)
    with torch.no_grad():
        image, clip = model(images), model(repeat(images, "n 1 c h w -> n t c h w", t=FRAMES))
        torch.testing.assert_close(clip.embedding, image.embedding, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(heads.match(clip, texts), heads.match(image, texts), atol=1e-5, rtol=1e-5)


def learned_from(model, images, steps=2):
    """Names of what some steps of AdamW, with decay, have left as it was."""
    optimizer = make_adamw(model.parameters(), OptimConfig(lr=1e-2, weight_decay=0.5))
    before = {name: values.detach().clone() for name, values in model.named_parameters()}
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        seen = model(images)
        (seen.embedding[:, 0].sum() + seen.tokens.square().mean()).backward()
        optimizer.step()
    return {name for name, values in model.named_parameters() if torch.equal(values, before[name])}


def test_images_teach_all_but_time_and_clips_all():
    model = encoder().requires_grad_(True).train()
    time = {name for name, _ in model.named_parameters() if name.startswith("temporal.")}
    unused = {"visual.proj"}
    assert learned_from(model, clips(1)) == time | unused
    assert all(values.grad is None for values in model.temporal.parameters())
    assert learned_from(model, clips()) == unused


def test_order_counts_once_time_has_learned():
    new, learned, order = encoder(), moved(encoder()), torch.tensor([2, 0, 1])
    turned = clips()[:, order]
    torch.testing.assert_close(new(turned).embedding, new(clips()).embedding, atol=1e-6, rtol=1e-5)
    assert (learned(turned).embedding - learned(clips()).embedding).abs().max() > 1e-3


def test_blocks_computed_again_give_the_same_gradients():
    model = moved(encoder()).requires_grad_(True).train()
    found = []
    for again in (False, True):
        model.recompute(again)
        model.zero_grad()
        model(clips()).tokens.square().sum().backward()
        found.append({name: values.grad for name, values in model.named_parameters()})
    torch.testing.assert_close(found[0], found[1])


def test_a_copy_is_a_model_of_its_own():
    model = encoder()
    copied = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(clips()).embedding
        for values in copied.visual.parameters():
            values.zero_()
        torch.testing.assert_close(model(clips()).embedding, expected)
        assert not copied.encoded(clips()).any()


def test_a_loaded_clip_is_taken_over(tmp_path):
    name = str(write_config(tmp_path / "small.json"))
    clip = load_clip(BackboneConfig(name=name, weights="random:0"))
    model = space_time_clip(clip, SMALL, FRAMES)
    assert model.training
    assert [name for name, values in model.named_parameters() if not values.requires_grad] == ["visual.proj"]
    frames = torch.randint(0, 256, (2, FRAMES, 64, 64, 3), dtype=torch.uint8)
    tower = clip.tower()
    expected = tower.normalise(rearrange(frames, "n t h w c -> (n t) h w c"))
    assert torch.equal(rearrange(model.normalised(frames), "n t c h w -> (n t) c h w"), expected)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="pools them by attention"):
        encoder(attentional_pool=True, attn_pooler_heads=2)
    with pytest.raises(ValueError, match="keeps all patches"):
        encoder(patch_dropout=0.5)
    with pytest.raises(ValueError, match="images or clips of 3 frames"):
        encoder()(clips(2))
    name = str(write_config(tmp_path / "small.json"))
    half = load_clip(BackboneConfig(name=name, weights="random:0", precision="bf16"))
    with pytest.raises(ValueError, match="fp32 to train, found bf16"):
        space_time_clip(half, SMALL, FRAMES)
    view = TemporalView(window=1, boundary="zeros")
    seeing = load_clip(
        BackboneConfig(name=name, weights="random:0", window=view.window, boundary=view.boundary)
    )
    with pytest.raises(ValueError, match="sees frames one by one"):
        space_time_clip(seeing, SMALL, FRAMES)
