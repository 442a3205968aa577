"""Devices and precisions: features in fp32, bf16 or fp16; the decoder's weights and arithmetic stay fp32."""

import torch

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one. ValueError where it does not exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"expected a CUDA device for --device {name}, found none; use --device cpu")
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"expected auto, cpu or cuda as device, found {name!r}")
    return torch.device(name)


def feature_dtype(precision: str) -> torch.dtype:
    """The dtype in which features are handed to the decoder."""
    return _DTYPES[precision]
