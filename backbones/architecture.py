"""Which network a name stands for: open_clip's own names, folders, configuration files, the Hugging Face hub.

open_clip spells its names `ViT-B-16`, OpenAI's paper `ViT-B/16`; both are understood. A folder or a `.json`
file in open_clip's own format describes a network that open_clip has no name for. Built-in names win over
folders of the same name, so that a stray folder never changes what a recipe means: write `./ViT-B-16` for the
folder.

Only open_clip's own VisionTransformer has the taps that a bank needs, so ResNet and timm towers are refused
here, before anything is downloaded or built.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from open_clip.factory import get_model_config, list_models
from open_clip.pretrained import download_pretrained_from_hf

from backbones.errors import BackboneError

CONFIG_FILE = "open_clip_config.json"
HUB_PREFIX = "hf-hub:"
FOLDER_PREFIX = "local-dir:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A network's description, still without weights."""

    name: str
    """What the network is called in banks and messages; a folder's own name, not its path."""
    model_cfg: dict[str, Any]
    """open_clip's description: embed_dim, vision_cfg, text_cfg and the rest."""
    preprocess_cfg: dict[str, Any]
    """What the folder says of mean, std, interpolation and resize mode; empty where nothing is said."""
    built_in: bool = False
    """One of open_clip's own names, which fix shapes but, without `-quickgelu`, not the activation."""
    folder: Path | None = None
    """The folder that holds the description, where weights and tokenizer files are looked for."""
    hub_id: str = ""
    """The Hugging Face repository it came from, if any."""

    @property
    def quick_gelu(self) -> bool | None:
        """What the description says of the activation; None where it is silent (as `ViT-B-16` is)."""
        stated = self.model_cfg.get("quick_gelu")
        return None if stated is None else bool(stated)


def find_architecture(name: str) -> Architecture:
    """The network that `name` stands for.

    Raises BackboneError for an unknown name (with near ones), a broken description and a tower without taps.
    """
    built_in = name.replace("@336px", "-336").replace("/", "-")
    if built_in in list_models():
        architecture = Architecture(
            name=built_in, model_cfg=_config(built_in), preprocess_cfg={}, built_in=True
        )
    elif name.startswith(HUB_PREFIX):
        architecture = _from_hub(name.removeprefix(HUB_PREFIX))
    else:
        architecture = _from_path(name)
    _refuse_other_towers(architecture)
    return architecture


def vit_names() -> list[str]:
    """Every open_clip name whose image tower is open_clip's own VisionTransformer."""
    return [name for name in list_models() if _other_tower(_config(name)) is None]


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; BackboneError where it is not one."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path}: expected a JSON model description, found: {error}") from error
    if not isinstance(config, dict):
        raise BackboneError(f"{path}: expected a JSON object, found a {type(config).__name__}")
    return config


def _config(built_in: str) -> dict[str, Any]:
    config = get_model_config(built_in)
    assert config is not None
    return config


def _from_path(name: str) -> Architecture:
    path = Path(name.removeprefix(FOLDER_PREFIX)).expanduser()
    if path.is_dir():
        if not (path / CONFIG_FILE).is_file():
            raise BackboneError(f"{path}: expected a model folder with {CONFIG_FILE}, found none there")
        return _described(path / CONFIG_FILE, label=path.resolve().name, folder=path)
    if path.suffix == ".json" and path.is_file():
        return _described(path, label=path.stem)
    raise BackboneError(_unknown(name))


def _from_hub(repository: str) -> Architecture:
    try:
        path = Path(download_pretrained_from_hf(repository, filename=CONFIG_FILE))
    except (OSError, RuntimeError) as error:
        raise BackboneError(
            f"could not fetch {CONFIG_FILE} of {HUB_PREFIX}{repository}: {first_line(error)}; "
            "check the name and the network, or download the repository and give its folder"
        ) from error
    return _described(path, label=repository.rsplit("/", 1)[-1], folder=path.parent, hub_id=repository)


def _described(path: Path, *, label: str, folder: Path | None = None, hub_id: str = "") -> Architecture:
    config = read_config(path)
    model_cfg = config.get("model_cfg", config)
    absent = [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in model_cfg]
    if absent:
        raise BackboneError(
            f"{path}: expected an open_clip model description, found one without {', '.join(absent)}"
        )
    return Architecture(
        name=label,
        model_cfg=model_cfg,
        preprocess_cfg=config.get("preprocess_cfg", {}),
        folder=folder,
        hub_id=hub_id,
    )


def _unknown(name: str) -> str:
    spelled = name.replace("/", "-")
    lowered = {known.lower(): known for known in vit_names()}
    near = [lowered[hit] for hit in difflib.get_close_matches(spelled.lower(), lowered, n=4, cutoff=0.5)]
    hint = f"near names: {', '.join(near)}" if near else "names look like ViT-B-16 or ViT-L-14"
    return (
        f"unknown model {name!r}: neither an open_clip ViT, nor a folder with {CONFIG_FILE}, nor a .json "
        f"file; {hint}"
    )


def _refuse_other_towers(architecture: Architecture) -> None:
    other = _other_tower(architecture.model_cfg)
    if other is not None:
        near = difflib.get_close_matches(architecture.name, vit_names(), n=3, cutoff=0.3)
        raise BackboneError(
            f"{architecture.name}: expected one of open_clip's own vision transformers, found {other}, "
            f"which has no per-block taps; choose for instance {', '.join(near) or 'ViT-B-16'}"
        )


def _other_tower(model_cfg: Mapping[str, Any]) -> str | None:
    vision = model_cfg["vision_cfg"]
    if "timm_model_name" in vision:
        return f"the timm tower {vision['timm_model_name']}"
    if isinstance(vision.get("layers"), (list, tuple)):
        return "a ResNet"
    return None


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for messages that must stay on one line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
