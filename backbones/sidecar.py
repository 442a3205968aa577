"""What weights cannot say of themselves, in a small JSON file beside them: FILE.json beside FILE.

An ordinary state dict fits GELU and QuickGELU, a tower that sees frames alone and one with a temporal view;
with the wrong one it loads, runs and answers worse. So what framebank writes states both, and the digest of
the image tower, so that a file left beside other weights is noticed:

    {"digest": "...", "made": {...}, "quick_gelu": true, "temporal_view": {"boundary": "zeros", "window": 1}}

A safetensors file says in its header that it has such a file, so that one which was copied without it is
refused.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from backbones.architecture import read_config
from backbones.config import TemporalView
from backbones.errors import BackboneError

MARK = {"framebank": "settings in a JSON file beside this one"}
"""What the header of a safetensors file says where it has settings beside it."""
FIELDS = {"digest", "made", "quick_gelu", "temporal_view"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sidecar:
    """The settings of a weight file."""

    digest: str
    """sha256 of the image tower, as `LoadedClip.digest`."""
    quick_gelu: bool
    """Whether the weights were trained with QuickGELU."""
    view: TemporalView | None
    """The temporal view that they were trained with; None for plain CLIP."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """From what and how, for people."""


def sidecar_path(weights: Path) -> Path:
    """Where the settings of a weight file stand."""
    return weights.with_name(weights.name + ".json")


def read_sidecar(weights: Path) -> Sidecar | None:
    """The settings beside a weight file; None where there are none. BackboneError where they are damaged, or
    gone.
    """
    path = sidecar_path(weights)
    if not path.is_file():
        if _says_so(weights):
            raise BackboneError(
                f"{weights}: expected its settings in {path.name}, found none; copy both together"
            )
        return None
    values = read_config(path)
    if values.keys() != FIELDS:
        raise BackboneError(
            f"{path}: expected the settings of weights ({', '.join(sorted(FIELDS))}), found "
            f"{', '.join(sorted(values)[:6]) or 'nothing'}; restore or remove it"
        )
    view = values["temporal_view"]
    try:
        return Sidecar(
            digest=str(values["digest"]),
            quick_gelu=bool(values["quick_gelu"]),
            view=None if view is None else TemporalView(**view),
            made=dict(values["made"]),
        )
    except (TypeError, ValueError) as error:
        raise BackboneError(f"{path}: its settings are damaged ({error}); restore or remove it") from error


def write_sidecar(weights: Path, sidecar: Sidecar) -> None:
    """Put settings beside a weight file, whole or not at all."""
    values = {
        "digest": sidecar.digest,
        "made": dict(sidecar.made),
        "quick_gelu": sidecar.quick_gelu,
        "temporal_view": None if sidecar.view is None else asdict(sidecar.view),
    }
    path = sidecar_path(weights)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(values, indent=1, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _says_so(weights: Path) -> bool:
    """Whether a safetensors file was written with settings beside it; other files cannot say."""
    try:
        with safe_open(weights, framework="pt") as file:
            return MARK.keys() <= (file.metadata() or {}).keys()
    except (SafetensorError, OSError):
        return False
