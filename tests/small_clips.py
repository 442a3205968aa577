"""Small CLIP models for tests: a configuration in open_clip's form, models of it, and the file formats they
come in."""

import json
import warnings
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn


def small_config(*, quick_gelu: bool | None = None, **vision: Any) -> dict[str, Any]:
    """open_clip's description of a tower of four blocks of width 64 on 64 x 64 pixels; `vision` changes
    it."""
    config: dict[str, Any] = {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 64,
            "layers": 4,
            "width": 64,
            "head_width": 16,
            "patch_size": 16,
            **vision,
        },
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    return config if quick_gelu is None else {**config, "quick_gelu": quick_gelu}


def small_model(seed: int = 0, **options: Any) -> open_clip.CLIP:
    """A model of `small_config` with weights that make every part matter, in eval mode, without gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = open_clip.CLIP(**small_config(**options))
        for parameter in model.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


def write_config(path: Path, **options: Any) -> Path:
    """`small_config` as a .json file."""
    path.write_text(json.dumps(small_config(**options)))
    return path


def write_folder(
    folder: Path, model: nn.Module, *, preprocess: dict[str, Any] | None = None, **options: Any
) -> Path:
    """A model folder in open_clip's own format."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": small_config(**options), "preprocess_cfg": preprocess or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(tensors_of(model), folder / "open_clip_model.safetensors")
    return folder


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """The state dict, every tensor with memory of its own."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def write_openai_archive(path: Path, model: nn.Module) -> Path:
    """A TorchScript archive as OpenAI publishes them: fp16 weights, and three marks among the buffers."""
    holder = _Holder()
    tensors: dict[str, Tensor] = {
        **{name: tensor.half() for name, tensor in model.state_dict().items()},
        "input_resolution": torch.tensor(64),
        "context_length": torch.tensor(20),
        "vocab_size": torch.tensor(49408),
    }
    for name, tensor in tensors.items():
        *parents, leaf = name.split(".")
        owner = holder
        for parent in parents:
            if parent not in owner._modules:
                owner.add_module(parent, _Holder())
            owner = owner.get_submodule(parent)
        owner.register_buffer(leaf, tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; OpenAI's files exist in no other form
        torch.jit.save(torch.jit.script(holder), path)
    return path


class _Holder(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images
