"""Moving averages of what is learned."""

import torch
from torch import nn

from decoders.omnivl.pretraining.momentum import MomentumCopy
from tests.small_heads import small_heads


def parts():
    """A frozen part, a learned one, a buffer."""
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2), nn.BatchNorm1d(2))
    module[0].requires_grad_(False)
    return module


def test_the_formula():
    module = parts()
    twin = MomentumCopy(module, 0.9)
    expected = module[1].weight.detach().clone()
    for step in range(3):
        with torch.no_grad():
            module[1].weight.add_(step + 1)
        twin.update()
        expected = 0.9 * expected + 0.1 * module[1].weight.detach()
        torch.testing.assert_close(twin.module[1].weight, expected)


def test_it_begins_equal_and_does_not_follow_by_itself():
    module, values = parts().eval(), torch.randn(4, 3)
    twin = MomentumCopy(module, 0.9)
    before = module(values)
    assert torch.equal(twin.module(values), before)
    with torch.no_grad():
        module[1].bias.add_(1)
    assert torch.equal(twin.module(values), before)


def test_frozen_parts_are_shared_and_learned_ones_are_not():
    module = parts()
    twin = MomentumCopy(module, 0.9)
    assert twin.module[0].weight is module[0].weight
    assert twin.module[1].weight is not module[1].weight
    assert not any(one.requires_grad for one in twin.parameters())
    assert [one.requires_grad for one in module.parameters()] == [False] * 2 + [True] * 4


def test_buffers_are_taken_over():
    module = parts()
    twin = MomentumCopy(module, 0.9)
    module(torch.randn(4, 3))
    assert not torch.equal(twin.module[2].running_mean, module[2].running_mean)
    twin.update()
    assert torch.equal(twin.module[2].running_mean, module[2].running_mean)
    assert twin.module[2].running_mean is not module[2].running_mean


def test_both_may_move():
    module = parts()
    twin = MomentumCopy(module, 0.5).double()
    module.double()(torch.randn(4, 3, dtype=torch.float64))
    with torch.no_grad():
        module[1].bias.fill_(1)
    before = twin.module[1].bias.clone()
    twin.update()
    torch.testing.assert_close(twin.module[1].bias, (before + 1) / 2)
    assert torch.equal(twin.module[2].running_mean, module[2].running_mean)


def test_the_original_is_no_part_of_its_twin():
    module = parts()
    names = MomentumCopy(module, 0.9).state_dict().keys()
    assert names == {f"module.{name}" for name in module.state_dict()}


def test_a_state_goes_on():
    module = parts()
    first = MomentumCopy(module, 0.9)
    with torch.no_grad():
        module[1].weight.add_(1)
    first.update()
    second = MomentumCopy(module, 0.9)
    second.load_state_dict(first.state_dict())
    for twin in (first, second):
        twin.update()
    assert torch.equal(first.module[1].weight, second.module[1].weight)


def test_a_frozen_module_has_nothing_to_average():
    module = nn.Linear(2, 2).requires_grad_(False)
    twin = MomentumCopy(module, 0.9)
    twin.update()
    assert twin.module.weight is module.weight


def test_the_text_encoders_twin_has_a_table_of_its_own():
    heads = small_heads()
    twin = MomentumCopy(heads.text, 0.5)
    table = twin.module.blocks.words.table
    assert table.weight is not heads.generate.blocks.words.table.weight
    assert torch.equal(table.weight, heads.generate.blocks.words.table.weight)
