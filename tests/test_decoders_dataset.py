"""Reading ahead, and what a batch holds."""

import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.maps import cross_frame_maps
from decoders.clips import ClipOrder, labelled_clips
from decoders.dataset import AHEAD, Batch, FeatureReader, evaluation_batches, training_batches
from decoders.shared_reader import SharedReader
from decoders.wanted import Wanted, everything
from storage import Bank, CorruptShard, array_name
from tests.small_banks import row_values, small_spec, write_bank
from tests.small_omnivl import write_mixed_bank
from tests.small_runs import write_learnable_bank

CPU = torch.device("cpu")
CLASSES = ("class 0", "class 1")
KEPT = [(attention, dtype) for attention in ("maps", "qk", "derived") for dtype in ("float16", "int8")]


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    return {
        mode: Bank.open(write_learnable_bank(folder / mode, spec=small_spec(attention=mode, views=2)))
        for mode in ("maps", "qk")
    }


def reader_of(bank, *, maps=True, dtype=torch.float32, blocks=(2, 3)):
    wanted = everything(*blocks)
    if not maps:
        wanted = replace(wanted, maps=frozenset())
    return FeatureReader(bank, wanted, device=CPU, dtype=dtype)


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


def test_pooled_frames_are_cls_and_a_block_is_decoded_once_for_all_its_layers(kept_bank):
    rows = np.array([7, 2])
    twice = Wanted(blocks=(3, 3), whole=frozenset(), maps=frozenset())
    reader = FeatureReader(kept_bank, twice, device=CPU, dtype=torch.float16)
    first, second = reader.read(rows)
    whole = FeatureReader(kept_bank, everything(3), device=CPU, dtype=torch.float16).read(rows)[0]
    assert first is second
    assert first.map_prev is None
    assert first.out.shape == (2, 3, 1, 16)
    assert first.out.untyped_storage().nbytes() == first.out.numel() * 2  # no other token is held
    assert torch.equal(first.out, whole.out[:, :, :1])
    assert len(reader.arrays) == len(
        [name for name in reader.arrays if name.startswith(array_name(3, "out"))]
    )


def test_several_decoders_share_what_they_read_of_a_block(kept_bank):
    rows = np.array([7, 2])
    pooled = Wanted(blocks=(2, 3), whole=frozenset(), maps=frozenset())
    wants = [everything(3, 3), pooled, replace(pooled, blocks=(2, 2))]
    readers = [FeatureReader(kept_bank, wanted, device=CPU, dtype=torch.float32) for wanted in wants]
    shared = SharedReader(readers)
    batch = Batch(features=shared.union.read(rows), targets=torch.zeros(3, 2, dtype=torch.int64))
    for reader, part in zip(readers, shared.parts(batch), strict=True):
        for found, alone in zip(part.features, reader.read(rows), strict=True):
            assert found.out.shape == alone.out.shape
            assert torch.equal(found.out, alone.out)
    assert batch.features[0].out.shape[2] == 1  # whole it would have been for nobody


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


def test_any_number_of_ranks_trains_on_the_same_clips(banks):
    clips = labelled_clips(banks["maps"], split="train", label="label", classes=CLASSES)
    reader = reader_of(banks["maps"], blocks=(3,))
    alone = list(training_batches(reader, ClipOrder(clips, 1), range(5), 6, 1))
    ranks = [
        list(training_batches(reader, ClipOrder(clips, 1, rank=rank, world=3), range(5), 2, 1))
        for rank in range(3)
    ]
    for whole, *shares in zip(alone, *ranks, strict=True):
        assert torch.equal(torch.cat([share.targets for share in shares]), whole.targets)
        assert torch.equal(torch.cat([share.features[0].out for share in shares]), whole.features[0].out)


@pytest.fixture(scope="module", params=KEPT, ids=lambda kept: "-".join(kept))
def kept_bank(request, tmp_path_factory):
    attention, dtype = request.param
    path = tmp_path_factory.mktemp("kept") / "bank"
    write_bank(path, 10, small_spec(attention=attention, dtype=dtype))
    return Bank(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16], ids=str)
def test_batches_own_their_memory(kept_bank, dtype):
    """All batches are kept while the loader's buffers are read into again and again."""
    clips = labelled_clips(kept_bank, split="train", label="label", classes=CLASSES)
    order, reader = ClipOrder(clips, seed=0), reader_of(kept_bank, dtype=dtype)
    batches = list(training_batches(reader, order, range(8), 3, 1))
    for step, batch in enumerate(batches):
        expected = reader.read(order.batch(step, 3)[0])
        for block, found in zip(expected, batch.features, strict=True):
            for tap in ("out", "map_prev", "map_next"):
                assert getattr(found, tap).dtype == dtype
                assert torch.equal(getattr(block, tap), getattr(found, tap))


def test_tokens_are_those_of_the_bank(kept_bank):
    rows = np.array([7, 2])
    for block, found in zip((2, 3), reader_of(kept_bank).read(rows), strict=True):
        np.testing.assert_allclose(found.out.numpy(), kept_bank.features(block, "out", rows), rtol=1e-6)


def own_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("framebank")]


def test_reading_ahead_is_bounded_and_ends_its_threads(banks):
    drawn = []

    class Watched(ClipOrder):
        def batch(self, step, size):
            drawn.append(step)
            return super().batch(step, size)

    clips = labelled_clips(banks["maps"], split="train", label="label", classes=CLASSES)
    order = Watched(clips, seed=0)
    with closing(training_batches(reader_of(banks["maps"]), order, range(100), 4, 1)) as batches:
        for done in range(1, 4):
            next(batches)
            time.sleep(0.1)
            assert done <= len(drawn) <= done + AHEAD + 1  # the loader is one further than the decoded
        assert own_threads()
    assert not own_threads()
    assert len(drawn) < 10


def test_damage_is_raised_at_its_batch(tmp_path):
    path = write_learnable_bank(tmp_path / "bank", train=20, test=1)
    file = path / array_name(3, "out") / "c/0/0/0/0"
    data = bytearray(file.read_bytes())
    data[13 * (3 * 7 * 16 * 2 + 4)] ^= 1
    file.write_bytes(data)
    bank = Bank(path)
    clips = labelled_clips(bank, split="train", label="label", classes=CLASSES)
    order = ClipOrder(clips, seed=0)
    bad = next(step for step in range(20) if 13 in order.batch(step, 2)[0])
    assert bad > 1
    batches = training_batches(reader_of(bank), order, range(20), 2, 1)
    for _ in range(bad):
        next(batches)
    with pytest.raises(CorruptShard, match="row slot 13"):
        next(batches)
    assert not own_threads()


def test_ctrl_c_in_a_step_leaves_no_thread(banks):
    clips = labelled_clips(banks["maps"], split="train", label="label", classes=CLASSES)

    def training():
        for batch in training_batches(reader_of(banks["maps"]), ClipOrder(clips, 0), range(1000), 4, 1):
            if batch.targets.sum() >= 0:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        training()
    assert not own_threads()


def test_ctrl_c_while_waiting_leaves_no_thread(banks):
    class Slow(Bank):
        def read(self, name, rows, out=None):
            time.sleep(0.02)
            return super().read(name, rows, out)

    clips = labelled_clips(banks["maps"], split="train", label="label", classes=CLASSES)
    batches = training_batches(reader_of(Slow(banks["maps"].path)), ClipOrder(clips, 0), range(10**6), 4, 1)
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt) as caught:
        for _ in batches:
            pass
    assert not own_threads(), caught  # although the traceback, and so what the frames own, is still there


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
def test_batches_reach_a_cuda_device_through_pinned_memory(kept_bank, dtype):
    clips = labelled_clips(kept_bank, split="train", label="label", classes=CLASSES)
    order, cuda = ClipOrder(clips, seed=0), torch.device("cuda")
    reader = FeatureReader(kept_bank, everything(2, 3), device=cuda, dtype=dtype)
    assert torch.from_numpy(reader.allocate((2, 3), np.dtype(np.float16))).is_pinned()
    for step, batch in enumerate(training_batches(reader, order, range(20), 3, 1)):
        torch.cuda._sleep(1_000_000)  # kernels lie behind, as in training
        total = sum(tensor.double().sum() for tensor in batch.tensors())
        rows, targets = order.batch(step, 3)
        expected = reader.batch({name: kept_bank.read(name, rows) for name in reader.arrays}, targets)
        torch.testing.assert_close(total, sum(tensor.double().sum() for tensor in expected.tensors()))


def test_rows_of_another_length_are_read_from_arrays_of_their_own(tmp_path):
    bank = write_mixed_bank(tmp_path / "bank")
    rows = bank.rows(frames=1)
    reader = FeatureReader(bank, everything(2, 3), device=CPU, dtype=torch.float32, frames=1)
    features = reader.read(rows)
    assert [tuple(block.out.shape) for block in features] == [(5, 1, 7, 16)] * 2
    assert all(block.map_prev is None for block in features)
    stored = bank.read(bank.array_name(3, "out", 1), rows)
    assert torch.equal(features[1].out, torch.from_numpy(stored).float())
