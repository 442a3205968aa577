"""Dotted fields of the configs, and values for them from text."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from decoders.config import TrainConfig
from decoders.sweeps.fields import field_type, field_types, fits, parsed, value_of, with_values


@dataclass(frozen=True, kw_only=True)
class Inner:
    on: bool = True
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    rate: float = 0.5
    seed: int | None = None


def test_names_are_those_of_the_dataclasses_in_their_order():
    assert list(field_types(Outer)) == ["inner.on", "inner.kind", "rate", "seed"]
    known = field_types(TrainConfig)
    assert {"optim.lr", "decoder.layers", "decoder.cross_frame", "label", "steps"} <= known.keys()
    assert value_of(TrainConfig(), "optim.lr") == TrainConfig().optim.lr


def test_a_value_is_set_deep_inside_and_nothing_else():
    changed = with_values(Outer(), {"inner.kind": "b"})
    assert changed == Outer(inner=Inner(kind="b"))
    assert with_values(changed, {"rate": 1.0}).inner.kind == "b"
    with pytest.raises(ValueError, match="dropout must lie in"):
        with_values(TrainConfig(), {"decoder.dropout": 2.0})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("inner.on", "false", False),
        ("inner.on", "on", True),
        ("inner.kind", "b", "b"),
        ("rate", "1e-3", 1e-3),
        ("seed", "none", None),
        ("seed", "7", 7),
    ],
)
def test_texts_become_values(name, text, value):
    hint = field_type(Outer, name)
    assert parsed(hint, text) == value
    assert fits(hint, value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("inner.on", "perhaps", "expected true or false, found 'perhaps'"),
        ("inner.kind", "c", "expected one of a, b, found 'c'"),
        ("rate", "fast", "expected a number, found 'fast'"),
        ("seed", "1.5", "expected a whole number or none, found '1.5'"),
    ],
)
def test_texts_that_are_no_values(name, text, message):
    with pytest.raises(ValueError, match=message):
        parsed(field_type(Outer, name), text)


def test_values_of_other_types_do_not_fit():
    assert fits(float, 1)
    assert not fits(int, 1.5)
    assert not fits(int, True)
    assert not fits(float, "1")


def test_an_unknown_name_gets_near_ones():
    with pytest.raises(ValueError, match=r"no setting 'lr' to vary; near it: optim\.lr"):
        field_type(TrainConfig, "lr")
    with pytest.raises(ValueError, match=r"near it: decoder\.layers"):
        field_type(TrainConfig, "decoder.layer")
