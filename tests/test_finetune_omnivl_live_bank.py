"""What heads see of a bank, and what they see of the same frames through the tower that made it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.taps import FrozenTower
from decoders.draws import Draws, seeded
from decoders.omnivl.adapter import BankVisual
from decoders.omnivl.config import AdapterConfig, ObjectiveConfig
from decoders.omnivl.language.heads import OmniVLHeads
from decoders.omnivl.language.vocabulary import text_tokenizer
from decoders.omnivl.pretraining.trainer import Pretrainer, Seen
from decoders.omnivl.pretraining.wording import Texts
from finetune.omnivl.live_bank import LiveBankVisual
from storage import array_name
from tests.live_banks import write_live_bank
from tests.small_clips import small_model
from tests.small_heads import SMALL, small_heads
from tests.small_mixed_bank import small_config
from tests.small_visuals import moved

FRAMES = 3
TEXTS = text_tokenizer(SMALL.context)(["a red circle", "two blue squares", "a cat"])


def live(blocks=(1, 2, 3)):
    tower = FrozenTower(small_model(2).visual, blocks, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    config = AdapterConfig(blocks=2, layers=1, heads=2, pool=2, frames=FRAMES)
    with seeded(0):
        return LiveBankVisual(tower, BankVisual(config, SMALL, width=tower.width, grid=tower.grid)).eval()


def frames(length):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, length, 64, 64, 3), generator=generator, dtype=torch.uint8)


def of_bank(model, bank):
    found = [bank.read(array_name(block, "out"), np.arange(3)) for block in model.blocks]
    return model.adapter([torch.from_numpy(each) for each in found])


@pytest.mark.parametrize("length", [1, FRAMES])
@torch.no_grad()
def test_a_bank_and_its_tower_are_seen_alike_by_the_same_heads(length, tmp_path):
    model, heads = moved(live()), small_heads().eval()
    expected = model(model.normalised(frames(length)))
    bank = write_live_bank(tmp_path / "bank", model, frames(length), attention="none")
    found = of_bank(model, bank)
    bank.close()
    torch.testing.assert_close(found.embedding, expected.embedding, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.tokens, expected.tokens, atol=2e-2, rtol=0)
    other = OmniVLHeads(SMALL).eval()
    other.load_state_dict(heads.state_dict(), strict=True)
    torch.testing.assert_close(other.match(expected, TEXTS), heads.match(found, TEXTS), atol=1e-2, rtol=0)


@torch.no_grad()
def test_in_fp32_both_tiers_are_equal():
    """Tokens as a bank would keep them without rounding: of a tower with other taps, a clip at a time."""
    model, heads = moved(live()), small_heads().eval()
    images = model.normalised(frames(FRAMES))
    expected = model(images)
    tower = FrozenTower(model.tower.visual, (0, 2, 3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    taps = [tower(clip) for clip in images]
    found = model.adapter([torch.stack([each.out[block] for each in taps]) for block in model.blocks])
    for left, right in (
        (found.embedding, expected.embedding),
        (found.tokens, expected.tokens),
        (heads.match(found, TEXTS), heads.match(expected, TEXTS)),
    ):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


def test_a_training_on_either_tier_has_the_same_losses():
    """The same adapter, once on tokens as a bank gives them, once behind the tower."""
    behind = live()
    images = {length: behind.normalised(frames(length)) for length in (1, FRAMES)}
    tokens = {length: behind.features(found) for length, found in images.items()}
    losses = {"bank": [], "live": []}
    for tier, found in losses.items():
        visual = live() if tier == "live" else live().adapter
        config = replace(small_config(), heads=SMALL, objective=ObjectiveConfig(queue=6, momentum=0.9))
        trainer = Pretrainer(config, visual, small_heads())
        for step, length in enumerate((1, FRAMES, 1, FRAMES)):
            draws = Draws(seed=0, step=step, rows=slice(0, 3), total=3, device=torch.device("cpu"))
            inputs = (images if tier == "live" else tokens)[length]
            found.append(trainer.learn(step, [Seen(inputs=inputs, texts=texts(), draws=draws)]))
    for bank_step, live_step in zip(losses["bank"], losses["live"], strict=True):
        assert {name: value.item() for name, value in live_step.items()} == pytest.approx(
            {name: value.item() for name, value in bank_step.items()}, rel=1e-5, abs=1e-5
        )


def texts():
    numbers = torch.arange(3)
    captions = torch.zeros(3, dtype=torch.bool)
    return Texts(
        tokens=TEXTS, ids=numbers, classes=torch.full_like(numbers, -1), prompts=captions, same=numbers
    )


def test_only_the_adapter_is_trained_and_saved():
    model = live()
    assert all(name.startswith("adapter.") for name in model.state_dict())
    model.requires_grad_(True).train()
    model(torch.randn(1, FRAMES, 3, 64, 64)).embedding[:, 0].sum().backward()
    assert all(not values.requires_grad and values.grad is None for values in model.tower.parameters())
    assert any(values.grad is not None for values in model.parameters())


def test_towers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected 2 tapped blocks"):
        live(blocks=(3,))
    wide = FrozenTower(small_model(2, width=32).visual, (2, 3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"width and grid \(64, \(4, 4\)\)"):
        LiveBankVisual(wide, live().adapter)
