"""Which clips, labels and order."""

from dataclasses import replace

import numpy as np
import pytest

from decoders.clips import ClipOrder, LabelledClips, class_list, labelled_clips
from storage import Bank, BankWriter
from tests.small_banks import clip_line, small_spec, write_shard
from tests.small_runs import write_learnable_bank


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    path = write_learnable_bank(tmp_path_factory.mktemp("clips") / "bank", train=6, test=4, skip=(2, 7))
    return Bank.open(path)


def test_classes_come_from_the_whole_bank(bank):
    assert class_list(bank.table, "label") == ("class 0", "class 1")
    assert class_list(bank.table, "parity") == ("even", "odd")
    with pytest.raises(ValueError, match="label sets: label, parity"):
        class_list(bank.table, "motion")


def test_only_written_clips_of_the_split(bank):
    clips = labelled_clips(bank, split="train", label="label", classes=("class 0", "class 1"))
    assert clips.rows.tolist() == [[0], [1], [3], [4], [5]]
    assert clips.targets.tolist() == [0, 1, 1, 0, 1]
    assert len(labelled_clips(bank, split="", label="label", classes=("class 0", "class 1"))) == 8
    odd = labelled_clips(bank, split="test", label="parity", classes=("even", "odd"))
    assert odd.targets.tolist() == [0, 0, 1]


def test_mistakes_are_named(bank):
    with pytest.raises(ValueError, match="its splits: 'test', 'train'"):
        labelled_clips(bank, split="val", label="label", classes=("class 0", "class 1"))
    with pytest.raises(ValueError, match="found 1; these clips were labelled with another class list"):
        labelled_clips(bank, split="train", label="label", classes=("class 0",))
    with pytest.raises(ValueError, match="found even"):
        labelled_clips(bank, split="train", label="parity", classes=("odd", "other"))
    with pytest.raises(ValueError, match="has a 'motion'"):
        labelled_clips(bank, split="train", label="motion", classes=("left", "right"))


def test_views_stay_together(tmp_path):
    spec = replace(small_spec(), views=3)
    bank = Bank.open(write_learnable_bank(tmp_path / "bank", train=3, test=1, spec=spec, skip=(1,)))
    clips = labelled_clips(bank, split="", label="label", classes=("class 0", "class 1"))
    assert clips.rows.tolist() == [[0, 1, 2], [6, 7, 8], [9, 10, 11]]
    assert clips.targets.tolist() == [0, 0, 1]


def test_clips_of_one_length(tmp_path):
    path, classes = tmp_path / "bank", ("class 0", "class 1")
    with BankWriter(path, small_spec(), shard_rows=2) as writer:
        writer.enrol([clip_line(number) | {"frames": 1 + number % 3} for number in range(6)])
        for shard in range(3):
            write_shard(path, shard, writer=writer)
    bank = Bank(path)
    asked = {"split": "train", "label": "label", "classes": classes}
    assert labelled_clips(bank, **asked).rows.tolist() == [[0], [1]]
    stills = labelled_clips(bank, **asked, arrays=[bank.array_name(2, "out", 1)])
    assert stills.rows.tolist() == [[2], [3]]
    assert stills.targets.tolist() == [0, 1]
    with pytest.raises(ValueError, match="its rows: 2 of 1 frames, 2 of 2 frames, 2 of 3 frames"):
        labelled_clips(bank, **(asked | {"split": "val"}))


def clips_of(count, views=1):
    rows = np.arange(count * views).reshape(count, views)
    return LabelledClips(rows=rows, targets=np.arange(count), unlabelled=0)


def test_every_clip_once_an_epoch_and_epochs_differ():
    order = ClipOrder(clips_of(10), seed=3)
    rows = np.concatenate([order.batch(step, 4)[0] for step in range(10)])
    epochs = rows.reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4


def test_order_is_a_function_of_seed_and_step():
    order = ClipOrder(clips_of(10, views=4), seed=3)
    ahead = [order.batch(step, 4) for step in range(8)]
    for step in (7, 2, 5):
        rows, targets = ClipOrder(clips_of(10, views=4), seed=3).batch(step, 4)
        assert np.array_equal(rows, ahead[step][0])
        assert np.array_equal(targets, rows // 4)
    assert not np.array_equal(ClipOrder(clips_of(10, views=4), seed=4).batch(0, 4)[0], ahead[0][0])


def test_each_epoch_draws_a_view_a_clip():
    order = ClipOrder(clips_of(10, views=4), seed=0)
    drawn = np.concatenate([order.batch(step, 10)[0] for step in range(40)]) % 4
    assert set(np.bincount(drawn) > 60) == {True}


def test_the_first_views_are_those_of_a_bank_with_fewer():
    clips = clips_of(10, views=4)
    assert clips.first_views(0).rows.tolist() == clips.rows.tolist()
    assert clips.first_views(2).rows.tolist() == clips.rows[:, :2].tolist()
    drawn = ClipOrder(clips.first_views(1), seed=0).batch(0, 10)[0]
    assert set(drawn % 4) == {0}
    with pytest.raises(
        ValueError, match=r"expected 5 views of each clip, found 4 .* --views.augmented-views 5"
    ):
        clips.first_views(5)


def test_ranks_share_a_batch():
    clips = clips_of(10, views=4)
    ranks = [ClipOrder(clips, seed=3, rank=rank, world=2) for rank in range(2)]
    for step in range(8):
        rows, targets = (np.concatenate(x) for x in zip(*(r.batch(step, 3) for r in ranks), strict=True))
        expected = ClipOrder(clips, seed=3).batch(step, 6)
        assert np.array_equal(rows, expected[0])
        assert np.array_equal(targets, expected[1])


def test_a_batch_may_be_larger_than_the_split():
    rows, _ = ClipOrder(clips_of(3), seed=0).batch(0, 7)
    assert sorted(np.bincount(rows).tolist()) == [2, 2, 3]


def test_digest_tells_sets_of_clips_apart():
    assert clips_of(3).digest == clips_of(3).digest != clips_of(4).digest
