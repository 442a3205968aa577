import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from rich.console import Console
from safetensors.torch import load_file
from torch.nn import functional

from demo.stills import draw_stills
from demo.train_clip import (
    MODEL,
    WEIGHTS,
    ClipTraining,
    Window,
    build_optimisers,
    contrastive_loss,
    look_around,
    rate,
    run_round,
    train,
)

SHORT = ClipTraining(steps=3, easy=2, whole=1, batch=6, warmup=1, test_stills=8)


def test_loss_is_clips_where_every_caption_fits_one_still():
    image, text = functional.normalize(torch.randn(2, 5, 8, generator=torch.manual_seed(0)), dim=2)
    ours = contrastive_loss(image, text, torch.tensor(14.0), torch.eye(5, dtype=torch.bool))
    torch.testing.assert_close(ours, ClipLoss()(image, text, torch.tensor(14.0)))


def test_loss_asks_nothing_between_two_captions_that_are_both_true():
    image = functional.normalize(torch.randn(3, 8, generator=torch.manual_seed(0)), dim=1)
    text = image[[0, 0, 2]].clone().requires_grad_()
    true = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    contrastive_loss(image[[0, 0, 2]], text, torch.tensor(100.0), true).backward()
    assert text.grad is not None
    torch.testing.assert_close(text.grad[0], text.grad[1])


def test_window_keeps_the_class_token_and_the_patches_around_the_point():
    tokens = torch.arange(1 + 16).float().view(1, 17, 1).expand(3, 17, 1)
    window = Window(torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.25]]), grid=4, side=2)
    expected = [[0, 1, 2, 5, 6], [0, 11, 12, 15, 16], [0, 2, 3, 6, 7]]
    assert window(tokens)[..., 0].int().tolist() == expected


def test_window_holds_the_object():
    batch = draw_stills(6, np.random.default_rng(0), empty=0.0)
    window = look_around(batch, SHORT, np.random.default_rng(0))
    seen = window(torch.arange(65).view(1, 65, 1).expand(6, 65, 1))[..., 0]
    middles = 1 + (batch.sprites.y * 8).astype(int) * 8 + (batch.sprites.x * 8).astype(int)
    assert all(middle in row for middle, row in zip(middles.tolist(), seen.tolist(), strict=True))


def test_rate_rises_and_falls():
    config = ClipTraining(steps=100, easy=50, whole=10, warmup=10)
    rates = [rate(step, config) for step in range(100)]
    assert rates[0] == 0.1
    assert max(rates) == 1.0
    assert rates[-1] < 0.001


def test_words_not_in_a_batch_are_left_alone(tmp_path: Path):
    torch.manual_seed(SHORT.seed)
    before = CLIP(**MODEL).token_embedding.weight.detach().clone()
    after = train(SHORT, tmp_path, Console(quiet=True)).token_embedding.weight
    changed = (before != after).any(dim=1)
    assert 3 < changed.sum() < 60


@pytest.mark.parametrize("muon", [False, True])
def test_every_parameter_has_one_optimiser_and_decay_falls_on_matrices(muon: bool):
    model = CLIP(**MODEL)
    groups = [
        group for opt in build_optimisers(model, replace(SHORT, muon=muon)) for group in opt.param_groups
    ]
    assert len(groups) == (3 if muon else 2)
    spared = [p for group in groups if group["weight_decay"] == 0 for p in group["params"]]
    assert any(p is model.token_embedding.weight for p in spared)
    assert any(p is model.visual.positional_embedding for p in spared)
    given = [id(p) for group in groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())


def test_training_twice_gives_the_same_weights_and_a_folder_that_loads(tmp_path: Path):
    for name in ("one", "two"):
        run_round(SHORT, tmp_path / name, Console(quiet=True), resume=False)
    one, two = ((tmp_path / name / "open_clip_model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    model = open_clip.create_model(f"local-dir:{tmp_path / 'one'}")
    assert isinstance(model, CLIP)
    report = json.loads((tmp_path / "one" / "zero_shot.json").read_text())
    assert report["zero_shot"]["stills"] == 8
    assert [done["training"]["steps"] for done in report["rounds"]] == [3]


def test_a_second_round_goes_on_from_the_weights_of_the_first(tmp_path: Path):
    run_round(SHORT, tmp_path, Console(quiet=True), resume=False)
    first = load_file(tmp_path / WEIGHTS)
    run_round(
        replace(SHORT, seed=1, steps=1, easy=0, muon=True, learning_rate=1e-4),
        tmp_path,
        Console(quiet=True),
        resume=True,
    )
    second = load_file(tmp_path / WEIGHTS)
    moved = [(first[name].float() - second[name].float()).abs().max().item() for name in first]
    assert 0 < max(moved) < 1e-3
    assert len(json.loads((tmp_path / "zero_shot.json").read_text())["rounds"]) == 2


@pytest.mark.parametrize("wrong", [{"whole": 5000}, {"test_seed": 0}])
def test_impossible_configs_are_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ClipTraining(**wrong)
