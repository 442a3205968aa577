"""The forms of the benchmark of training, a step each, on a small tower."""

import torch

from backbones.config import BackboneConfig
from backbones.taps import FrozenTower
from backbones.weights import load_clip
from benchmarks.labelled_bank import write_bank
from benchmarks.train import LAYERS, bank_steps, end_to_end_steps, online_steps, rows_of
from tests.small_clips import write_config


def small_tower(folder) -> FrozenTower:
    clip = load_clip(BackboneConfig(name=str(write_config(folder / "tiny.json")), weights="random:0"))
    return FrozenTower(clip.model.visual, range(LAYERS), clip.mean, clip.std)


def test_every_form_takes_steps(tmp_path):
    write_bank(tmp_path / "bank", rows_of(small_tower(tmp_path)), "float16")
    for steps in (bank_steps(tmp_path / "bank"), online_steps(small_tower(tmp_path))):
        next(steps)
        next(steps)
        steps.close()


def test_end_to_end_the_tower_itself_learns(tmp_path):
    tower = small_tower(tmp_path)
    before = {name: weight.clone() for name, weight in tower.named_parameters()}
    steps = end_to_end_steps(tower)
    next(steps)
    next(steps)
    moved = [name for name, weight in tower.named_parameters() if not torch.equal(weight, before[name])]
    assert len(moved) > len(before) / 2
