"""A CLIP model by name and weights, loaded strictly: every tensor in its place, or an error.

What goes wrong elsewhere and is settled here: an activation that does not fit the weights (OpenAI's were
trained with QuickGELU; with GELU they still run, and answer worse), weights of another network that fit in
part, and random weights by oversight. Random weights exist only as `random:SEED`.

The same goes for the temporal view: what stands beside the weights holds, and another choice is refused.
Open-VCLIP's own files say nothing; all of its releases were trained with window 1 and zeros.

The digest is taken over the image tower in fp32, before it is cast: the same weights have the same
digest in every file format and precision.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn

from backbones.activation import agreed_activation, uses_quick_gelu
from backbones.architecture import Architecture, find_architecture, first_line
from backbones.checkpoint import Checkpoint, read_checkpoint
from backbones.config import BackboneConfig, Precision, TemporalView
from backbones.errors import BackboneError
from backbones.sources import WeightSource, fetch, find_weights
from backbones.strict import fill
from backbones.taps import FrozenTower
from backbones.tokenizer import Tokenizer

OPENVCLIP = TemporalView(window=1, boundary="zeros")
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedClip:
    """A CLIP model ready to encode, and what identifies it."""

    model: open_clip.CLIP | open_clip.CustomTextCLIP
    """In eval mode, without gradients, on the CPU, cast to the precision; drop it after taking `.visual` to
    free the text."""
    tokenizer: Tokenizer
    """Texts to int64 tokens (n, context length)."""
    name: str
    """open_clip's name, or the folder's or file's own name."""
    digest: str
    """sha256 of the image tower's fp32 tensors."""
    mean: tuple[float, float, float]
    """Per-channel mean of the frames that the tower was trained on, for values in [0, 1]."""
    std: tuple[float, float, float]
    """Per-channel standard deviation, likewise."""
    size: tuple[int, int]
    """Height and width of the frames, in pixels."""
    quick_gelu: bool
    """Whether the model runs QuickGELU."""
    precision: Precision
    """The dtype it was cast to."""
    logit_scale: float
    """The factor on cosines, exp of the trained parameter, read before the cast."""
    interpolation: str
    """How frames were resized in training: `bicubic` or `bilinear`."""
    resize_mode: str
    """`shortest` (resize the short side, then crop), `longest` or `squash`, as in training."""
    view: TemporalView | None = None
    """What its frames see of each other; None for plain CLIP."""

    def tower(self, blocks: Sequence[int] = ()) -> FrozenTower:
        """Its image tower, with taps after `blocks`; the two share their weights."""
        return FrozenTower(self.model.visual, blocks, self.mean, self.std, view=self.view)


def load_clip(config: BackboneConfig) -> LoadedClip:
    """Find, build, fill and freeze the CLIP model that `config` asks for.

    Raises BackboneError, in one line, for everything a user can get wrong: unknown names and tags, failed
    downloads, missing, damaged or unsafe files, weights of another network, an activation that does not fit.
    """
    architecture = find_architecture(config.name)
    source = find_weights(architecture, config.weights)
    _activation(config, architecture, source, None)  # refuse a contradiction before downloading anything
    path = fetch(source, architecture)
    checkpoint = read_checkpoint(path) if path else None
    quick_gelu = _activation(config, architecture, source, checkpoint)
    model = _build(architecture, quick_gelu, seed=source.seed or 0)
    if checkpoint is not None:
        fill(model, checkpoint.tensors, name=architecture.name, path=str(path))
    view = _view(config, source, checkpoint)
    return replace(_finish(model, config, architecture, source), view=view)


def image_digest(visual: nn.Module) -> str:
    """sha256 over an image tower's tensors, sorted by name: each name, shape and its values as little-endian
    fp32."""
    return tensors_digest(visual.state_dict())


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """The same over any tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().to(device="cpu", dtype=torch.float32).contiguous()
        digest.update(f"{name} {tuple(values.shape)}\n".encode())
        digest.update(values.numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def _activation(
    config: BackboneConfig, architecture: Architecture, source: WeightSource, checkpoint: Checkpoint | None
) -> bool:
    agreed = agreed_activation(
        {
            "the weight file": checkpoint.quick_gelu if checkpoint else None,
            f"the weights {source.tag}"
            if source.tag
            else "the description beside the weights": source.quick_gelu,
            f"the model {architecture.name}": architecture.quick_gelu,
            "the settings beside the weights": source.sidecar.quick_gelu if source.sidecar else None,
            "the option quick_gelu": config.quick_gelu,
        }
    )
    if agreed is None:
        return architecture.built_in and checkpoint is not None and checkpoint.openvclip
    return agreed


def _view(config: BackboneConfig, source: WeightSource, checkpoint: Checkpoint | None) -> TemporalView | None:
    """The temporal view: what stands beside the weights, which a choice must equal, else the choice."""
    if source.sidecar is None:
        released = OPENVCLIP if checkpoint is not None and checkpoint.openvclip else None
        return released if config.window is None else config.view
    said = source.sidecar.view
    if config.window is not None and config.view != said:
        raise BackboneError(
            f"the temporal view does not fit: the settings beside the weights say {said or 'plain CLIP'}, "
            f"asked for is {config.view or 'plain CLIP'}; leave window and boundary out"
        )
    return said


def _build(architecture: Architecture, quick_gelu: bool, *, seed: int) -> Any:
    model_cfg = copy.deepcopy(architecture.model_cfg)
    model_cfg["quick_gelu"] = quick_gelu
    hugging_face_text = "hf_model_name" in model_cfg["text_cfg"]
    if hugging_face_text:
        model_cfg["text_cfg"]["hf_model_pretrained"] = False
    custom_text = model_cfg.pop("custom_text", False) or hugging_face_text
    kind = (
        (CoCa if "multimodal_cfg" in model_cfg else open_clip.CustomTextCLIP)
        if custom_text
        else open_clip.CLIP
    )
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return kind(**model_cfg)
    except (TypeError, RuntimeError, AssertionError, OSError, ImportError) as error:
        raise BackboneError(
            f"{architecture.name}: open_clip cannot build this model: {first_line(error)}"
        ) from error


def _finish(
    model: Any, config: BackboneConfig, architecture: Architecture, source: WeightSource
) -> LoadedClip:
    preprocess: Mapping[str, Any] = {**architecture.preprocess_cfg, **source.preprocess_cfg}
    model.eval().requires_grad_(False)
    digest, logit_scale = image_digest(model.visual), float(model.logit_scale.exp())
    if source.sidecar is not None and source.sidecar.digest != digest:
        raise BackboneError(
            f"{source.path}: the settings beside it are those of other weights (digest "
            f"{source.sidecar.digest[:12]}, these have {digest[:12]}); restore or remove {source.path}.json"
        )
    height, width = model.visual.image_size
    return LoadedClip(
        model=model.to(DTYPES[config.precision]),
        tokenizer=Tokenizer(
            architecture.model_cfg["text_cfg"], folder=None if architecture.hub_id else architecture.folder
        ),
        name=architecture.name,
        digest=digest,
        mean=_triple(preprocess.get("mean") or OPENAI_DATASET_MEAN),
        std=_triple(preprocess.get("std") or OPENAI_DATASET_STD),
        size=(height, width),
        quick_gelu=uses_quick_gelu(model.visual),
        precision=config.precision,
        logit_scale=logit_scale,
        interpolation=preprocess.get("interpolation") or "bicubic",
        resize_mode=preprocess.get("resize_mode") or "shortest",
    )


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
