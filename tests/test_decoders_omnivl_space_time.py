"""Divided space-time attention: nothing at first, never for images, and order once it has learned."""

import pytest
import torch
from einops import repeat
from open_clip.transformer import ResidualAttentionBlock

from decoders.draws import seeded
from decoders.omnivl.space_time import SpaceTimeBlock
from tests.small_visuals import moved
from training.optim import OptimConfig, make_adamw

FRAMES = 4


def block():
    with seeded(0):
        return SpaceTimeBlock(ResidualAttentionBlock(16, 2), FRAMES)


def tokens(*shape):
    return torch.randn(*shape, 7, 16, generator=torch.Generator().manual_seed(0))


def test_new_blocks_are_the_spatial_block_alone():
    found = block()
    clips = tokens(3, FRAMES)
    expected = found.spatial(clips.flatten(0, 1)).unflatten(0, (3, FRAMES))
    torch.testing.assert_close(found(clips), expected, atol=1e-6, rtol=1e-6)
    assert torch.equal(found.temporal(clips), clips)


def test_a_repeated_frame_gives_in_each_frame_what_the_image_gives():
    images = tokens(3, 1)
    found = block()
    torch.testing.assert_close(
        found(repeat(images, "n 1 l c -> n t l c", t=FRAMES)),
        repeat(found(images), "n 1 l c -> n t l c", t=FRAMES),
        atol=1e-6,
        rtol=1e-6,
    )


def test_against_attention_written_out():
    """One token after the other, with torch's own module."""
    temporal = moved(block()).temporal
    clips = tokens(2, FRAMES)
    expected = clips.clone()
    for token in range(clips.shape[2]):
        seen = temporal.norm(clips[:, :, token]) + temporal.positions
        expected[:, :, token] += temporal.attn(seen, seen, seen, need_weights=False)[0]
    torch.testing.assert_close(temporal(clips), expected, atol=1e-5, rtol=1e-5)


def test_images_pass_time_by():
    assert torch.equal(moved(block()).temporal(tokens(2, 1)), tokens(2, 1))


def test_steps_on_images_leave_time_bit_equal_and_those_on_clips_do_not():
    found = block()
    optimizer = make_adamw(found.parameters(), OptimConfig(lr=1e-2, weight_decay=0.5))
    before = {name: values.clone() for name, values in found.state_dict().items()}
    for _ in range(3):
        optimizer.zero_grad(set_to_none=True)
        found(tokens(2, 1)).square().sum().backward()
        assert all(values.grad is None for values in found.temporal.parameters())
        optimizer.step()
    kept = {name for name, values in found.state_dict().items() if torch.equal(values, before[name])}
    assert kept == {name for name in before if name.startswith("temporal.")}
    for _ in range(2):  # the first moves the output projection alone
        optimizer.zero_grad(set_to_none=True)
        found(tokens(2, FRAMES)).square().sum().backward()
        optimizer.step()
    after = found.state_dict()
    unmoved = [name for name in kept if torch.equal(after[name], before[name])]
    assert not unmoved


def test_order_counts_once_the_output_has_moved():
    clips, order = tokens(2, FRAMES), torch.tensor([2, 0, 3, 1])
    new, learned = block(), moved(block())
    torch.testing.assert_close(new(clips[:, order]), new(clips)[:, order])
    assert (learned(clips[:, order]) - learned(clips)[:, order]).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [2, FRAMES + 1])
def test_clips_of_another_length_are_refused(frames):
    with pytest.raises(ValueError, match=f"images or clips of {FRAMES} frames.*found clips of {frames}"):
        block()(tokens(1, frames))
