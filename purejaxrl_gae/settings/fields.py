"""Fields of dataclasses: what types they have, how text and YAML become them, and one-line refusals."""

import dataclasses
import functools
import math
import numbers
import re
import types
import typing
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from purejaxrl_gae.settings.errors import UserError, closest, shown
from purejaxrl_gae.settings.trust import vouched

NUMBER = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
MOST_DIGITS, TOO_LONG = 300, Decimal("Infinity")
MOST_LETTERS = 255  # of a name in a path: what file systems have room for
LARGEST_FLOAT, SMALLEST_FLOAT = 3.4028234e38, 1.1754944e-38  # of float32
TRACED = "traced"
Traced = Annotated[float, TRACED]
"""The type of a field whose value enters the program as data: it can be swept and vmapped without compiling again."""
RENAMED = {"kl_target": "desired_kl"}  # fields of files and flags until 0.1
MOST_LOOPS = 10_000  # rounds of a loop that makes keys or rows for each beforehand


def require(config: Any, name: str, condition: bool, valid: str) -> None:
    """Raises the one-line error for a field whose value is out of range."""
    if not condition:
        raise UserError(f"{name} is {shown(getattr(config, name))}; it must be {valid}")


def require_between(config: Any, low: int, high: int, *names: str) -> None:
    """Requires each named field to lie between two whole numbers, both included, or to be None."""
    for name in names:
        value = getattr(config, name)
        require(config, name, value is None or low <= value <= high, f"between {low} and {high}")


def require_fraction(config: Any, *names: str) -> None:
    """Requires each named field to lie in [0, 1]."""
    for name in names:
        require(config, name, 0.0 <= getattr(config, name) <= 1.0, "between 0 and 1")


def require_non_negative(config: Any, *names: str) -> None:
    """Requires each named field to be finite and at least 0."""
    for name in names:
        value = getattr(config, name)
        require(config, name, math.isfinite(value) and value >= 0.0, "a finite number, 0 or more")


def require_name(config: Any, name: str) -> None:
    """Requires a field that is text to be a name: neither empty nor longer than a file's name may be."""
    value = getattr(config, name)
    fits = not isinstance(value, str) or (0 < len(value) <= MOST_LETTERS and value.isprintable())
    require(config, name, fits, f"a name of 1 to {MOST_LETTERS} letters")


def require_part(config: Any, name: str, built_in: Collection[str]) -> None:
    """Requires a field that names a part to be one of the package's, MODULE:NAME, or an object."""
    check_part(name, getattr(config, name), built_in)


def check_part(name: str, value: Any, built_in: Collection[str]) -> None:
    """Refuses a text that names no part of the package and none of the user's own.

    Raises:
      UserError: says what there is.
    """
    if isinstance(value, str) and value not in built_in and ":" not in value:
        choices = ", ".join(map(repr, built_in))
        hint = closest(value, built_in)
        raise UserError(f"{name} is {shown(value)}; it must be one of {choices}, or MODULE:NAME of your own{hint}")


def check_types(config: Any) -> None:
    """Requires every field of a config dataclass to hold a value of its declared type.

    Raises:
      UserError: the first that does not.
    """
    for name, hint in field_types(type(config)).items():
        value = getattr(config, name)
        coerced = coerce(name, value, hint)
        if isinstance(value, str) and not isinstance(coerced, (str, Path)):
            raise UserError(f"{name} is {shown(value)}, a text; it must be {described(hint)}")
        if isinstance(value, float) and isinstance(coerced, int):
            raise UserError(f"{name} is {shown(value)}, a float; it must be a whole number, as {coerced}")


def field_types(kind: Any) -> dict[str, Any]:
    """Returns names and type hints of a dataclass's fields."""
    return dict(_field_types(kind))


@functools.cache
def _field_types(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def inner_of_optional(hint: Any) -> Any | None:
    """Returns `T` of the hint `T | None`, or None for any other hint."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return None
    (inner,) = [argument for argument in typing.get_args(hint) if argument is not type(None)]
    return inner


def traced_fields(kind: type) -> list[str]:
    """Names the fields of a config class that are Traced, in their order."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return [field.name for field in dataclasses.fields(kind) if _is_traced(hints[field.name])]


def _is_traced(hint: Any) -> bool:
    """Says whether a hint is Traced, or Traced | None."""
    return TRACED in getattr(hint, "__metadata__", ()) or any(_is_traced(inner) for inner in typing.get_args(hint))


def coerce(name: str, value: Any, hint: Any) -> Any:
    """Returns a value from a file or a command line as its field's type.

    `3e-4` as text and `1` as an integer are good floats; `1e6` is a good integer.

    Args:
      name: of the field or flag, for messages.
      value: text, or what YAML holds.
      hint: the field's type.

    Raises:
      UserError: it cannot be read as that type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        return _coerce_choice(name, value, arguments)
    if inner_of_optional(hint) is not None:
        return None if value is None else coerce(name, value, inner_of_optional(hint))
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(coerce(name, item, arguments[0]) for item in value)
        raise UserError(f"{name} is {shown(value)}; it must be a list of {described(arguments[0], several=True)}")
    if hint is bool and not isinstance(value, bool):
        raise UserError(f"{name} is {shown(value)}; it must be true or false")
    if hint is bool:
        return value
    if hint is str or hint is Path:
        return _coerce_text(name, value, hint)
    return _coerce_number(name, value, hint)


def _coerce_choice(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if isinstance(value, str) and value in choices:
        return value
    listed = ", ".join(repr(choice) for choice in choices)
    hint = closest(value, choices) if isinstance(value, str) else ""
    raise UserError(f"{name} is {shown(value)}; it must be one of {listed}{hint}")


def _coerce_text(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, (str, Path)):
        raise UserError(f"{name} is {shown(value)}; it must be {described(kind)}")
    if "\0" in str(value):
        raise UserError(f"{name} is {shown(value)}; it must not hold the letter NUL")
    if kind is Path:
        value = vouched(value)  # a path names no module, and pathlib takes plain texts only
        lengths = [len(part.encode(errors="surrogateescape")) for part in Path(value).parts]
        if not str(value) or max(lengths, default=0) > MOST_LETTERS:
            raise UserError(f"{name} is {shown(value)}; it must be a path whose names have 1 to {MOST_LETTERS} bytes")
    return value if isinstance(value, kind) else kind(value)  # a subclass of str may say where the text is from


def _coerce_number(name: str, value: Any, kind: type) -> Any:
    number = _number(value)
    if number is None:
        raise UserError(f"{name} is {shown(value)}; it must be {described(kind)}")
    if kind is int:
        if not math.isfinite(number) or number != int(number):
            raise UserError(f"{name} is {shown(value)}; it must be {described(int)} of at most {MOST_DIGITS} digits")
        return int(number)
    size = abs(float(number))
    if size != 0.0 and not SMALLEST_FLOAT <= size <= LARGEST_FLOAT:
        raise UserError(f"{name} is {shown(value)}; it must be a finite number of float32, 0 or 1.2e-38 to 3.4e38")
    return float(number)


def _number(value: Any) -> int | float | Decimal | None:
    """Returns the number that a value is or says, exactly, or None where it is none."""
    if isinstance(value, str):
        text = value.strip()
        if not NUMBER.fullmatch(text):
            return None
        number = Decimal(text) if len(text) <= MOST_DIGITS else TOO_LONG
        return number if abs(number.adjusted()) < MOST_DIGITS else TOO_LONG
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value) if abs(int(value)) < 10**MOST_DIGITS else TOO_LONG
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    if getattr(value, "shape", None) != ():
        return None
    try:
        return float(value)  # an array of one number
    except (TypeError, ValueError):
        return None


def described(kind: Any, *, several: bool = False) -> str:
    """Returns what a value of a type is, in words."""
    one = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    many = {int: "whole numbers", float: "numbers", str: "texts", Path: "paths"}
    if inner_of_optional(kind) is not None:
        return f"{described(inner_of_optional(kind))}, or none"
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(kind))
    return (many if several else one).get(kind, str(kind))
