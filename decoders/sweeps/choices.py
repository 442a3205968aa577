"""What one setting of a sweep may be: some values, or a range to draw from.

    optim.lr=1e-3,2e-3,4e-3            these values
    optim.weight_decay=log:1e-4:1e-1   drawn so that each factor of ten is as likely (random search)
    decoder.dropout=linear:0:0.5:6     evenly; the fourth figure is how many points a grid takes
    decoder.layers=integer:1:4         whole numbers, both ends included

Drawn values keep four digits: more say nothing, and the command that repeats a trial stays readable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from decoders.sweeps.fields import described, field_type, fits, parsed

Scale = Literal["log", "linear", "integer"]


@dataclass(frozen=True, slots=True)
class Choices:
    """Some values."""

    values: tuple[Any, ...]
    """In the order of a grid."""

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise ValueError(f"expected different values to choose from, found {self.text or 'none'}")

    @property
    def text(self) -> str:
        """As the command line has it."""
        return ",".join(str(value) for value in self.values)

    def grid(self) -> tuple[Any, ...]:
        """The values."""
        return self.values

    def draw(self, generator: np.random.Generator) -> Any:
        """One of the values, each as likely."""
        return self.values[generator.integers(len(self.values))]


@dataclass(frozen=True, slots=True)
class Range:
    """All values between two ends."""

    scale: Scale
    """`log` and `linear` for numbers, `integer` for whole ones."""
    low: int | float
    """Lower end, included."""
    high: int | float
    """Upper end, included."""
    points: int = 0
    """How many a grid takes, ends included; 0 is for random search only (whole numbers: a grid takes all)."""

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            raise ValueError(f"expected a range of log, linear or integer, found {self.scale!r}")
        if not self.low < self.high:
            raise ValueError(f"expected a range from low to high, found {self.low} to {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"expected a log range above 0, found {self.low} to {self.high}")
        if self.scale == "integer" and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ValueError(f"expected whole ends of an integer range, found {self.low} and {self.high}")
        if self.points < 0 or self.points == 1:
            raise ValueError(f"expected at least 2 points of a range, found {self.points}")

    @property
    def text(self) -> str:
        """As the command line has it."""
        points = f":{self.points}" if self.points else ""
        return f"{self.scale}:{self.low:.12g}:{self.high:.12g}{points}"

    def grid(self) -> tuple[Any, ...]:
        """Its points, evenly spread. Raises ValueError where it does not say how many."""
        whole = self.scale == "integer"
        count = self.points or (int(self.high - self.low) + 1 if whole else 0)
        if not count:
            raise ValueError(
                f"expected values or a number of points for a grid, found {self.text}; add the number "
                f"({self.text}:5), or use --search random"
            )
        spread = np.geomspace if self.scale == "log" else np.linspace
        return tuple(dict.fromkeys(self._value(x) for x in spread(self.low, self.high, count)))

    def draw(self, generator: np.random.Generator) -> Any:
        """A value, each as likely on its scale."""
        if self.scale == "integer":
            return int(generator.integers(int(self.low), int(self.high), endpoint=True))
        if self.scale == "log":
            return self._value(np.exp(generator.uniform(np.log(self.low), np.log(self.high))))
        return self._value(generator.uniform(self.low, self.high))

    def _value(self, x: float) -> Any:
        return round(float(x)) if self.scale == "integer" else float(f"{x:.4g}")


Varied = Choices | Range


def parse_varied(config: type, text: str) -> tuple[str, Varied]:
    """`name=values` as the command line has it, for a field of a config class. Raises ValueError."""
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise ValueError(f"expected NAME=VALUE,VALUE or NAME=log:LOW:HIGH to vary, found {text!r}")
    name = name.strip().replace("-", "_")
    hint = field_type(config, name)
    scale, colon, rest = values.partition(":")
    try:
        if colon and scale in get_args(Scale):
            varied: Varied = _range(cast(Scale, scale), rest.split(":"))
        else:
            varied = Choices(tuple(parsed(hint, value) for value in values.split(",")))
        check_varied(hint, varied)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return name, varied


def check_varied(hint: Any, varied: Varied) -> None:
    """Raise ValueError where values are not of a field's type."""
    if isinstance(varied, Range):
        sample: tuple[Any, ...] = (1,) if varied.scale == "integer" else (0.5,)
    else:
        sample = varied.values
    wrong = [value for value in sample if not fits(hint, value)]
    if wrong:
        what = f"the range {varied.text}" if isinstance(varied, Range) else repr(wrong[0])
        raise ValueError(f"expected {described(hint)}, found {what}")


def _range(scale: Scale, figures: Sequence[str]) -> Range:
    if len(figures) not in (2, 3):
        raise ValueError(f"expected {scale}:LOW:HIGH or {scale}:LOW:HIGH:POINTS, found {':'.join(figures)}")
    low, high = (parsed(float, figure) for figure in figures[:2])
    points = parsed(int, figures[2]) if len(figures) == 3 else 0
    return Range(scale, low, high, points)
