"""Search spaces of sweeps: grids and random draws of config fields, read from the command line's text.

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

from purejaxrl_gae.settings import trust
from purejaxrl_gae.settings.errors import UserError, closest, shown
from purejaxrl_gae.settings.fields import coerce, described, field_types, inner_of_optional

KINDS = ("log", "uniform", "int")
NOT_SWEPT = ("env", "seed")
MOST_CONFIGURATIONS = 10_000  # all are checked before any is trained


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

    @property
    def ends(self) -> tuple[float, float]:
        """Returns the smallest and the largest value of a range."""
        return self.low, self.high

    def draw(self, generator: np.random.Generator) -> Any:
        """Draws one value."""
        if self.choices:
            return self.choices[generator.integers(len(self.choices))]
        if self.kind == "int":
            return int(generator.integers(int(self.low), int(self.high) + 1))
        if self.kind == "log":
            return float(np.exp(generator.uniform(math.log(self.low), math.log(self.high))))
        return float(generator.uniform(self.low, self.high))


def read_dimensions(texts: tuple[str, ...], config_class: type, source: str) -> list[Dimension]:
    """Returns the dimension of each text; see `read_dimension`.

    Raises:
      UserError: also where one field stands twice.
    """
    dimensions: dict[str, Dimension] = {}
    for text in texts:
        dimension = read_dimension(text, config_class, source)
        if dimension.name in dimensions:
            raise UserError(f"{source} has {dimension.name} twice; name all its values at once: {dimension.name}=…,…")
        dimensions[dimension.name] = dimension
    return list(dimensions.values())


def read_dimension(text: str, config_class: type, source: str) -> Dimension:
    """Reads a dimension from `name=...`.

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
        raise UserError(f"{source} has {shown(text)}; it must be name=value,value,… or name=log:low:high")
    if name in NOT_SWEPT:
        raise UserError(f"{source} has {name!r}, which is no field to sweep; set it by --{name}")
    if name not in hints:
        swept = [known for known in hints if known not in NOT_SWEPT]
        raise UserError(f"{source} has {shown(name)}, which is no field to sweep{closest(name, swept)}")
    kind, _, bounds = values.partition(":")
    if kind in KINDS and bounds:
        return _range(name, kind, bounds.split(":"), hints[name], f"{source} has {shown(text)}")
    choices = tuple(_value(name, value, hints[name], source) for value in values.split(","))
    return Dimension(name, trust.foreign(choices, text.source) if isinstance(text, trust.Foreign) else choices)


def read_ranges(texts: tuple[str, ...], source: str) -> dict[str, Dimension]:
    """Returns the range of each `name=uniform:low:high`, `name=log:low:high` or `name=int:low:high`.

    Args:
      texts: as on the command line.
      source: the field that has them, for messages.

    Raises:
      UserError: one is not of that form, or a name comes twice.
    """
    ranges: dict[str, Dimension] = {}
    for text in texts:
        name, _, values = text.partition("=")
        kind, _, bounds = values.partition(":")
        if not name.isidentifier() or kind not in KINDS or not bounds:
            raise UserError(
                f"{source} has {shown(text)}; it must be name=uniform:low:high, or log: or int: for uniform:"
            )
        if name in ranges:
            raise UserError(f"{source} has {shown(name)} twice; once is enough")
        ranges[name] = _range(
            name, kind, bounds.split(":"), int if kind == "int" else float, f"{source} has {shown(text)}"
        )
    return ranges


def _range(name: str, kind: str, bounds: list[str], hint: Any, source: str) -> Dimension:
    of_bounds = int if kind == "int" else float
    if of_bounds not in (hint, inner_of_optional(hint)) and (kind, hint) != ("int", float):
        inner = inner_of_optional(hint) or hint
        right = {int: "int:low:high", float: "log:low:high"}.get(inner, "name=value,value,…")
        raise UserError(f"{source}, but {name} is {described(hint)}; it must be {right}")
    if len(bounds) != 2:
        raise UserError(f"{source}; a range is {kind}:low:high")
    low, high = (coerce(f"{source}, whose bound", bound, of_bounds) for bound in bounds)
    if low >= high or (kind == "log" and low <= 0.0):
        raise UserError(f"{source}; low must be below high, and above 0 for log")
    if kind == "int" and not -(2**62) <= low < high <= 2**62:
        raise UserError(f"{source}; bounds must be between -2^62 and 2^62")
    return Dimension(name, (), kind, low, high)


def _value(name: str, text: str, hint: Any, source: str) -> Any:
    """Returns a value from text as its field's type; layers are written 64x64."""
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    value = text.split("x") if name == "hidden_sizes" else words.get(text, text)
    return coerce(f"{name} of {source}", value, hint)


def grid(dimensions: list[Dimension]) -> list[dict[str, Any]]:
    """Lists every combination, the last name varying fastest.

    Raises:
      UserError: a dimension is a range, or there are too many combinations.
    """
    for dimension in dimensions:
        if not dimension.choices:
            raise UserError(f"grid has {dimension.name}={dimension.kind}:…, a range; name its values, or use --random")
    number = math.prod(len(dimension.choices) for dimension in dimensions)
    if number > MOST_CONFIGURATIONS:
        raise UserError(f"grid has {number} combinations; it must have at most {MOST_CONFIGURATIONS}")
    names = [dimension.name for dimension in dimensions]
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(dimension.choices for dimension in dimensions))
    ]


def random(dimensions: list[Dimension], number: int, seed: int) -> list[dict[str, Any]]:
    """Draws that many configurations independently."""
    generator = np.random.default_rng(seed)
    return [{dimension.name: dimension.draw(generator) for dimension in dimensions} for _ in range(number)]
