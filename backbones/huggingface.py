"""CLIP tensors as the transformers library names them, put into open_clip's names and layout.

The networks are the same. transformers keeps query, key and value apart (open_clip stacks them, in this
order) and writes both projections as linear layers, that is transposed.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

MARK = "vision_model.embeddings.patch_embedding.weight"

WHOLE = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "logit_scale": "logit_scale",
}
LAYERS = {
    "vision_model.pre_layrnorm.": "visual.ln_pre.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "text_model.final_layer_norm.": "ln_final.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "text_model.encoder.layers.": "transformer.resblocks.",
}
PARTS = {
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
    ".self_attn.out_proj.": ".attn.out_proj.",
}
TRANSPOSED = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}


def is_transformers(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of transformers' CLIPModel."""
    return MARK in tensors


def to_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under open_clip's names; names that are not CLIP's are kept, for the strict check to
    report."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(".position_ids"):
            continue
        if name in TRANSPOSED:
            renamed[TRANSPOSED[name]] = tensor.T.contiguous()
        else:
            renamed[_rename(name)] = tensor
    return _stack_projections(renamed)


def _rename(name: str) -> str:
    if name in WHOLE:
        return WHOLE[name]
    for old, new in LAYERS.items():
        if name.startswith(old):
            name = new + name.removeprefix(old)
            break
    for old, new in PARTS.items():
        name = name.replace(old, new)
    return name


def _stack_projections(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    stacked = dict(tensors)
    for name in tensors:
        if not (found := re.fullmatch(r"(.+)\.self_attn\.q_proj\.(weight|bias)", name)):
            continue
        block, kind = found.groups()
        parts = [f"{block}.self_attn.{letter}_proj.{kind}" for letter in "qkv"]
        if all(part in stacked for part in parts):
            stacked[f"{block}.attn.in_proj_{kind}"] = torch.cat([stacked.pop(part) for part in parts])
    return stacked
