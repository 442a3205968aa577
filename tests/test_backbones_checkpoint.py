"""Weight files of every kind, sound and broken, in real bytes."""

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from backbones.checkpoint import read_checkpoint
from backbones.errors import BackboneError
from tests.small_clips import small_model, tensors_of, write_openai_archive


class Trap:
    """A pickle of this makes a folder when it is loaded carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_safetensors_whatever_the_ending(tmp_path):
    tensors = tensors_of(small_model())
    save_file(tensors, tmp_path / "weights.bin")
    found = read_checkpoint(tmp_path / "weights.bin")
    assert found.tensors.keys() == tensors.keys()
    assert found.quick_gelu is None
    assert not found.openvclip


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state"])
def test_torch_files_are_peeled(tmp_path, wrapper, prefix, modern):
    tensors = {"visual.proj": torch.randn(3, 2), "logit_scale": torch.tensor(4.6)}
    content = {prefix + name: tensor for name, tensor in tensors.items()}
    content = {wrapper: content, "epoch": 3} if wrapper else content
    torch.save(content, tmp_path / "weights.pt", _use_new_zipfile_serialization=modern)
    found = read_checkpoint(tmp_path / "weights.pt")
    torch.testing.assert_close(found.tensors, tensors, rtol=0, atol=0)
    assert found.openvclip == (wrapper == "model_state")


def test_openai_archive(tmp_path):
    model = small_model()
    found = read_checkpoint(write_openai_archive(tmp_path / "clip.pt", model))
    assert found.quick_gelu is True
    assert found.tensors.keys() == model.state_dict().keys()
    assert found.tensors["visual.proj"].dtype == torch.float16


def test_openai_entries_in_a_plain_state_dict(tmp_path):
    torch.save({**tensors_of(small_model()), "input_resolution": torch.tensor(64)}, tmp_path / "clip.pt")
    found = read_checkpoint(tmp_path / "clip.pt")
    assert found.quick_gelu is True
    assert "input_resolution" not in found.tensors


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    torch.save({"state_dict": Trap(tmp_path / "sprung")}, tmp_path / "trap.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    for name, culprit in (("trap.pt", "it names posix.mkdir"), ("bare.pt", "refused it")):
        with pytest.raises(BackboneError, match=f"may run code .*{culprit}") as refusal:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(refusal.value)
    assert not (tmp_path / "sprung").exists()


def test_truncated_files(tmp_path):
    model = small_model()
    save_file(tensors_of(model), tmp_path / "a.safetensors")
    torch.save(tensors_of(model), tmp_path / "b.pt")
    torch.save(tensors_of(model), tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    write_openai_archive(tmp_path / "d.pt", model)
    for path in sorted(tmp_path.iterdir()):
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        with pytest.raises(BackboneError, match="truncated or damaged") as refusal:
            read_checkpoint(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!doctype html><title>not found</title>", "neither safetensors nor a PyTorch file"),
    ],
)
def test_files_that_are_no_weights(tmp_path, content, said):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(BackboneError, match=said):
        read_checkpoint(tmp_path / "weights.pt")


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3, "loss": 0.5}, {"state_dict": {"a": 1}}])
def test_torch_files_without_tensors(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(BackboneError, match="expected"):
        read_checkpoint(tmp_path / "weights.pt")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(BackboneError, match="found nothing there"):
        read_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(BackboneError, match="found a folder there"):
        read_checkpoint(tmp_path)
