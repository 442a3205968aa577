"""Settings beside weights: what they decide, and when they are refused."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from backbones.config import BackboneConfig, TemporalView
from backbones.errors import BackboneError
from backbones.sidecar import Sidecar, read_sidecar, sidecar_path, write_sidecar
from backbones.weights import load_clip
from tests.small_clips import small_model, tensors_of, write_config

VIEW = TemporalView(window=2, boundary="masked")


@pytest.fixture
def written(tmp_path):
    """Weights with settings beside them, and the name of their network."""
    name, path = str(write_config(tmp_path / "small.json")), tmp_path / "w.safetensors"
    save_file(tensors_of(small_model(3)), path)
    digest = load_clip(BackboneConfig(name=name, weights=str(path))).digest
    write_sidecar(path, Sidecar(digest=digest, quick_gelu=True, view=VIEW, made={"from": "a test"}))
    return name, path


def load(written, **options):
    return load_clip(BackboneConfig(name=written[0], weights=str(written[1]), **options))


def test_they_decide(written):
    clip = load(written)
    assert (clip.view, clip.quick_gelu) == (VIEW, True)
    assert clip.tower((1,)).view == VIEW
    found = read_sidecar(written[1])
    assert found is not None
    assert found.made == {"from": "a test"}
    assert load(written, window=2, boundary="masked").view == VIEW


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 1, "boundary": "masked"}, r"say window 2, boundary masked, asked for is window 1"),
        ({"window": 2, "boundary": "zeros"}, r"say window 2, boundary masked, asked for is window 2"),
        ({"window": 0}, r"asked for is plain CLIP"),
        ({"quick_gelu": False}, r"the settings beside the weights: QuickGELU; the option quick_gelu: GELU"),
    ],
)
def test_another_choice_is_refused(written, options, said):
    with pytest.raises(BackboneError, match=said):
        load(written, **options)


def test_weights_that_say_nothing_take_the_choice(written):
    sidecar_path(written[1]).unlink()
    assert load(written).view is None
    assert load(written, window=0).view is None
    assert load(written, window=1, boundary="zeros").view == TemporalView(window=1, boundary="zeros")


def test_openvclips_own_files_have_its_view(written):
    name, path = written
    tensors = {f"model.{key}": values for key, values in tensors_of(small_model(3)).items()}
    torch.save({"model_state": tensors}, path.with_name("swa.pth"))
    config = {"name": name, "weights": str(path.with_name("swa.pth"))}
    assert load_clip(BackboneConfig(**config)).view == TemporalView(window=1, boundary="zeros")
    assert load_clip(BackboneConfig(**config, window=0)).view is None


def test_settings_of_other_weights_are_noticed(written):
    save_file(tensors_of(small_model(4)), written[1])
    with pytest.raises(BackboneError, match=r"are those of other weights .* restore or remove .*\.json"):
        load(written)


@pytest.mark.parametrize(
    "damage",
    [
        {"temporal_view": {"window": 0, "boundary": "zeros"}},
        {"temporal_view": {"window": 1, "boundary": "none"}},
        {"temporal_view": {"window": 1}},
        {"temporal_view": 3},
        {"more": 1},
    ],
    ids=str,
)
def test_damaged_settings(written, damage):
    path = sidecar_path(written[1])
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(BackboneError, match=r"restore or remove it") as refusal:
        load(written)
    path.write_text("{")
    with pytest.raises(BackboneError, match=r"expected a JSON model description"):
        load(written)
    assert len(str(refusal.value)) < 600


def test_window_and_boundary_belong_together():
    halves: list[dict[str, Any]] = [{"window": 1}, {"boundary": "zeros"}, {"window": 0, "boundary": "zeros"}]
    for options in halves:
        with pytest.raises(BackboneError, match=r"expected window and boundary together"):
            BackboneConfig(name="ViT-B-16", **options)
    with pytest.raises(BackboneError, match=r"whole number from 1, found -1"):
        BackboneConfig(name="ViT-B-16", window=-1, boundary="zeros")
