"""What a check of a bank finds, a line each: where, what was expected and found, and what mends it.

What is wrong with a shard costs only work: its commit record is removed, and the next extraction makes it
anew. The listing, the frozen weights and the manifest exist once, and come back only from a copy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Remedy = Literal["", "extract", "repair", "copy", "redo"]
"""What mends a finding; nothing where nothing is wrong."""

REMEDIES: dict[Remedy, str] = {
    "": "",
    "extract": "the next `framebank extract` mends it",
    "repair": "--repair marks the shard, and the next `framebank extract` makes it anew",
    "copy": "restore it from a copy",
    "redo": "`framebank extract --redo` makes a clip anew, if it is the bank that is wrong",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing worth a line."""

    where: str
    """File within the bank, or what part of the bank."""
    what: str
    """What is wrong with it, or worth knowing."""
    remedy: Remedy = ""
    """What mends it; nothing makes it information and not damage."""
    shard: tuple[int, int] | None = None
    """(part, shard) whose record a repair removes."""

    @property
    def damage(self) -> bool:
        """Whether something is wrong."""
        return self.remedy != ""

    def __str__(self) -> str:
        remedy = f"; {REMEDIES[self.remedy]}" if self.damage else ""
        return f"{self.where}: {self.what}{remedy}"


def beyond_repair(findings: Iterable[Finding]) -> list[Finding]:
    """The damage that does not go away by a repair and the next extraction."""
    return [found for found in findings if found.remedy in ("copy", "redo")]


def cause(error: Exception) -> str:
    """What an error that names the file as well was raised for."""
    return str(error.__cause__ or error)
