"""Reading ahead, and what a batch holds."""

import threading
import time

import numpy as np
import pytest
import torch

from backbones.maps import cross_frame_maps
from decoders.clips import ClipOrder, labelled_clips
from decoders.dataset import AHEAD, FeatureReader, evaluation_batches, prefetch, training_batches
from storage import Bank
from tests.small_banks import row_values, small_spec
from tests.small_runs import write_learnable_bank

CPU = torch.device("cpu")
CLASSES = ("class 0", "class 1")


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    return {
        mode: Bank.open(write_learnable_bank(folder / mode, spec=small_spec(attention=mode, views=2)))
        for mode in ("maps", "qk")
    }


def reader_of(bank, *, maps=True, dtype=torch.float32, blocks=(2, 3)):
    return FeatureReader(bank, blocks, maps=maps, device=CPU, dtype=dtype)


def test_rows_come_in_order_and_dtype(banks):
    rows = np.array([5, 0, 9])
    features = reader_of(banks["maps"], dtype=torch.bfloat16).read(rows)
    assert len(features) == 2
    for block, found in zip((2, 3), features, strict=True):
        for row, values in zip(rows, found.map_prev, strict=True):
            expected = row_values(banks["maps"].spec, int(row))[f"features/block{block:02d}/map_prev"]
            assert torch.equal(values, torch.from_numpy(expected).to(torch.bfloat16))
        assert found.out.dtype == torch.bfloat16
        assert found.out.shape == (3, 3, 7, 16)


def test_maps_are_only_read_where_they_are_used(banks):
    (features,) = reader_of(banks["maps"], maps=False, blocks=(3,)).read(np.array([1]))
    assert features.map_prev is None
    assert features.map_next is None


def test_queries_and_keys_become_maps(banks):
    (features,) = reader_of(banks["qk"], blocks=(3,)).read(np.array([4]))
    values = row_values(banks["qk"].spec, 4)
    q, k = (torch.from_numpy(values[f"features/block03/{tap}"][None]) for tap in "qk")
    expected = cross_frame_maps(q, k)
    torch.testing.assert_close(features.map_prev, expected[0])
    torch.testing.assert_close(features.map_next, expected[1])


def test_pieces_of_a_batch_are_the_batch(banks):
    clips = labelled_clips(banks["maps"], split="train", label="label", classes=CLASSES)
    order = ClipOrder(clips, seed=0)
    whole = list(training_batches(reader_of(banks["maps"]), order, range(2, 4), 6, 1))
    pieces = list(training_batches(reader_of(banks["maps"]), order, range(2, 4), 6, 3))
    assert len(whole) == 2
    assert len(pieces) == 6
    assert torch.equal(torch.cat([piece.targets for piece in pieces[:3]]), whole[0].targets)
    assert torch.equal(torch.cat([piece.features[1].out for piece in pieces[3:]]), whole[1].features[1].out)
    rows, targets = order.batch(2, 6)
    assert whole[0].targets.tolist() == targets.tolist()
    assert torch.equal(whole[0].features[0].out, reader_of(banks["maps"]).read(rows)[0].out)


def test_evaluation_sees_each_clip_once_with_its_views(banks):
    clips = labelled_clips(banks["maps"], split="test", label="label", classes=CLASSES)
    batches = list(evaluation_batches(reader_of(banks["maps"]), clips, 6))
    assert [len(batch.targets) for batch in batches] == [3, 3, 2]
    assert [len(batch.features[0].out) for batch in batches] == [6, 6, 4]
    found = torch.cat([batch.features[0].out for batch in batches])
    assert torch.equal(found, reader_of(banks["maps"]).read(clips.rows.reshape(-1))[0].out)


def test_prefetch_is_bounded_and_ends_its_thread():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i

    ahead = prefetch(items())
    assert next(ahead) == 0
    time.sleep(0.3)
    assert len(made) <= AHEAD + 3
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "framebank-read"]
    assert list(prefetch(iter(range(10)))) == list(range(10))


def test_errors_of_the_thread_reach_the_consumer():
    def items():
        yield 1
        raise OSError("disk gone")

    ahead = prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(ahead)
