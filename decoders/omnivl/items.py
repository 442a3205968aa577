"""Images and clips one by one, with what is written about them: what an index lists and a caption belongs to.

Clips of equal content share a row of the bank, and are one item with several keys. Of a clip with several
views the first is taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from decoders.omnivl.schedule import Kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An image or a clip."""

    kind: Kind
    row: int
    """Of the bank."""
    keys: tuple[str, ...]
    """Names of the files; several where their content is equal."""
    split: str
    captions: tuple[str, ...]
    """Texts about it, each once."""
    label: int = -1
    """Class; -1 for none."""
    class_name: str = ""
    attributes: Mapping[str, str]
    """Further labels by name."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` turns them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Item":
        """The item that `to_json` turned into plain values."""
        fixed: dict[str, Any] = {name: tuple(values[name]) for name in ("keys", "captions")}
        return cls(**(values | fixed))


COLUMNS = ("row", "view", "key", "split", "label", "class_name", "captions", "attributes")
"""Columns of a bank's table that items are made of."""


def items_of(lines: Iterable[Mapping[str, Any]], kind: Kind) -> list[Item]:
    """The items of some lines of a bank's table, rows ascending."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        if line["view"] == 0:
            found.setdefault(line["row"], []).append(line)
    return [_item(found[row], kind) for row in sorted(found)]


def _item(twins: Sequence[Mapping[str, Any]], kind: Kind) -> Item:
    first = twins[0]
    texts = (text.strip() for line in twins for text in line["captions"] or ())
    return Item(
        kind=kind,
        row=first["row"],
        keys=tuple(line["key"] for line in twins),
        split=first["split"],
        captions=tuple(dict.fromkeys(text for text in texts if text)),
        label=first["label"],
        class_name=first["class_name"],
        attributes=dict(first["attributes"] or ()),
    )


def with_keys(items: Sequence[Item], keys: Sequence[str]) -> list[Item]:
    """The items of some keys, in the order of the keys. Raises ValueError for a key that none has."""
    known = {key: item for item in items for key in item.keys}
    if missing := [key for key in keys if key not in known]:
        near = ", ".join(list(known)[:3])
        raise ValueError(
            f"expected keys of written images or clips, found {missing[0]!r} ({len(missing)} such), which "
            f"none of {len(known)} has; keys look like {near}"
        )
    return [known[key] for key in keys]
