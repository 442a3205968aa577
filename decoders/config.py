"""What a decoder is and how it is trained: settings that decide the losses. `decoders/recipes.py` fills them
in.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from training.optim import OptimConfig

_LATER = {"tokens", "multi_layer", "augment", "views", "order_seed", "floor"}
"""Settings that came after the first runs; their defaults are what those runs did."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """The decoder's own choices; width, frames, grid and classes come from the bank."""

    layers: int = 4
    """D, decoder layers; what block each reads says `multi_layer`."""
    multi_layer: bool = True
    """Layer i reads the i-th of the last D blocks in the bank; off, every layer reads the last block."""
    tokens: Literal["all", "pooled"] = "all"
    """What is read of a frame: all tokens of a block, or the CLS token alone, which is what the tower itself
    pools the frame into. Pooled frames have no patches, so `cross_frame` must be off."""
    qkv_width: int = 0
    """Q, channels of queries, keys and values over all heads; 0 takes the tokens' width."""
    heads: int = 12
    """Attention heads of the decoder; must divide qkv_width."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLPs over the tokens' width."""
    temporal_conv: bool = True
    """Add a depthwise convolution over time to the tokens."""
    temporal_position: bool = True
    """Add a learned position per frame to the tokens."""
    cross_frame: bool = True
    """Add the cross-frame attention maps, through a vector per displacement; needs a bank with maps or qk."""
    dropout: float = 0.5
    """Dropout inside the MLPs, as a probability."""
    head_dropout: float = 0.5
    """Dropout before the classifier, as a probability."""
    cls_init: Literal["normal", "zeros"] = "normal"
    """Start of the query token. EVL's is zeros, where LayerNorm(0) = 0 leaves the first layer's query weights
    without any gradient at step 0 and multiplies the token's own by 316: harmless under AdamW, not under SGD
    or gradient clipping. `normal` (std 0.02) has neither, so it is the default; the recipes of the paper say
    zeros."""

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ValueError(f"layers must be at least 1, found {self.layers}")
        if self.heads < 1 or self.qkv_width % self.heads:
            raise ValueError(f"heads must divide qkv_width, found {self.heads} heads of {self.qkv_width}")
        for name, value in (("dropout", self.dropout), ("head_dropout", self.head_dropout)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must lie in [0, 1), found {value}")
        if self.tokens == "pooled" and self.cross_frame:
            raise ValueError(
                "cross_frame compares the patches of neighbouring frames, and tokens='pooled' reads none; "
                "turn cross_frame off, or read all tokens"
            )

    @property
    def depth(self) -> int:
        """How many of the last blocks are read."""
        return self.layers if self.multi_layer else 1

    def blocks_of(self, there: Sequence[int]) -> tuple[int, ...]:
        """The block that each layer reads, of at least `depth` that are there in ascending order."""
        return tuple(there[-self.layers :]) if self.multi_layer else (there[-1],) * self.layers

    def without_temporal(self) -> "DecoderConfig":
        """The same decoder with all three temporal modules left out: blind to the order of frames."""
        return replace(self, temporal_conv=False, temporal_position=False, cross_frame=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """What training does to features before it learns from them; see `decoders/augment.py`. All off: nothing,
    at no cost. Evaluation never does any of it.
    """

    token_dropout: float = 0.0
    """Share of a clip's patches, over all its frames, that attention does not see, drawn anew for each clip
    and step. CLS is always seen, so a clip is never empty."""
    mixup: float = 0.0
    """Alpha of the Beta distribution of shares in which neighbours in the batch are mixed, 0.2 to 0.8 say; 0
    mixes nothing. Needs pieces of an even number of clips."""

    def __post_init__(self) -> None:
        if not 0 <= self.token_dropout < 1:
            raise ValueError(f"token_dropout must lie in [0, 1), found {self.token_dropout}")
        if not 0 <= self.mixup < float("inf"):
            raise ValueError(f"mixup must be 0 or a positive number, found {self.mixup}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """One training run: everything that decides the losses, and not where things lie or on what they run."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """The model."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser and schedule."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Token dropout and mixup."""
    label: str = "label"
    """Which labels to learn: `label`, or the name of a clip attribute (a further column of the list)."""
    split: str = "train"
    """Clips to train on; empty takes every clip of the bank."""
    views: int = 0
    """Views of a clip to draw from, one an epoch: the first so many that the bank holds; 0 takes all."""
    eval_split: str = ""
    """Clips to evaluate on while training; empty evaluates nothing."""
    init: str = ""
    """Checkpoint whose weights to start from, ours or a published one; empty draws new weights."""
    steps: int = 50_000
    """Optimiser steps. 0 with `init` makes a run of those weights, to be evaluated as any other."""
    batch_size: int = 256
    """Clips a step."""
    batch_split: int = 1
    """Pieces a batch is cut into to save memory; their gradients are added up, and they drop out as the whole
    does. Must divide batch_size."""
    label_smoothing: float = 0.0
    """Share of the target spread evenly over all classes."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """In what features are handed over and kept for the backward pass; weights and arithmetic stay fp32. fp16
    scales the loss."""
    seed: int = 0
    """Decides initial weights and dropout, and the order of clips unless `order_seed` does."""
    order_seed: int | None = None
    """Decides the order of clips and the drawn views; None takes `seed`. Decoders of several seeds can share
    one read if this is the same for all."""
    log_every: int = 10
    """Steps between writes of the log; every step's loss is in it all the same."""
    eval_every: int = 5_000
    """Steps between evaluations."""
    save_every: int = 1_000
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints kept; older ones are deleted."""

    def __post_init__(self) -> None:
        for name in ("steps", "views"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, found {getattr(self, name)}")
        for name in ("batch_size", "batch_split", "log_every", "eval_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if self.batch_size % self.batch_split:
            raise ValueError(
                f"batch_split must divide batch_size, found {self.batch_split} and {self.batch_size}"
            )
        if self.augment.mixup and self.batch_size // self.batch_split % 2:
            raise ValueError(
                f"mixup mixes pairs of clips: expected pieces of an even number, found "
                f"{self.batch_size // self.batch_split} (batch_size {self.batch_size} in {self.batch_split})"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), found {self.label_smoothing}")

    @property
    def order(self) -> int:
        """The seed of the order of clips."""
        return self.seed if self.order_seed is None else self.order_seed

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back. Without what came after the first runs where it is
        as it was then, so that those runs are the same runs still.
        """
        values, first = asdict(self), asdict(TrainConfig())
        parts = {name: _known_then(values[name], first[name]) for name in ("decoder", "optim")}
        return _known_then(values, first) | parts

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainConfig":
        """The config that `to_json` turned into plain values."""
        kinds = {"decoder": DecoderConfig, "optim": OptimConfig, "augment": AugmentConfig}
        return cls(**(values | {name: kind(**values.get(name, {})) for name, kind in kinds.items()}))


def _known_then(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Without later settings that are at their defaults."""
    return {name: value for name, value in values.items() if name not in _LATER or value != defaults[name]}
