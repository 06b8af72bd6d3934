"""What a sweep tries: grids and random draws of config fields, read from the command line's text.

learning_rate=1e-4,3e-4,1e-3       these values
learning_rate=log:1e-5:1e-2        drawn so that its logarithm is uniform
gamma=uniform:0.9:0.999            drawn uniformly
num_envs=int:4:64                  a whole number drawn uniformly, both ends included
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from purejaxrl_gae.config import coerce, field_types
from purejaxrl_gae.errors import UserError, closest

KINDS = ("log", "uniform", "int")


@dataclass(frozen=True)
class Dimension:
    """One field and where its values come from.

    Attributes:
      name: of the config's field.
      choices: values to take, or empty where drawn from a range.
      kind: "log", "uniform" or "int"; "" for choices.
      low: smallest value of a range.
      high: largest.
    """

    name: str
    choices: tuple[Any, ...]
    kind: str = ""
    low: float = 0.0
    high: float = 0.0

    def draw(self, generator: np.random.Generator) -> Any:
        """One value at random."""
        if self.choices:
            return self.choices[generator.integers(len(self.choices))]
        if self.kind == "int":
            return int(generator.integers(int(self.low), int(self.high) + 1))
        if self.kind == "log":
            return float(np.exp(generator.uniform(math.log(self.low), math.log(self.high))))
        return float(generator.uniform(self.low, self.high))


def read_dimension(text: str, config_class: type, source: str) -> Dimension:
    """A dimension from `name=...`.

    Args:
      text: as on the command line.
      config_class: whose fields may be named.
      source: "grid" or "random", for messages.

    Raises:
      UserError: the name is no field, or the values are not of its type.
    """
    name, equals, values = text.partition("=")
    name = name.replace("-", "_")
    hints = field_types(config_class)
    if not equals or not values:
        raise UserError(f"{source} has {text!r}; it must be name=value,value,… or name=log:low:high")
    if name not in hints or name in ("env", "seed"):
        raise UserError(f"{source} has {name!r}, which is no field to sweep{closest(name, hints)}")
    kind, _, bounds = values.partition(":")
    if kind in KINDS and bounds:
        return _range(name, kind, bounds, hints[name], f"{source} {text!r}")
    return Dimension(name, tuple(_value(name, value, hints[name]) for value in values.split(",")))


def _range(name: str, kind: str, bounds: str, hint: Any, source: str) -> Dimension:
    try:
        low, high = (float(bound) for bound in bounds.split(":"))
    except ValueError:
        raise UserError(f"{source}: a range is {kind}:low:high") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (kind == "log" and low <= 0.0):
        raise UserError(f"{source}: low must be below high, and above 0 for log")
    coerce(name, int(low) if kind == "int" else low, hint)
    return Dimension(name, (), kind, low, high)


def _value(name: str, text: str, hint: Any) -> Any:
    """A value from text as its field's type; layers are written 64x64."""
    if text in ("true", "false"):
        return coerce(name, text == "true", hint)
    if text == "none":
        return coerce(name, None, hint)
    if name == "hidden_sizes":
        return coerce(name, text.split("x"), hint)
    return coerce(name, text, hint)


def grid(dimensions: list[Dimension]) -> list[dict[str, Any]]:
    """Every combination, the last name varying fastest.

    Raises:
      UserError: a dimension is a range.
    """
    for dimension in dimensions:
        if not dimension.choices:
            raise UserError(f"grid has {dimension.name}={dimension.kind}:…, a range; name its values, or use --random")
    names = [dimension.name for dimension in dimensions]
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(dimension.choices for dimension in dimensions))
    ]


def random(dimensions: list[Dimension], number: int, seed: int) -> list[dict[str, Any]]:
    """That many independent draws."""
    generator = np.random.default_rng(seed)
    return [{dimension.name: dimension.draw(generator) for dimension in dimensions} for _ in range(number)]
