"""First in, first out, for batches of any size."""

import pytest
import torch

from decoders.omnivl.pretraining.queue import EmbeddingQueue
from decoders.omnivl.pretraining.univlc import EMPTY, univlc


def batch(first, count):
    """Rows that tell which they are."""
    ids = torch.arange(first, first + count)
    return ids[:, None].expand(count, 2).float(), -ids[:, None].expand(count, 2).float(), ids


@pytest.mark.parametrize("size", [0, 1, 2, 5, 7])
@pytest.mark.parametrize("counts", [
    [], [0], [3], [5], [6], [7], [20], [3, 3], [5, 5, 5], [2, 0, 4, 1], [20, 1], [1, 20, 3], [6, 6, 6, 6, 6],
])  # fmt: skip
def test_the_last_ones_are_kept(size, counts):
    queue, first = EmbeddingQueue(size, 2), 0
    for count in counts:
        queue.push(*batch(first, count))
        first += count
    last = list(range(max(0, first - size), first))
    filled = queue.ids != EMPTY
    assert sorted(queue.ids[filled].tolist()) == last
    assert torch.equal(queue.visual[filled, 0], queue.ids[filled].float())
    assert torch.equal(queue.text[filled, 1], -queue.ids[filled].float())


def test_it_wraps():
    queue = EmbeddingQueue(4, 2)
    queue.push(*batch(0, 3))
    assert queue.ids.tolist() == [0, 1, 2, EMPTY]
    queue.push(*batch(3, 2))
    assert queue.ids.tolist() == [4, 1, 2, 3]
    assert queue.cursor == 1


@pytest.mark.parametrize("size", [0, 4])
def test_keys_are_the_batch_and_then_what_is_kept(size):
    queue = EmbeddingQueue(size, 2)
    queue.push(*batch(10, 3))
    visual, text, ids = queue.keys(*batch(0, 2))
    kept = [10, 11, 12, EMPTY][:size]
    assert ids.tolist() == [0, 1, *kept]
    assert visual[:, 0].tolist() == [0, 1, *[max(one, 0) for one in kept]]
    assert text[:, 0].tolist() == [0, -1, *[-max(one, 0) for one in kept]]


def test_empty_slots_are_nobodys_negatives():
    visual, text, ids = torch.eye(3), torch.eye(3).flip(0), torch.arange(3)
    found = []
    for size in (0, 5):
        keys, _, key_ids = EmbeddingQueue(size, 3).keys(visual, text, ids)
        found.append(univlc(text, keys, ids, key_ids, temperature=0.1, positives="mean"))
    assert torch.equal(*found)


def test_it_is_part_of_the_state():
    first, second = EmbeddingQueue(4, 2), EmbeddingQueue(4, 2)
    first.push(*batch(0, 3))
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        queue.push(*batch(3, 3))
    assert first.ids.tolist() == second.ids.tolist() == [4, 5, 2, 3]
    assert torch.equal(first.visual, second.visual)


def test_what_is_pushed_needs_no_gradient():
    queue, (visual, text, ids) = EmbeddingQueue(4, 2), batch(0, 2)
    queue.push(visual.clone().requires_grad_(), text, ids)
    assert not queue.visual.requires_grad
