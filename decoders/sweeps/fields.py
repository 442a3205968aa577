"""Fields of a config by dotted name (`optim.lr`), and values for them from text.

A sweep says what it varies in these names, and the command that trains its winner alone is written from them.
They are read from the dataclasses themselves, so a new field of any config can be varied at once.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def field_types(config: type, prefix: str = "") -> dict[str, Any]:
    """Dotted name to type of every field that holds a value, in order."""
    found: dict[str, Any] = {}
    hints = get_type_hints(config)
    for field in fields(config):
        hint, name = hints[field.name], prefix + field.name
        nested = isinstance(hint, type) and is_dataclass(hint)
        found |= field_types(hint, name + ".") if nested else {name: hint}
    return found


def field_type(config: type, name: str) -> Any:
    """The type of a field. Raises ValueError, with near names, where there is none."""
    known = field_types(config)
    if name not in known:
        ends = [other for other in known if other.split(".")[-1] == name.split(".")[-1]]
        near = ends or get_close_matches(name, known, 3, 0.5)
        raise ValueError(
            f"there is no setting {name!r} to vary; near it: {', '.join(near or known)} (any field of "
            f"{config.__name__}, nested ones with a dot)"
        )
    return known[name]


def value_of(config: Any, name: str) -> Any:
    """The value under a dotted name."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def with_values(config: Any, values: Mapping[str, Any]) -> Any:
    """The config with other values under dotted names, all at once: some only fit together. Its own checks
    raise ValueError.
    """
    changes: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        first, _, rest = name.partition(".")
        if rest:
            inner.setdefault(first, {})[rest] = value
        else:
            changes[first] = value
    changes |= {name: with_values(getattr(config, name), some) for name, some in inner.items()}
    return replace(config, **changes)


def parsed(hint: Any, text: str) -> Any:
    """A value of a field's type from text. Raises ValueError where it is none."""
    for kind in kinds_of(hint):
        value = _as(kind, text.strip())
        if value is not _NOTHING:
            return value
    raise ValueError(f"expected {described(hint)}, found {text.strip()!r}")


def fits(hint: Any, value: Any) -> bool:
    """Whether a value is one of a field's type; a whole number will do for a float."""
    for kind in kinds_of(hint):
        if get_origin(kind) is Literal:
            if value in get_args(kind):
                return True
        elif kind is None or not isinstance(kind, type):
            if value is kind:
                return True
        elif type(value) is kind or (kind is float and type(value) is int):
            return True
    return False


def described(hint: Any) -> str:
    """A type in words."""
    return " or ".join(_described(kind) for kind in kinds_of(hint))


def kinds_of(hint: Any) -> Iterator[Any]:
    """The alternatives of a type, None for "nothing"."""
    if get_origin(hint) in (Union, types.UnionType):
        yield from (None if kind is type(None) else kind for kind in get_args(hint))
    else:
        yield hint


class _Nothing:
    """What `_as` gives for a text that is no value."""


_NOTHING = _Nothing()


def _as(kind: Any, text: str) -> Any:
    if kind is None:
        return None if text.lower() == "none" else _NOTHING
    if get_origin(kind) is Literal:
        return next((choice for choice in get_args(kind) if str(choice) == text), _NOTHING)
    if kind is bool:
        return _WORDS.get(text.lower(), _NOTHING)
    if kind is str:
        return text
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return _NOTHING
    return _NOTHING


def _described(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if kind is bool:
        return "true or false"
    names = {int: "a whole number", float: "a number", str: "a text", None: "none"}
    return names.get(kind, str(kind))
