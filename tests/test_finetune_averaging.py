"""Means of weights: as they go, from files, and gone on with after an interruption."""

import pytest
import torch

from backbones.errors import BackboneError
from finetune.averaging import RunningAverage, average_checkpoints


def weights(count):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "visual.a": torch.randn(3, 2, generator=generator),
            "logit_scale": torch.randn((), generator=generator),
        }
        for _ in range(count)
    ]


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_it_is_the_mean():
    average, seen = RunningAverage(), weights(21)
    for tensors in seen:
        average.add(tensors)
    for name in seen[0]:
        expected = torch.stack([tensors[name] for tensors in seen]).double().mean(0).float()
        torch.testing.assert_close(average.mean[name], expected, atol=1e-6, rtol=0)


def test_gone_on_with_and_from_files_it_is_the_same_to_the_bit(tmp_path):
    seen, whole, begun = weights(6), RunningAverage(), RunningAverage()
    for number, tensors in enumerate(seen):
        whole.add(tensors)
        if number < 3:
            begun.add(tensors)
        wrapped = {f"model.{name}": values for name, values in tensors.items()}
        torch.save({"epoch": number, "model_state": wrapped, "cfg": "A: 1"}, tmp_path / f"{number}.pyth")
    torch.save({"average": begun.state_dict()}, tmp_path / "checkpoint.pth")
    resumed = RunningAverage()
    resumed.load_state_dict(torch.load(tmp_path / "checkpoint.pth", weights_only=True)["average"])
    for tensors in seen[3:]:
        resumed.add(tensors)
    assert resumed.count == 6
    assert same(resumed.mean, whole.mean)
    assert same(average_checkpoints([tmp_path / f"{number}.pyth" for number in range(6)]), whole.mean)


def test_what_it_took_in_may_change_after():
    average, [tensors] = RunningAverage(), weights(1)
    average.add(tensors)
    tensors["visual.a"].zero_()
    assert average.mean["visual.a"].abs().sum() > 0


def test_mistakes(tmp_path):
    [first, second] = weights(2)
    torch.save({"model": first}, tmp_path / "a.pth")
    torch.save({"model": second | {"visual.a": torch.zeros(5)}}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"b.pth: expected the weights of one model, found visual.a"):
        average_checkpoints([tmp_path / "a.pth", tmp_path / "b.pth"])
    with pytest.raises(ValueError, match=r"found none"):
        average_checkpoints([])
    (tmp_path / "c.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:200])
    with pytest.raises(BackboneError, match=r"c.pth: truncated or damaged"):
        average_checkpoints([tmp_path / "a.pth", tmp_path / "c.pth"])
