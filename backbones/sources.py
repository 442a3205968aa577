"""Where a backbone's weights come from, and what the source says about how they must be run.

`weights` is one of: a pretrained tag of open_clip (downloaded and kept in open_clip's cache), a local file,
`random:SEED`, or nothing where the network's own folder or hub repository holds them. Some sources know more
than the tensors: a tag knows mean, std and the activation; an `open_clip_config.json` beside a file knows the
same, as does a `config.json` of the transformers library; a file that framebank wrote has its settings in a
JSON file of its own (`backbones.sidecar`).
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from open_clip.pretrained import (
    download_pretrained,
    download_pretrained_from_hf,
    get_pretrained_cfg,
    list_pretrained_tags_by_model,
)

from backbones.architecture import CONFIG_FILE, Architecture, first_line, read_config
from backbones.errors import BackboneError
from backbones.sidecar import Sidecar, read_sidecar

FOLDER_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
)
RANDOM_PREFIX = "random:"


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightSource:
    """A local file, a tag still to be fetched, or a seed; and what is known beside it."""

    path: Path | None = None
    """The file to read, where there is one already."""
    seed: int | None = None
    """The seed of random weights."""
    tag: str = ""
    """The pretrained tag, whose file `fetch` gets; nothing is downloaded for a choice that is refused."""
    quick_gelu: bool | None = None
    """Whether the weights were trained with QuickGELU; None where nobody says."""
    preprocess_cfg: Mapping[str, Any] = field(default_factory=dict)
    """mean, std, interpolation and resize mode, as far as they are said."""
    sidecar: Sidecar | None = None
    """The settings in the file's own JSON, where it has one."""


def find_weights(architecture: Architecture, weights: str) -> WeightSource:
    """The source that `weights` means for this network.

    Raises BackboneError for no weights, an unknown tag (with near or known ones) and a missing file.
    """
    if weights.startswith(RANDOM_PREFIX):
        return WeightSource(seed=_seed(weights))
    if not weights:
        return _own_weights(architecture)
    tag_cfg = (
        get_pretrained_cfg(architecture.name.removesuffix("-quickgelu"), weights)
        if architecture.built_in
        else {}
    )
    if tag_cfg:
        quick_gelu = bool(tag_cfg.get("quick_gelu", False))
        return WeightSource(tag=weights, quick_gelu=quick_gelu, preprocess_cfg=tag_cfg)
    path = Path(weights).expanduser()
    if not path.exists():
        raise BackboneError(_unknown(architecture, weights))
    return _local(path)


def fetch(source: WeightSource, architecture: Architecture) -> Path | None:
    """The file to read, downloaded if it is not in open_clip's cache; None for random weights.

    Raises BackboneError, in one line, where the download fails.
    """
    if not source.tag:
        return source.path
    try:
        return Path(download_pretrained(dict(source.preprocess_cfg)))
    except (OSError, RuntimeError, HTTPException) as error:
        raise BackboneError(
            f"could not download the weights {source.tag!r} of {architecture.name}: {first_line(error)}; "
            "check the network, or download them elsewhere and give the file as weights"
        ) from error


def _seed(weights: str) -> int:
    digits = weights.removeprefix(RANDOM_PREFIX)
    if not digits.isascii() or not digits.isdigit() or int(digits) >= 2**63:
        raise BackboneError(
            f"weights={weights!r}: expected {RANDOM_PREFIX}SEED with a whole number, as in random:0"
        )
    return int(digits)


def _own_weights(architecture: Architecture) -> WeightSource:
    if architecture.hub_id:
        return _local(_fetch_hub_weights(architecture.hub_id))
    if architecture.folder is None:
        raise BackboneError(
            f"{architecture.name}: no weights given; expected {_tags(architecture)}a weight file, "
            "or random:SEED for random weights"
        )
    for name in FOLDER_WEIGHTS:
        if (architecture.folder / name).is_file():
            return _local(architecture.folder / name)
    raise BackboneError(
        f"{architecture.folder}: expected weights in {FOLDER_WEIGHTS[0]}, found no weight file there"
    )


def _fetch_hub_weights(repository: str) -> Path:
    try:
        return Path(download_pretrained_from_hf(repository))
    except (OSError, RuntimeError) as error:
        raise BackboneError(
            f"could not fetch the weights of hf-hub:{repository}: {first_line(error)}; "
            "check the network, or download the repository and give its folder"
        ) from error


def _local(path: Path) -> WeightSource:
    beside, sidecar = path.parent / CONFIG_FILE, read_sidecar(path)
    if beside.is_file():
        config = read_config(beside)
        quick_gelu = bool(config.get("model_cfg", config).get("quick_gelu", False))
        preprocess_cfg = config.get("preprocess_cfg", {})
        return WeightSource(path=path, quick_gelu=quick_gelu, preprocess_cfg=preprocess_cfg, sidecar=sidecar)
    quick_gelu = _transformers_activation(path.parent / "config.json")
    return WeightSource(path=path, quick_gelu=quick_gelu, sidecar=sidecar)


def _transformers_activation(config_file: Path) -> bool | None:
    """What transformers' own configuration says; its CLIP default, where unsaid, is QuickGELU."""
    if not config_file.is_file():
        return None
    config = read_config(config_file)
    if config.get("model_type") != "clip":
        return None
    return config.get("vision_config", {}).get("hidden_act", "quick_gelu") == "quick_gelu"


def _unknown(architecture: Architecture, weights: str) -> str:
    known = list_pretrained_tags_by_model(architecture.name) if architecture.built_in else []
    near = difflib.get_close_matches(weights.lower().replace("-", "_"), known, n=3, cutoff=0.5)
    hint = (
        f"near tags: {', '.join(near)}" if near else f"give {_tags(architecture)}a weight file or random:SEED"
    )
    known_as = "a pretrained tag nor a file" if architecture.built_in else "random:SEED nor a file"
    return f"weights={weights!r} for {architecture.name}: neither {known_as} that exists; {hint}"


def _tags(architecture: Architecture) -> str:
    known = list_pretrained_tags_by_model(architecture.name) if architecture.built_in else []
    return f"a tag ({', '.join(known[:4])}{', ...' if len(known) > 4 else ''}), " if known else ""
