"""Rows encoded again, and held against what the bank has of them.

Digests prove that a bank is what was written; this proves that what was written is what the backbone sees in
these videos: source, decoder, frames, weights, precision and storage, all at once. Encoding again gives equal
values on the same machine and nearly equal ones elsewhere, since sums are taken in another order. With the
demo's tiny CLIP the same row differs by 0, bf16 in place of fp32 by 0.6 %, the nearest other clip by 60 %.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from backbones.config import BackboneConfig, Boundary, Precision
from pipeline.decode_worker import DecodeLimits, decode_isolated, own_process
from pipeline.encode import build_tower, encode_rows
from pipeline.task import clip_of
from storage import Bank, BankError, BankSpec, MissingRow, decoded, is_scale
from video import ViewPlan, decoder_versions

COMPUTED = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2}
"""How much two machines may differ by what the tower computes in, relative to the norm of a row."""
STORED = {"float16": 1e-3, "int8": 1e-2, "uint8": 1e-2}
"""How much the rounding to the storage type may add: values at the edge of a step fall to either side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowCheck:
    """What came of encoding one row again."""

    row: int
    """Its number."""
    key: str
    """The clip's name."""
    differences: dict[str, float] = field(default_factory=dict)
    """Array name to |fresh - stored| / |stored|, Euclidean over the row."""
    wrong: str = ""
    """How it differs by more than it may, or nothing."""
    unchecked: str = ""
    """Why it could not be encoded again, or nothing."""


class Recheck:
    """Encodes rows of a bank again.

    Raises:
        SpecMismatch: the weights are not the bank's.
        BackboneError: the backbone cannot be loaded.
    """

    def __init__(self, bank: Bank, backbone: BackboneConfig, device: str = "") -> None:
        self.bank, self.spec = bank, bank.spec
        self.plan = plan_of(bank.spec)
        blocks = sorted({block for kept in self.spec.kept for block in kept.token_blocks})
        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.tower = build_tower(backbone, self.spec, blocks, where)

    def draw(self, count: int, seed: int) -> list[int]:
        """Some written rows, ascending, spread over the shards: all have one before any has two."""
        shuffled = np.random.default_rng(seed).permutation(self.bank.rows())
        seen: Counter[int] = Counter()
        rank = []
        for shard in (shuffled // self.bank.rows_per_shard).tolist():
            rank.append(seen[shard])
            seen[shard] += 1
        return sorted(shuffled[np.argsort(rank, kind="stable")][:count].tolist())

    def other_decoders(self) -> list[str]:
        """Decoder libraries of another version than when the bank was made, a text for each."""
        then, now = self.spec.video.get("decoders", {}), decoder_versions()
        return [f"{name} is {now.get(name)}, was {old}" for name, old in then.items() if now.get(name) != old]

    def rows(self, rows: Sequence[int]) -> Iterator[RowCheck]:
        """Check some written rows, in the order given."""
        lines = lines_of(self.bank, rows)
        try:
            yield from (self.row(row, *lines[row]) for row in rows)
        finally:
            while own_process():
                own_process().pop().stop()

    def row(self, row: int, facts: Mapping[str, Any], listed: dict[str, Any]) -> RowCheck:
        """Decode a row's clip once more, encode its view, compare every array that the bank has of it.

        Args:
            row: its number. facts: its line of the facts. listed: the listing's line of its clip.
        """
        plan = self.plan.with_frames(listed["frames"])
        decoded = decode_isolated(clip_of(listed), plan, DecodeLimits())
        if decoded.clip is None:
            return RowCheck(row=row, key=listed["key"], unchecked=decoded.reason)
        if decoded.clip.content != facts["content"]:
            now, then = decoded.clip.content[:12], facts["content"][:12]
            wrong = f"its source now has the digest {now}, encoded was one with {then}"
            return RowCheck(row=row, key=listed["key"], wrong=wrong)
        try:
            differences = self._differences(row, decoded.clip.frames[facts["view"]])
        except BankError as error:
            return RowCheck(row=row, key=listed["key"], unchecked=str(error))
        wrong = [
            f"{name} differs by {difference:.2g} where {self.allowed(name):.2g} is allowed"
            for name, difference in differences.items()
            if not difference <= self.allowed(name)
        ]
        return RowCheck(row=row, key=listed["key"], differences=differences, wrong="; ".join(wrong[:3]))

    def allowed(self, name: str) -> float:
        """Up to which relative difference an array counts as the same."""
        return COMPUTED[self.spec.backbone.precision] + STORED[self.bank.layouts[name].dtype]

    def _differences(self, row: int, frames: np.ndarray) -> dict[str, float]:
        layouts = [layout for layout in self.bank.layouts.values() if layout.frames == len(frames)]
        fresh = encode_rows(self.tower, frames[None], layouts).values
        found: dict[str, float] = {}
        for layout in layouts:
            if is_scale(layout.name):
                continue  # compared with what it scales
            try:
                stored = self.bank.values(layout.name, [row])
            except MissingRow:
                continue  # a later part that lacks this row so far
            again = decoded(layout.name, fresh).astype(np.float32, copy=False)
            found[layout.name] = relative_difference(again, stored)
        return found


def backbone_of(bank: Bank, name: str = "", weights: str = "") -> BackboneConfig:
    """The backbone that made a bank: as the bank says, or as named.

    Raises:
        ValueError: neither says anything.
    """
    made, tower = bank.manifest.made, bank.spec.backbone
    window, boundary = tower.view
    if not (name or made.get("backbone")):
        raise ValueError(
            f"{bank.path} does not say which backbone made it; name it with --backbone.name and, where it "
            "needs them, --backbone.weights"
        )
    return BackboneConfig(
        name=name or made["backbone"],
        weights=weights or ("" if name else made.get("weights", "")),
        precision=cast(Precision, tower.precision),
        quick_gelu=tower.quick_gelu,
        window=window,
        boundary=cast(Boundary | None, boundary),
    )


def lines_of(bank: Bank, rows: Sequence[int]) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """Row to its facts and the listing's line of the first clip that owns it."""
    every = bank.facts()
    facts = every.take(np.flatnonzero(np.isin(every["row"].to_numpy(), rows))).to_pylist()
    owners = [line["row"] - line["view"] for line in facts]
    found = bank.listing.take(np.flatnonzero(np.isin(bank.listing["row"].to_numpy(), owners))).to_pylist()
    clips = {line["row"]: line for line in reversed(found)}
    return {line["row"]: (line, clips[line["row"] - line["view"]]) for line in facts}


def plan_of(spec: BankSpec) -> ViewPlan:
    """The view plan that a spec holds as plain values (`ViewPlan.to_json`).

    Raises:
        ValueError: the bank was not made from videos.
    """
    values = spec.video.get("plan") or {}
    if "sampling" not in values:
        raise ValueError("the bank's spec has no plan of views, so its rows cannot be made again")
    return ViewPlan.from_json(values)


def relative_difference(fresh: np.ndarray, stored: np.ndarray) -> float:
    """Euclidean norm of the difference over that of what is stored; 0 where both are zero."""
    gap, size = (float(np.linalg.norm(found.astype(np.float64))) for found in (fresh - stored, stored))
    return gap / size if size else float(gap > 0)
