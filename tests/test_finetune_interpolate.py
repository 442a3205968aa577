"""One step of the regulariser against the reference's numbers, and what it promises of memory and bits."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from einops import rearrange
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from torch import nn
from torch.nn import functional as F

from backbones.config import TemporalView
from backbones.text import class_matrix_of_tokens
from finetune.interpolate import (
    RegulariserConfig,
    anchor_of,
    clip_gradients,
    draw_share,
    interpolated_weights,
    mixed,
    regularised_gradients,
)
from finetune.video_clip import VideoCLIP

FOLDER = Path(__file__).parent / "golden"


def read(name):
    with np.load(FOLDER / name) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fi"}


@pytest.fixture(scope="module")
def full():
    return read("openvclip_full.npz")


@pytest.fixture(scope="module")
def golden():
    return read("openvclip_iwr.npz")


@pytest.fixture
def clip(full):
    """The reference's small CLIP with its anchor weights."""
    model = open_clip.CLIP(
        embed_dim=32,
        vision_cfg=CLIPVisionCfg(image_size=64, layers=2, width=128, patch_size=32),
        text_cfg=CLIPTextCfg(context_length=77, vocab_size=100, width=64, heads=1, layers=2),
        quick_gelu=True,
    )
    model.load_state_dict({name[3:]: values for name, values in full.items() if name.startswith("sd/")})
    return model.eval()


def model_of(clip):
    return VideoCLIP(clip.visual, clip.logit_scale, TemporalView(window=1, boundary="zeros"))


def test_golden_text_matrix_and_logits(full, clip):
    classes = class_matrix_of_tokens(clip, rearrange(full["tokens"], "m k l -> k m l"))
    torch.testing.assert_close(classes, full["classifier"], atol=1e-4, rtol=0)
    model, images = model_of(clip), rearrange(full["input"], "n c t h w -> n t c h w")
    with torch.no_grad():
        frames = rearrange(model.embed(images), "n t e -> (n t) e")
        torch.testing.assert_close(frames, full["frame_embed"], atol=1e-4, rtol=0)
        torch.testing.assert_close(model(images, classes), full["logits"], atol=1e-4, rtol=0)


def gradient(values):
    assert values.grad is not None
    return values.grad


def step_of(golden, clip):
    """The model at theta, its anchor, and the batch's loss."""
    model = model_of(clip)
    anchor = anchor_of(model)
    classes = class_matrix_of_tokens(clip, rearrange(golden["tokens"], "m k l -> k m l"))
    images = rearrange(golden["input"], "n c t h w -> n t c h w")
    model.load_state_dict({name[6:]: values for name, values in golden.items() if name.startswith("theta/")})
    return model, anchor, lambda: F.cross_entropy(model(images, classes), golden["labels"])


def backward_of(loss):
    def backward(factor):
        found = loss()
        (factor * found).backward()
        return found.detach()

    return backward


@pytest.mark.parametrize("recompute", [False, True])
def test_golden_step(golden, clip, recompute):
    model, anchor, loss = step_of(golden, clip)
    model.recompute(recompute)
    losses = regularised_gradients(
        model, anchor, backward_of(loss), share=float(golden["alpha"]), weight=float(golden["C"])
    )
    assert losses.interpolated is not None
    torch.testing.assert_close(losses.interpolated, golden["loss_interp"], atol=1e-4, rtol=0)
    torch.testing.assert_close(losses.current, golden["loss_current"], atol=1e-4, rtol=0)
    found = {name: gradient(values) for name, values in model.named_parameters()}
    for name, expected in golden.items():
        if name.startswith("grad_norm_sum/"):
            torch.testing.assert_close(found.pop(name[14:]).norm(), expected, atol=1e-4, rtol=1e-4)
        elif name.startswith("grad_sum/"):
            torch.testing.assert_close(model.get_parameter(name[9:]).grad, expected, atol=1e-4, rtol=0)
    assert not found
    total = clip_gradients(model.parameters(), 1.0)
    torch.testing.assert_close(total, golden["total_grad_l2"], atol=1e-4, rtol=1e-5)
    after = torch.stack([gradient(values).norm() for values in model.parameters()]).norm()
    torch.testing.assert_close(after, torch.tensor(1.0), atol=1e-5, rtol=0)
    assert all(values.grad is None for values in clip.transformer.parameters())


@pytest.mark.parametrize("which", ["interp", "current"])
def test_golden_passes_alone(golden, clip, which):
    model, anchor, loss = step_of(golden, clip)
    if which == "interp":
        with interpolated_weights(model, anchor, share=float(golden["alpha"])):
            (float(golden["C"]) * loss()).backward()
    else:
        loss().backward()
    for name, values in model.named_parameters():
        expected = golden[f"grad_norm_{which}/{name}"]
        torch.testing.assert_close(gradient(values).norm(), expected, atol=1e-4, rtol=1e-4)


def small():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
    anchor = {name: torch.randn_like(values) for name, values in model.named_parameters()}
    return model, anchor


def test_weights_come_back_to_the_bit_in_their_own_memory():
    model, anchor = small()
    before = [(values.data_ptr(), values.detach().clone()) for values in model.parameters()]
    try:
        with interpolated_weights(model, anchor, share=0.3):
            for (name, values), (_, old) in zip(model.named_parameters(), before, strict=True):
                torch.testing.assert_close(values.detach(), 0.3 * anchor[name] + 0.7 * old)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    for values, (place, old) in zip(model.parameters(), before, strict=True):
        assert values.data_ptr() == place
        assert torch.equal(values, old)


def test_ends_of_the_line():
    model, anchor = small()
    with interpolated_weights(model, anchor, share=1.0):
        assert all(torch.equal(values, anchor[name]) for name, values in model.named_parameters())
    batch = torch.randn(5, 4)
    for weight, times in ((0.0, 1.0), (0.5, 1.5)):
        model.zero_grad()
        loss = backward_of(lambda: model(batch).square().mean())
        regularised_gradients(model, anchor, loss, share=0.0, weight=weight)
        found = gradient(model.get_parameter("0.weight")).clone()
        model.zero_grad()
        model(batch).square().mean().backward()
        torch.testing.assert_close(found, times * gradient(model.get_parameter("0.weight")))


def test_autocast_does_not_remember_the_other_weights():
    """Inside one autocast, casts of weights are kept by the parameter, whose values change here."""
    model, anchor = small()
    batch = torch.randn(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        alone = model(batch)
        with interpolated_weights(model, anchor, share=0.9):
            between = model(batch)
        again = model(batch)
    assert torch.equal(alone, again)
    assert not torch.allclose(alone, between)


def test_shares_are_a_function_of_seed_and_step():
    config = RegulariserConfig()
    drawn = [draw_share(config, seed=1, step=step) for step in range(2000)]
    assert drawn == [draw_share(config, seed=1, step=step) for step in range(2000)]
    assert drawn != [draw_share(config, seed=2, step=step) for step in range(2000)]
    assert 0 <= min(drawn) < 0.01
    assert 0.59 < max(drawn) <= 0.6
    assert abs(sum(drawn) / 2000 - 0.3) < 0.02


def test_final_mixture():
    clip = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3.0, dtype=torch.float16)}
    tuned = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor(5.0), "new": torch.tensor(7.0)}
    found = mixed(clip, tuned, 0.25)
    torch.testing.assert_close(found["a"], torch.tensor([2.5, 0.5]))
    torch.testing.assert_close(found["b"], torch.tensor(4.5))
    assert found["new"] == 7.0
    assert torch.equal(mixed(clip, tuned, 1.0)["a"], clip["a"])
    assert torch.equal(mixed(clip, tuned, 0.0)["a"], tuned["a"])


def test_mistakes():
    model, anchor = small()
    other, context = anchor | {"0.weight": torch.zeros(2)}, "such as 0.weight; give the CLIP"
    with pytest.raises(ValueError, match=context), interpolated_weights(model, other, share=0.1):
        pass
    with pytest.raises(ValueError, match=r"1 that are missing .* such as 2.bias"):
        mixed(anchor, {name: values for name, values in anchor.items() if name != "2.bias"}, 0.5)
    with pytest.raises(ValueError, match=r"from 0 to 1, found 1.5"):
        mixed(anchor, anchor, 1.5)
    with pytest.raises(ValueError, match=r"0 <= low <= high <= 1"):
        RegulariserConfig(low=0.7)
    with pytest.raises(ValueError, match=r"at least 0, found -1"):
        RegulariserConfig(weight=-1.0)
