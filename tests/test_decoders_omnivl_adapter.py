"""A bank's tokens as heads see them."""

import pytest
import torch
from einops import repeat

from decoders.draws import seeded
from decoders.omnivl.adapter import BankVisual
from decoders.omnivl.config import AdapterConfig
from decoders.omnivl.language.vocabulary import text_tokenizer
from tests.small_heads import SMALL, small_heads
from tests.small_visuals import moved
from training.optim import OptimConfig, make_adamw

FRAMES = 3


def adapter(**changes):
    config = AdapterConfig(**({"blocks": 2, "layers": 2, "heads": 2, "frames": FRAMES} | changes))
    with seeded(0):
        return BankVisual(config, SMALL, width=12, grid=(4, 6))


def features(frames, count=2, clips=5):
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(clips, frames, 25, 12, generator=draw) for _ in range(count)]


@pytest.mark.parametrize(("pool", "patches"), [(1, 24), (2, 6)])
@pytest.mark.parametrize("frames", [1, FRAMES])
def test_shapes(pool, patches, frames):
    model = adapter(pool=pool)
    seen = model(features(frames))
    assert seen.mask is None
    assert seen.tokens.shape == (5, frames * (1 + patches), 16) == (5, model.tokens_of(frames), 16)
    torch.testing.assert_close(seen.embedding.norm(dim=-1), torch.ones(5))
    assert seen.embedding.shape == (5, 8)


@pytest.mark.parametrize("pool", [1, 2])
def test_a_repeated_frame_is_seen_as_the_image_when_clips_come_first(pool):
    model = adapter(pool=pool)
    images = features(1)
    image = model(images)
    clip = model([repeat(found, "n 1 l c -> n t l c", t=FRAMES) for found in images])
    torch.testing.assert_close(clip.embedding, image.embedding, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(clip.tokens, image.tokens.tile(1, FRAMES, 1), atol=1e-5, rtol=1e-5)
    heads, texts = small_heads(), text_tokenizer(SMALL.context)(["a red circle"] * 5)
    torch.testing.assert_close(heads.match(clip, texts), heads.match(image, texts), atol=1e-5, rtol=1e-5)


def test_squares_of_patches_are_averaged():
    model = adapter(blocks=1, layers=0, pool=2)
    [found] = features(1, count=1)
    read = model.readers[0]
    squares = read.norm(found[0, 0, 1:]).reshape(2, 2, 3, 2, 12).mean((1, 3)).reshape(6, 12)
    expected = model.norm(read.project(squares) + model.positions[1:])
    torch.testing.assert_close(model([found]).tokens[0, 1:], expected)


def test_all_blocks_are_read_and_none_is_mutated():
    model = adapter()
    found = features(1)
    copies = [each.clone() for each in found]
    seen = model(found)
    assert all(torch.equal(*pair) for pair in zip(found, copies, strict=True))
    for block in range(2):
        changed = [each.flip(-1) if place == block else each for place, each in enumerate(found)]
        assert (model(changed).tokens - seen.tokens).abs().max() > 0.1


def test_stored_types_are_read_in_fp32():
    model = adapter()
    seen, half = model(features(1)), model([found.half() for found in features(1)])
    assert half.tokens.dtype == torch.float32
    torch.testing.assert_close(half.tokens, seen.tokens, atol=2e-2, rtol=0)


def test_steps_on_images_leave_time_bit_equal():
    model = moved(adapter())
    optimizer = make_adamw(model.parameters(), OptimConfig(lr=1e-2, weight_decay=0.5))
    before = {name: values.clone() for name, values in model.state_dict().items()}
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        seen = model(features(1))
        (seen.embedding[:, 0].sum() + seen.tokens.square().mean()).backward()
        optimizer.step()
    kept = {name for name, values in model.state_dict().items() if torch.equal(values, before[name])}
    assert kept == {name for name in before if ".temporal." in name}


def test_order_counts_once_time_has_learned():
    clips, order = features(FRAMES), torch.tensor([2, 0, 1])
    turned = [found[:, order] for found in clips]
    new, learned = adapter(), moved(adapter())
    torch.testing.assert_close(new(turned).embedding, new(clips).embedding, atol=1e-6, rtol=1e-5)
    assert (learned(turned).embedding - learned(clips).embedding).abs().max() > 1e-3


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="squares of 4 x 4 patches fill, found one of 4 x 6"):
        adapter(pool=4)
    with pytest.raises(ValueError, match="adapter's 3 heads share, found 16"):
        adapter(heads=3)
    for wrong in (features(1, count=1), [found[:, :, 1:] for found in features(1)]):
        with pytest.raises(ValueError, match="in the last 2 blocks"):
            adapter()(wrong)
    with pytest.raises(ValueError, match="images or clips of 3 frames"):
        adapter()(features(2))
