"""Which CLIP is asked for, and what its frames see of each other. Nothing heavy to import: a driver that only
plans does not need torch."""

from dataclasses import dataclass
from typing import Literal, get_args

from backbones.errors import BackboneError

Precision = Literal["fp32", "bf16", "fp16"]
Boundary = Literal["zeros", "masked"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TemporalView:
    """Every block's keys and values come from the neighbouring frames, too (`backbones.temporal`)."""

    window: int
    """How many frames before and how many after, 1 or more."""
    boundary: Boundary
    """What a clip's ends see beyond it: `zeros`, keys and values of zero, as Open-VCLIP's released weights
    were trained, or `masked`, nothing, so that a clip of one picture repeated is plain CLIP."""

    def __post_init__(self) -> None:
        if type(self.window) is not int or self.window < 1:
            raise BackboneError(f"window: expected a whole number from 1, found {self.window!r}")
        if self.boundary not in get_args(Boundary):
            raise BackboneError(
                f"boundary: expected {' or '.join(get_args(Boundary))}, found {self.boundary!r}"
            )

    def __str__(self) -> str:
        return f"window {self.window}, boundary {self.boundary}"


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
    window: int | None = None
    """Frames before and after that every block sees (the temporal view): None takes what stands beside the
    weights, 0 is plain CLIP; a choice that does not fit the weights is refused."""
    boundary: Boundary | None = None
    """What the ends of a clip see beyond it, `zeros` or `masked`: None takes what stands beside the
    weights."""

    def __post_init__(self) -> None:
        if not self.name:
            raise BackboneError("name: expected a model name such as ViT-B-16, found an empty string")
        if self.precision not in get_args(Precision):
            raise BackboneError(
                f"precision: expected {', '.join(get_args(Precision))}, found {self.precision!r}"
            )
        if bool(self.window) != (self.boundary is not None):
            raise BackboneError(
                f"expected window and boundary together, found window={self.window} and "
                f"boundary={self.boundary}; a temporal view is for instance window=1, boundary=zeros"
            )
        _ = self.view  # refuses what it cannot be

    @property
    def view(self) -> TemporalView | None:
        """The temporal view that is asked for, if one is."""
        if not self.window or self.boundary is None:
            return None
        return TemporalView(window=self.window, boundary=self.boundary)
