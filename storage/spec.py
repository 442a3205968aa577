"""The spec: everything that decides a bank's values, and the fingerprint that stands for it.

Features are only comparable when the same weights saw the same pixels of the same frames. A bank therefore
carries its spec in its group attributes. Who saw what makes up the fingerprint, which never changes and is
checked whenever the bank is opened for writing or trained from. What is kept of it (which blocks, which
attention, in which type) is a list that may grow: each addition is a *part* with arrays and commit records of
its own, so nothing that is there is rewritten. What cannot change a value (batch sizes, worker counts, paths)
is not in the spec at all.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

Attention = Literal["maps", "qk", "derived", "none"]
ATTENTION_MODES: tuple[Attention, ...] = get_args(Attention)
Dtype = Literal["float16", "int8"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)


BOUNDARIES = ("zeros", "masked")


@dataclass(frozen=True, kw_only=True, slots=True)
class TemporalSpec:
    """What the tower's blocks see of the neighbouring frames."""

    window: int
    """Frames before and frames after whose keys and values every block attends to."""
    boundary: str
    """What stands beyond the clip's ends: zeros (keys and values of zero) or masked (nothing)."""

    def __post_init__(self) -> None:
        if type(self.window) is not int or self.window < 1:
            raise ValueError(f"temporal.window is a whole number from 1, not {self.window!r}")
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"temporal.boundary is one of {', '.join(BOUNDARIES)}, not {self.boundary!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneSpec:
    """The frozen image tower, as far as it decides values."""

    name: str
    """open_clip's name of the model."""
    weights: str
    """sha256 of the image tower's tensors in fp32."""
    precision: str
    """What the tower computes in: fp32, bf16 or fp16."""
    quick_gelu: bool
    """Whether its MLPs use x * sigmoid(1.702 x)."""
    width: int
    """C, channels of a token."""
    heads: int
    """H, attention heads of a block."""
    depth: int
    """Number of blocks."""
    grid: tuple[int, int]
    """(h, w), patches per frame."""
    embed: int
    """E, width of the joint embedding."""
    temporal: TemporalSpec | None = None
    """The temporal view; None, and absent from JSON, where each frame is encoded alone."""

    @property
    def view(self) -> tuple[int, str | None]:
        """Window and boundary of the temporal view; (0, None) where each frame is encoded alone."""
        return (0, None) if self.temporal is None else (self.temporal.window, self.temporal.boundary)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back."""
        values = asdict(self) | {"grid": list(self.grid)}
        if self.temporal is None:
            del values["temporal"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "BackboneSpec":
        """The spec that `to_json` wrote. Raises ValueError or TypeError where it is none."""
        fixed: dict[str, Any] = dict(values) | {"grid": tuple(values["grid"])}
        if "temporal" in fixed:
            fixed["temporal"] = TemporalSpec(**fixed["temporal"])
        return cls(**fixed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """One part of a bank: what is kept of every row."""

    blocks: tuple[int, ...]
    """Blocks whose taps are kept, ascending, 0-based."""
    attention: Attention = "maps"
    """What is kept of the attention between neighbouring frames: averaged maps, q and k, the tokens and
    weights they derive from, or nothing.
    """
    dtype: Dtype = "float16"
    """Type of tokens: float16, or int8 with scales, which keeps maps as uint8. q and k are always float16."""

    def __post_init__(self) -> None:
        if self.attention not in ATTENTION_MODES:
            raise ValueError(f"attention is one of {', '.join(ATTENTION_MODES)}, not {self.attention!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype is one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if not self.blocks or list(self.blocks) != sorted(set(self.blocks)) or self.blocks[0] < 0:
            raise ValueError(f"blocks are distinct and ascending, e.g. 8 9 10 11, not {self.blocks}")
        if self.attention == "derived" and self.blocks[0] == 0:
            raise ValueError("attention=derived needs the block before each one; block 0 has none before it")

    @property
    def token_blocks(self) -> tuple[int, ...]:
        """Blocks whose tokens are kept: those asked for, and those that q and k derive from."""
        before = {block - 1 for block in self.blocks} if self.attention == "derived" else set()
        return tuple(sorted(before | set(self.blocks)))


@dataclass(frozen=True, kw_only=True, slots=True)
class BankSpec:
    """Identity of a bank: two banks with equal fingerprints hold comparable rows."""

    backbone: BackboneSpec
    """The tower that saw the frames."""
    frames: int
    """T, frames per row of a clip of which the listing says nothing else."""
    views: int
    """V, rows per clip."""
    video: dict[str, Any]
    """Frame sampling, views and their seeds, preprocessing, decoder libraries: plain JSON values."""
    kept: tuple[Kept, ...]
    """What is kept of every row, the bank's first part first."""

    def __post_init__(self) -> None:
        if not self.kept:
            raise ValueError("a bank keeps at least one part")
        for kept in self.kept:
            if kept.blocks[-1] >= self.backbone.depth:
                raise ValueError(
                    f"blocks lie in 0..{self.backbone.depth - 1} for this backbone, not {kept.blocks}"
                )
        if self.frames < 1 or self.views < 1:
            raise ValueError(f"frames and views are at least 1, not {self.frames} and {self.views}")

    @property
    def tokens(self) -> int:
        """L, tokens per frame, CLS included."""
        return self.patches + 1

    @property
    def patches(self) -> int:
        """P, patches per frame."""
        return self.backbone.grid[0] * self.backbone.grid[1]

    def other(self, frames: int) -> int | None:
        """The same number; None where it is the spec's own, as names of arrays have it."""
        return None if frames == self.frames else frames

    @property
    def blocks(self) -> tuple[int, ...]:
        """All blocks that were asked for, in any part, ascending."""
        return tuple(sorted({block for kept in self.kept for block in kept.blocks}))

    def attention(self, block: int) -> Attention:
        """How a block's attention is kept: by the first part that keeps any, so growth changes no answer."""
        for kept in self.kept:
            if block in kept.blocks and kept.attention != "none":
                return kept.attention
        return "none"

    @property
    def fingerprint(self) -> str:
        """sha256 of the canonical JSON of all that decides a row, in hex; what is kept is left out."""
        identity = {name: value for name, value in self.to_json().items() if name != "kept"}
        return hashlib.sha256(canonical(identity).encode()).hexdigest()

    def with_part(self, kept: Kept) -> "BankSpec":
        """The spec of the bank grown by a part."""
        return replace(self, kept=(*self.kept, kept))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back."""
        return json.loads(canonical(asdict(self) | {"backbone": self.backbone.to_json()}))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "BankSpec":
        """The spec that `to_json` wrote.

        Raises:
            ValueError: a field is missing or unknown.
        """
        values = dict(values)
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ValueError(f"a bank's spec has the fields {sorted(known)}, not {sorted(values)}")
        backbone = BackboneSpec.from_json(values.pop("backbone"))
        kept = tuple(Kept(**(part | {"blocks": tuple(part["blocks"])})) for part in values.pop("kept"))
        return cls(backbone=backbone, kept=kept, **values)


def canonical(values: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def differences(have: Any, want: Any, path: str = "") -> list[str]:
    """One line per leaf that differs, `where: bank has X, asked for Y`; empty when equal."""
    if isinstance(have, dict) and isinstance(want, dict):
        lines: list[str] = []
        for key in sorted(set(have) | set(want)):
            lines += differences(
                have.get(key, "nothing"), want.get(key, "nothing"), f"{path}.{key}" if path else key
            )
        return lines
    return [] if have == want else [f"{path}: the bank has {have!r}, asked for {want!r}"]
