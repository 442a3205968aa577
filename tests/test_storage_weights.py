"""Queries and keys from the tokens before a block, and the weights that it takes, on disk."""

import numpy as np
import pytest
import torch

from backbones.config import BackboneConfig
from backbones.taps import FrozenTower
from backbones.weights import load_clip
from storage import Bank, BankWriter, CorruptShard, weight_name
from storage.places.local_place import LocalPlace
from storage.weights import block_weights, derive_qk
from tests.small_banks import frozen_weights, small_spec, write_bank
from tests.small_clips import write_config


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_derived_equals_tapped(tmp_path, library):
    clip = load_clip(BackboneConfig(name=str(write_config(tmp_path / "small.json")), weights="random:0"))
    tower = FrozenTower(clip.model.visual, blocks=(1, 2), mean=clip.mean, std=clip.std)
    with torch.inference_mode():
        taps = tower(torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
        weights = tower.query_key_weights(2)
        tokens = taps.out[1].clone()
        if library == "numpy":
            weights, tokens = {n: v.numpy() for n, v in weights.items()}, tokens.numpy()
        found = derive_qk(tokens, weights, tower.heads)
    for ours, theirs in zip(found, (taps.q[2], taps.k[2]), strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), atol=1e-5)


def test_they_come_back_and_damage_is_refused(tmp_path):
    path, spec = tmp_path / "bank", small_spec(attention="derived")
    write_bank(path, 2, spec)
    weights = Bank(path).weights
    assert weights.keys() == frozen_weights(spec).keys()
    for name, values in frozen_weights(spec).items():
        np.testing.assert_array_equal(weights[name], values)
    assert block_weights(weights, 3)["q_bias"] is weights[weight_name(3, "q_bias")]
    place, name = LocalPlace(path), "weights/block02/q_weight/c/0/0"
    data = bytearray(place.read(name))
    data[5] ^= 1
    place.write(name, bytes(data))
    with pytest.raises(CorruptShard, match=r"q_weight.*is not the weight that was written"):
        _ = Bank(path).weights


def test_a_bank_of_derived_attention_needs_them(tmp_path):
    with pytest.raises(ValueError, match="expected weights/block02/ln_weight of shape"):
        BankWriter(tmp_path / "bank", small_spec(attention="derived"))
    assert not (tmp_path / "bank/lease.json").exists()
