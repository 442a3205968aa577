"""Writing a CLIP model as a weight file that open_clip reads, with its settings beside it.

The file is an ordinary state dict under open_clip's names: safetensors, or torch's own format by the endings
.pt and .pth. The settings (`backbones.sidecar`) are written first: were a run to end between the two, the
weights would be missing or refused, not taken for plain CLIP's.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from backbones.activation import uses_quick_gelu
from backbones.config import TemporalView
from backbones.errors import BackboneError
from backbones.sidecar import MARK, Sidecar, write_sidecar
from backbones.weights import image_digest

TORCH_ENDINGS = (".pt", ".pth")


def check_name(path: Path) -> None:
    """Raise BackboneError where a weight file cannot have this name."""
    if path.suffix not in (".safetensors", *TORCH_ENDINGS):
        raise BackboneError(f"{path}: expected a name that ends in .safetensors or .pt, found {path.name!r}")


def save_clip(path: Path, model: nn.Module, *, view: TemporalView | None, made: Mapping[str, Any]) -> Sidecar:
    """Write a whole CLIP in fp32 and its settings; both are replaced where they exist.

    Args:
        path: ends in .safetensors, .pt or .pth. view: what it was trained with. made: for people.
    """
    check_name(path)
    visual = model.get_submodule("visual")
    sidecar = Sidecar(
        digest=image_digest(visual), quick_gelu=uses_quick_gelu(visual), view=view, made=dict(made)
    )
    tensors = {name: values.detach().cpu().float().clone() for name, values in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    if path.suffix in TORCH_ENDINGS:
        torch.save(tensors, temporary)
    else:
        save_file(tensors, temporary, metadata=MARK)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    write_sidecar(path, sidecar)
    temporary.replace(path)
    return sidecar
