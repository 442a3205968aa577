"""transformers' names for CLIP, written by hand here from a model in open_clip's."""

import torch

from backbones.huggingface import is_transformers, to_open_clip
from backbones.strict import fill
from tests.small_clips import small_model, tensors_of

BLOCK = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}


def as_transformers(model):
    """The state dict as CLIPModel.save_pretrained names it."""
    visual = model.visual
    tensors = {
        "logit_scale": model.logit_scale,
        "visual_projection.weight": visual.proj.T,
        "text_projection.weight": model.text_projection.T,
        "vision_model.embeddings.class_embedding": visual.class_embedding,
        "vision_model.embeddings.patch_embedding.weight": visual.conv1.weight,
        "vision_model.embeddings.position_embedding.weight": visual.positional_embedding,
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
        "text_model.embeddings.token_embedding.weight": model.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": model.positional_embedding,
    }
    norms = {
        "vision_model.pre_layrnorm": visual.ln_pre,
        "vision_model.post_layernorm": visual.ln_post,
        "text_model.final_layer_norm": model.ln_final,
    }
    for theirs, norm in norms.items():
        tensors |= {f"{theirs}.{name}": tensor for name, tensor in norm.state_dict().items()}
    for tower, transformer in (("vision_model", visual.transformer), ("text_model", model.transformer)):
        for number, block in enumerate(transformer.resblocks):
            tensors |= block_as_transformers(f"{tower}.encoder.layers.{number}", block)
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def block_as_transformers(prefix, block):
    tensors = {}
    for ours, theirs in BLOCK.items():
        part = block.get_submodule(ours)
        tensors |= {f"{prefix}.{theirs}.{name}": tensor for name, tensor in part.state_dict().items()}
    attention = block.attn
    tensors |= {
        f"{prefix}.self_attn.out_proj.{name}": t for name, t in attention.out_proj.state_dict().items()
    }
    for kind, stacked in (("weight", attention.in_proj_weight), ("bias", attention.in_proj_bias)):
        for letter, tensor in zip("qkv", stacked.chunk(3), strict=True):
            tensors[f"{prefix}.self_attn.{letter}_proj.{kind}"] = tensor
    return tensors


def test_names_and_layout_come_back():
    model = small_model(3)
    theirs = as_transformers(model)
    assert is_transformers(theirs)
    assert not is_transformers(model.state_dict())
    torch.testing.assert_close(to_open_clip(theirs), tensors_of(model), rtol=0, atol=0)


def test_fill_takes_them():
    source, model = small_model(3), small_model(4)
    fill(model, as_transformers(source), name="small", path="model.safetensors")
    torch.testing.assert_close(tensors_of(model), tensors_of(source), rtol=0, atol=0)
