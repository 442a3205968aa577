"""Reading tensors from weight files that strangers made, without running anything that is inside them.

The format is told by the file's first bytes, never by its ending:

* safetensors: a length and a JSON header; holds nothing but tensors.
* TorchScript archive (how OpenAI publishes CLIP): a zip with a `code/` folder. Its code is never called.
* torch.save, as a zip or in the older form: read with `weights_only=True`, so a pickle that would call
  functions is refused rather than obeyed.

Training programs wrap the tensors: `state_dict` (open_clip), `model_state` (PySlowFast, hence Open-VCLIP),
`model` (framebank itself), and the prefixes `module.` (data parallel) and `model.`. All of them are peeled
off.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from backbones.architecture import first_line
from backbones.errors import BackboneError

WRAPPERS = ("state_dict", "model_state", "model")
PREFIXES = ("module.", "model.")
OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The tensors of a weight file under their plain names."""

    tensors: dict[str, Tensor]
    """Names without wrappers and prefixes; dtypes as stored."""
    quick_gelu: bool | None
    """True for OpenAI's own files, known by three entries that only they have; None where the file is
    silent."""
    openvclip: bool
    """Laid out as Open-VCLIP's releases are, all of them trained from OpenAI's weights."""


def read_checkpoint(path: Path) -> Checkpoint:
    """The tensors in a local weight file; BackboneError where it is missing, damaged or not a weight file."""
    if not path.is_file():
        raise BackboneError(
            f"{path}: expected a weight file, found {'a folder' if path.is_dir() else 'nothing'} there"
        )
    content = _read(path)
    wrapped_by = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
    tensors = _peel(content[wrapped_by] if wrapped_by else content)
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise BackboneError(f"{path}: expected named tensors, found {_summary(content)}; give a state dict")
    openai = any(entry in tensors for entry in OPENAI_ENTRIES)
    return Checkpoint(
        tensors={name: tensor for name, tensor in tensors.items() if name not in OPENAI_ENTRIES},
        quick_gelu=True if openai else None,
        openvclip=wrapped_by == "model_state",
    )


def _read(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise BackboneError(f"{path}: expected a weight file, found an empty one (0 bytes)")
    if head.startswith(b"version https://git-lfs"):
        raise BackboneError(
            f"{path}: a Git LFS pointer, not the weights; run `git lfs pull` where it came from"
        )
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(b"PK"):
        return _read_script(path) if _is_script(path) else _read_pickle(path)
    if head[:1] == b"\x80":
        return _read_pickle(path)
    raise BackboneError(f"{path}: neither safetensors nor a PyTorch file; its first bytes are {head[:8]!r}")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BackboneError(_damaged(path, error)) from error


def _is_script(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except zipfile.BadZipFile as error:
        raise BackboneError(_damaged(path, error)) from error


def _read_script(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            # PyTorch has announced the end of TorchScript; OpenAI's files exist in no other form.
            warnings.filterwarnings("ignore", message=".*torch.jit.load.*deprecated", category=FutureWarning)
            warnings.filterwarnings(
                "ignore", message=".*torch.jit.load.*deprecated", category=DeprecationWarning
            )
            return torch.jit.load(path, map_location="cpu").state_dict()
    except (RuntimeError, ValueError) as error:
        raise BackboneError(_damaged(path, error)) from error


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BackboneError(
            f"{path}: holds Python objects that may run code when read, so it was not read "
            f"({_culprit(error)}); save a plain state dict, or safetensors, and give that"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BackboneError(_damaged(path, error)) from error
    if not isinstance(content, Mapping):
        raise BackboneError(f"{path}: expected a state dict, found a {type(content).__name__}")
    return content


def _peel(content: Mapping[str, Any]) -> dict[str, Any]:
    tensors = {str(name): value for name, value in content.items()}
    while prefix := next(
        (p for p in PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None
    ):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _damaged(path: Path, error: BaseException) -> str:
    size = path.stat().st_size
    return f"{path}: truncated or damaged ({size} bytes): {first_line(error)}; fetch it again"


def _culprit(error: BaseException) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it names {named.group(1)}" if named else "weights-only reading refused it"


def _summary(content: Mapping[str, Any]) -> str:
    kinds = [f"{name}: {type(value).__name__}" for name, value in list(content.items())[:4]]
    return "{" + ", ".join(kinds) + (", ..." if len(content) > 4 else "") + "}"
