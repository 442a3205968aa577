"""Checkpoints: whole or absent, plain tensors, newest kept."""

import pickle

import pytest
import torch

from training.checkpoint import (
    CheckpointError,
    checkpoint_path,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)


def test_round_trip_and_the_newest_are_kept(tmp_path):
    for step in (5, 10, 100):
        save_checkpoint(tmp_path, {"model": {"w": torch.full((2,), step)}, "next_step": step}, keep=2)
    assert list_checkpoints(tmp_path) == [10, 100]
    assert latest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 100)
    state = load_checkpoint(tmp_path / "checkpoint-100.pth")
    assert state["next_step"] == 100
    assert state["model"]["w"].tolist() == [100, 100]


def test_a_crash_while_writing_leaves_the_old_one(tmp_path):
    save_checkpoint(tmp_path, {"next_step": 5}, keep=2)
    (tmp_path / "checkpoint-10.pth.tmp").write_bytes(b"half")
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-5.pth"


def test_no_checkpoint_yet(tmp_path):
    assert latest_checkpoint(tmp_path) is None


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran code')",))


def test_unreadable_files_are_named_and_code_never_runs(tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(path)
    torch.save({"model": Bomb()}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path)
    for content in (b"", b"random bytes"):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"x\.pth"):
            load_checkpoint(path)
    torch.save({"w": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="expected a dict"):
        load_checkpoint(path)
