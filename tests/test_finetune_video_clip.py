"""CLIP for videos: open_clip's own parameters, trained end to end, written and read again."""

import pytest
import torch
from torch.nn import functional as F

from backbones.config import BackboneConfig, TemporalView
from backbones.errors import BackboneError
from backbones.save import save_clip
from backbones.sidecar import sidecar_path
from backbones.weights import load_clip
from finetune.video_clip import trainable
from tests.small_clips import small_model, write_config, write_folder


@pytest.fixture
def clip(tmp_path):
    folder = write_folder(tmp_path / "model", small_model(2))
    return load_clip(BackboneConfig(name=str(folder), window=1, boundary="masked"))


def batch(clip, count=4):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, 3, *clip.size, generator=generator)
    classes = F.normalize(torch.randn(5, 32, generator=generator), dim=-1)
    return images, classes, torch.arange(count) % 5


def test_parameters_are_open_clips(clip):
    model = trainable(clip)
    expected = {
        name: values.shape
        for name, values in clip.model.state_dict().items()
        if name.startswith("visual.") or name == "logit_scale"
    }
    assert {name: values.shape for name, values in model.state_dict().items()} == expected
    assert {name for name, _ in model.named_parameters()} == expected.keys()
    assert all(values.requires_grad for values in model.parameters())


def test_it_learns_and_every_part_of_it_does(clip):
    model = trainable(clip)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    images, classes, targets = batch(clip)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=1e-3), []
    for _ in range(8):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images, classes), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert not [name for name, values in model.state_dict().items() if torch.equal(values, before[name])]


def test_blocks_computed_again_give_the_same_gradients(clip):
    model = trainable(clip)
    images, classes, targets = batch(clip)
    found = []
    for again in (False, True):
        model.recompute(again)
        model.zero_grad()
        F.cross_entropy(model(images, classes), targets).backward()
        found.append([values.grad for values in model.parameters()])
    torch.testing.assert_close(found[0], found[1])


def test_one_video_alone_and_a_wide_frame(tmp_path):
    name = str(write_config(tmp_path / "wide.json", image_size=[64, 96]))
    clip = load_clip(BackboneConfig(name=name, weights="random:0", window=2, boundary="zeros"))
    images, classes, _ = batch(clip, 2)
    model = trainable(clip).eval()
    with torch.no_grad():
        both = model(images, classes)
        torch.testing.assert_close(model(images[:1], classes), both[:1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_written_and_read_again_it_is_the_same(clip, tmp_path, ending):
    model = trainable(clip)
    with torch.no_grad():
        model.visual.get_parameter("proj").add_(0.1)
    path = tmp_path / f"tuned.{ending}"
    sidecar = save_clip(path, clip.model, view=clip.view, made={"by": "a test"})
    again = load_clip(BackboneConfig(name=str(tmp_path / "model"), weights=str(path)))
    assert (again.view, again.digest) == (TemporalView(window=1, boundary="masked"), sidecar.digest)
    images, classes, _ = batch(clip, 2)
    with torch.no_grad():
        assert torch.equal(trainable(again)(images, classes), model(images, classes))


def test_weights_copied_without_their_settings_are_refused(clip, tmp_path):
    path = tmp_path / "tuned.safetensors"
    save_clip(path, clip.model, view=clip.view, made={})
    sidecar_path(path).unlink()
    with pytest.raises(BackboneError, match=r"expected its settings in tuned.safetensors.json, found none"):
        load_clip(BackboneConfig(name=str(tmp_path / "model"), weights=str(path)))


def test_half_precision_is_not_trained(tmp_path):
    name = str(write_config(tmp_path / "small.json"))
    clip = load_clip(BackboneConfig(name=name, weights="random:0", precision="bf16"))
    with pytest.raises(ValueError, match=r"expected weights in fp32 to train, found bf16"):
        trainable(clip)
