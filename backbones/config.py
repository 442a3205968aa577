"""Which CLIP is asked for. Nothing heavy to import: a driver that only plans does not need torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from backbones.errors import BackboneError

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneConfig:
    """Which CLIP encodes the frames."""

    name: str
    """An open_clip ViT (`ViT-B-16`), a folder or .json file in open_clip's format, or
    `hf-hub:owner/repository`."""
    weights: str = ""
    """A pretrained tag (`openai`), a weight file, or `random:SEED`; empty where the folder or repository has
    them."""
    precision: Precision = "fp32"
    """The dtype that the model is cast to and runs in."""
    quick_gelu: bool | None = None
    """The activation: None takes what the weights demand; a choice that does not fit them is refused."""

    def __post_init__(self) -> None:
        if not self.name:
            raise BackboneError("name: expected a model name such as ViT-B-16, found an empty string")
        if self.precision not in get_args(Precision):
            raise BackboneError(
                f"precision: expected {', '.join(get_args(Precision))}, found {self.precision!r}"
            )
