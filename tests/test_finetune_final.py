"""Final weights: mixed as they should be, read by open_clip and by us; refused where they cannot be made."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones.config import BackboneConfig, TemporalView
from backbones.errors import BackboneError
from backbones.sidecar import sidecar_path
from backbones.weights import load_clip
from finetune.final import InterpolateCommand, interpolate, main
from tests.small_clips import small_model, tensors_of, write_config, write_openai_archive
from tests.test_backbones_checkpoint import Trap

VIEW = TemporalView(window=1, boundary="zeros")


def released(path, model, prefix="model."):
    """Weights as Open-VCLIP releases them."""
    torch.save({"model_state": {prefix + name: values for name, values in tensors_of(model).items()}}, path)
    return path


@pytest.fixture
def lab(tmp_path):
    """A network's name, OpenAI's archive of it, a released file, and what both hold."""
    clip, tuned = small_model(1, quick_gelu=True).half().float(), small_model(2, quick_gelu=True)
    name = str(write_config(tmp_path / "small.json"))
    archive = str(write_openai_archive(tmp_path / "clip.pt", clip))
    return name, archive, released(tmp_path / "swa.pth", tuned), tensors_of(clip), tensors_of(tuned)


def command_of(lab, out, **changes):
    values = {"tuned": (lab[2],), "name": lab[0], "clip": lab[1], "out": out}
    return InterpolateCommand(**(values | changes))


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
@pytest.mark.parametrize("share", [0.6, 1.0])
def test_the_mixture_in_a_file_that_open_clip_reads(lab, tmp_path, share, ending):
    out = tmp_path / f"out.{ending}"
    interpolate(command_of(lab, out, share=share))
    found = load_file(out) if ending == "safetensors" else torch.load(out, weights_only=True)
    assert {name: values.shape for name, values in found.items()} == {n: v.shape for n, v in lab[3].items()}
    for name, values in found.items():
        torch.testing.assert_close(values, share * lab[3][name] + (1 - share) * lab[4][name])
    theirs = open_clip.CLIP(**json.loads((tmp_path / "small.json").read_text()), quick_gelu=True)
    open_clip.load_checkpoint(theirs, str(out))
    ours = load_clip(BackboneConfig(name=lab[0], weights=str(out)))
    assert (ours.view, ours.quick_gelu) == (VIEW, True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.model.encode_image(images), theirs.eval().encode_image(images))


def test_several_checkpoints_are_averaged(lab, tmp_path):
    paths = tuple(released(tmp_path / f"{seed}.pyth", small_model(seed, quick_gelu=True)) for seed in (3, 4))
    interpolate(command_of(lab, tmp_path / "out.safetensors", tuned=paths, share=0.0))
    means = [(tensors_of(small_model(seed))["visual.proj"]) for seed in (3, 4)]
    found = load_file(tmp_path / "out.safetensors")["visual.proj"]
    torch.testing.assert_close(found, (means[0] + means[1]) / 2)


def test_weights_without_a_text_tower_keep_clips(lab, tmp_path):
    part = {name: v for name, v in lab[4].items() if name.startswith("visual.") or name == "logit_scale"}
    save_file(part, tmp_path / "part.safetensors")
    command = command_of(
        lab, tmp_path / "out.pt", tuned=(tmp_path / "part.safetensors",), window=2, boundary="masked"
    )
    assert interpolate(command).view == TemporalView(window=2, boundary="masked")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(found["text_projection"], lab[3]["text_projection"])
    again = command_of(lab, tmp_path / "again.pt", tuned=(tmp_path / "out.pt",))
    assert interpolate(again).view == TemporalView(window=2, boundary="masked")


def test_nobody_knows_the_view(lab, tmp_path):
    save_file(lab[4], tmp_path / "silent.safetensors")
    silent = command_of(lab, tmp_path / "out.pt", tuned=(tmp_path / "silent.safetensors",))
    with pytest.raises(ValueError, match=r"give --window and --boundary"):
        interpolate(silent)
    plain = command_of(lab, tmp_path / "out.pt", tuned=(tmp_path / "silent.safetensors",), window=0)
    assert interpolate(plain).view is None


def test_mistakes(lab, tmp_path):
    out = tmp_path / "out.pt"
    other = released(tmp_path / "wide.pth", small_model(1, width=96))
    with pytest.raises(BackboneError, match=r"wide.pth does not fit small: .* of another shape"):
        interpolate(command_of(lab, out, tuned=(other,)))
    torch.save({"model_state": Trap(tmp_path / "sprung")}, tmp_path / "trap.pth")
    with pytest.raises(BackboneError, match=r"may run code"):
        interpolate(command_of(lab, out, tuned=(tmp_path / "trap.pth",)))
    lab[2].write_bytes(lab[2].read_bytes()[:1000])
    with pytest.raises(BackboneError, match=r"swa.pth: truncated or damaged") as refusal:
        interpolate(command_of(lab, out))
    assert "\n" not in str(refusal.value)
    with pytest.raises(BackboneError, match=r"ends in .safetensors or .pt"):
        interpolate(command_of(lab, tmp_path / "out.bin"))
    assert not (tmp_path / "sprung").exists()
    assert not out.exists()


def test_a_share_beyond_the_line(lab, tmp_path):
    with pytest.raises(ValueError, match=r"from 0 to 1, found 1.5"):
        interpolate(command_of(lab, tmp_path / "out.pt", share=1.5))


def test_the_command(lab, tmp_path, capsys):
    out = tmp_path / "deep/out.safetensors"
    assert main([str(lab[2]), "--name", lab[0], "--clip", lab[1], "--out", str(out)]) == 0
    assert "window 1, boundary zeros" in " ".join(capsys.readouterr().out.split())
    settings = json.loads(sidecar_path(out).read_text())
    assert settings["temporal_view"] == {"window": 1, "boundary": "zeros"}
    assert settings["made"]["share"] == 0.5
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.safetensors", "out.safetensors.json"]
