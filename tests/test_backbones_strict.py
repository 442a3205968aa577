"""Weights that do not fit are refused, with names and shapes."""

import pytest
import torch

from backbones.errors import BackboneError
from backbones.strict import fill
from tests.small_clips import small_model, tensors_of


def refuse(tensors):
    model = small_model(1)
    before = tensors_of(model)
    with pytest.raises(BackboneError) as refusal:
        fill(model, tensors, name="small", path="w.pt")
    assert "\n" not in str(refusal.value)
    torch.testing.assert_close(tensors_of(model), before, rtol=0, atol=0)
    return str(refusal.value)


def test_missing_unexpected_and_misshapen_are_named():
    tensors = tensors_of(small_model(2))
    del tensors["visual.ln_post.bias"]
    tensors["visual.extra"] = torch.zeros(1)
    tensors["visual.proj"] = torch.zeros(64, 16)
    said = refuse(tensors)
    assert said.startswith(
        "w.pt does not fit small: 1 missing: visual.ln_post.bias; 1 unexpected: visual.ext"
    )
    assert "1 of another shape: visual.proj (expected (64, 32), found (64, 16))" in said


def test_long_lists_are_cut():
    said = refuse({name: tensor for name, tensor in tensors_of(small_model()).items() if "ln_1" not in name})
    assert "12 missing" in said
    assert said.count("ln_1") == 3


def test_another_network_is_recognised_by_its_shapes():
    tensors = {
        "visual.conv1.weight": torch.zeros(1024, 3, 14, 14),
        "visual.positional_embedding": torch.zeros(257, 1024),
        **{f"visual.transformer.resblocks.{i}.attn.in_proj_weight": torch.zeros(1) for i in range(24)},
    }
    assert "by its shapes it fits ViT-L-14" in refuse(tensors)


def test_an_image_tower_alone_is_recognised():
    assert "give the whole CLIP's" in refuse(small_model().visual.state_dict())


def test_half_precision_is_widened_and_scalars_may_be_vectors():
    source, model = small_model(2), small_model(1)
    tensors = {name: tensor.half() for name, tensor in tensors_of(source).items()}
    tensors["logit_scale"] = tensors["logit_scale"].reshape(1)
    tensors["attn_mask"] = torch.zeros(20, 20)
    fill(model, tensors, name="small", path="w.pt")
    expected = {name: tensor.half().float() for name, tensor in tensors_of(source).items()}
    torch.testing.assert_close(tensors_of(model), expected, rtol=0, atol=0)
