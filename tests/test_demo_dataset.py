"""The demo's videos and bank are made once."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from demo.dataset import build_bank, draw
from demo.world import WorldConfig


def quiet() -> Console:
    return Console(file=StringIO(), width=160)


def test_videos_of_other_settings_are_refused(tmp_path):
    world = WorldConfig(train=2, val=2, test=2, test_pairs=2)
    listing = draw(tmp_path, world, quiet())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()}
    assert draw(tmp_path, replace(world, workers=2), quiet()) == listing
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").iterdir()} == before
    with pytest.raises(ValueError, match="holds videos of other settings"):
        draw(tmp_path, replace(world, seed=1), quiet())


def test_the_bank_has_as_many_blocks_as_asked_for(without_ray, tmp_path):
    listing = draw(tmp_path / "videos", WorldConfig(train=2, val=2, test=2, test_pairs=2), quiet())
    bank = build_bank(tmp_path / "bank", listing, quiet(), last_blocks=4)
    assert bank.spec.blocks == (0, 1, 2, 3)
    assert len(bank.rows()) == 8
