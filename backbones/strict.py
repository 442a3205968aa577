"""Putting tensors into a model, all of them or none, and saying what does not fit.

A refusal names the first missing, unexpected and misshapen tensors and, where the file's own shapes give it
away, the open_clip names that it would fit.
"""

from collections.abc import Mapping
from typing import Any

from open_clip.factory import get_model_config
from open_clip.model import convert_to_custom_text_state_dict
from torch import Tensor, nn

from backbones import huggingface
from backbones.architecture import vit_names
from backbones.errors import BackboneError

SHOWN = 3
DERIVED = {"attn_mask", "text.transformer.embeddings.position_ids"}
"""Constants that some programs save beside the weights; the model makes its own."""


def fill(model: nn.Module, tensors: Mapping[str, Tensor], *, name: str, path: str) -> None:
    """Copy `tensors` into `model`, cast to its dtypes; BackboneError where a name or a shape differs."""
    given = _rename(model, tensors)
    wanted = model.state_dict()
    complaints = [
        _complaint("missing", sorted(wanted.keys() - given.keys())),
        _complaint("unexpected", sorted(given.keys() - wanted.keys())),
        _complaint("of another shape", _misshapen(wanted, given)),
    ]
    if any(complaints):
        raise BackboneError(
            f"{path} does not fit {name}: {'; '.join(filter(None, complaints))}{_suggestion(given)}"
        )
    model.load_state_dict(given, strict=True)


def _rename(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as this model has them: transformers' spelling, a text tower of its own, scalars written as
    vectors."""
    given: dict[str, Any] = dict(tensors)
    if huggingface.is_transformers(given):
        given = huggingface.to_open_clip(given)
    wanted = model.state_dict()
    if "text.positional_embedding" in wanted and "positional_embedding" in given:
        given = convert_to_custom_text_state_dict(given)
    for derived in DERIVED - wanted.keys():
        given.pop(derived, None)
    for scalar in ("logit_scale", "logit_bias"):
        if scalar in given and scalar in wanted and given[scalar].numel() == 1:
            given[scalar] = given[scalar].reshape(wanted[scalar].shape)
    return given


def _misshapen(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{key} (expected {tuple(wanted[key].shape)}, found {tuple(given[key].shape)})"
        for key in sorted(wanted.keys() & given.keys())
        if wanted[key].shape != given[key].shape
    ]


def _complaint(kind: str, names: list[str]) -> str:
    if not names:
        return ""
    rest = ", ..." if len(names) > SHOWN else ""
    return f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{rest}"


def _suggestion(given: Mapping[str, Tensor]) -> str:
    if "conv1.weight" in given:
        return "; these are an image tower's tensors alone: give the whole CLIP's"
    fitting = _fitting_names(given)
    return f"; by its shapes it fits {', '.join(fitting)}" if fitting else ""


def _fitting_names(given: Mapping[str, Tensor]) -> list[str]:
    """open_clip's names whose image tower has the file's width, depth, patch and grid, at most three."""
    patches, positions = given.get("visual.conv1.weight"), given.get("visual.positional_embedding")
    if patches is None or positions is None or patches.ndim != 4:
        return []
    depth = sum(name.startswith("visual.") and name.endswith(".attn.in_proj_weight") for name in given)
    found = (patches.shape[0], depth, patches.shape[-1], positions.shape[0] - 1)
    return sorted((name for name in vit_names() if _shape_of(name) == found), key=len)[:SHOWN]


def _shape_of(name: str) -> tuple[int, int, int, int]:
    config = get_model_config(name)
    assert config is not None
    vision = config["vision_cfg"]
    patch, size = vision.get("patch_size", 16), vision.get("image_size", 224)
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return vision["width"], vision["layers"], patch, (height // patch) * (width // patch)
