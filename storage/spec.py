"""The spec: everything that decides a bank's values, and the fingerprint that stands for it.

Features are only comparable when the same weights saw the same pixels of the same frames. A bank therefore
carries its spec in its group attributes, and its fingerprint (a digest of the spec) is checked whenever the
bank is opened for writing or trained from. What cannot change a value (batch sizes, worker counts, paths)
is not part of it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Attention = Literal["maps", "qk", "none"]
ATTENTION_MODES = ("maps", "qk", "none")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class BankSpec:
    """Identity of a bank: two banks with equal specs hold comparable rows."""

    backbone: BackboneSpec
    """The tower that saw the frames."""
    blocks: tuple[int, ...]
    """Blocks whose taps are kept, ascending, 0-based."""
    attention: Attention = "maps"
    """What is kept of the attention between neighbouring frames: averaged maps, q and k, or nothing."""
    dtype: Literal["float16"] = "float16"
    """Storage type of all features."""
    frames: int
    """T, frames per row."""
    views: int
    """V, rows per clip."""
    video: dict[str, Any]
    """Frame sampling, views and their seeds, preprocessing, decoder libraries: plain JSON values."""

    def __post_init__(self) -> None:
        if self.attention not in ATTENTION_MODES:
            raise ValueError(f"attention is one of {', '.join(ATTENTION_MODES)}, not {self.attention!r}")
        if not self.blocks or list(self.blocks) != sorted(set(self.blocks)):
            raise ValueError(f"blocks are distinct and ascending, e.g. 8 9 10 11, not {self.blocks}")
        if self.blocks[0] < 0 or self.blocks[-1] >= self.backbone.depth:
            raise ValueError(
                f"blocks lie in 0..{self.backbone.depth - 1} for this backbone, not {self.blocks}"
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

    @property
    def fingerprint(self) -> str:
        """sha256 of the spec's canonical JSON, in hex."""
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back."""
        return json.loads(canonical(asdict(self)))

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
        backbone = dict(values.pop("backbone"))
        backbone["grid"] = tuple(backbone["grid"])
        blocks = tuple(values.pop("blocks"))
        return cls(backbone=BackboneSpec(**backbone), blocks=blocks, **values)


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
