"""Reading a command line into the fields of dataclasses, each flag once and each mistake one line.

A field `num_envs` is the flag `--num-envs VALUE` or `--num-envs=VALUE`; a tuple takes several values, and true or false
is said by `--norm-adv` and `--no-norm-adv`. What reads the values is what reads those of YAML files: `fields.coerce`.
"""

import typing
from typing import Any, NamedTuple

from purejaxrl_gae.settings.errors import UserError, closest, shown
from purejaxrl_gae.settings.fields import RENAMED, coerce, described, inner_of_optional

HELP = ("--help", "-h")
NONE = ("None", "none")


class Flag(NamedTuple):
    """One flag as given.

    Attributes:
      text: with its dashes, as typed, without a value.
      attached: the text behind `=`, or None.
      following: what stands between it and the next flag.
    """

    text: str
    attached: str | None
    following: list[str]

    @property
    def name(self) -> str:
        """The field's name, if it is one."""
        return self.text[2:].replace("-", "_")

    @property
    def values(self) -> list[str]:
        """All that could be its values."""
        return self.following if self.attached is None else [self.attached]


def wants_help(arguments: list[str]) -> bool:
    """Returns True where the command line asks for help."""
    return any(argument in HELP for argument in arguments)


def look_for(arguments: list[str], hints: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of a few flags that decide how all others are read.

    Raises:
      UserError: one has no value or a wrong one.
    """
    known = [flag for flag in _flags(arguments)[1] if is_known(flag, hints)]
    return {name: value for name, value, _ in (_value(flag, hints) for flag in known)}


def read(arguments: list[str], hints: dict[str, Any], positional: str | None = None) -> dict[str, Any]:
    """Returns the values of the fields that the command line names.

    Args:
      arguments: of the command line.
      hints: type of each field.
      positional: the field that takes what belongs to no flag, or None where nothing may.

    Raises:
      UserError: a flag is unknown, stands twice, or has no value, a wrong one or too many.
    """
    stray, flags = _flags(arguments)
    for flag in flags:
        refuse_unknown(flag, {name: hint for name, hint in hints.items() if name != positional})
    read: dict[str, Any] = {}
    for flag in flags:
        name, value, left = _value(flag, hints)
        if name in read:
            raise UserError(f"{flag.text} sets {name}, which is set already; one flag is enough")
        read[name] = value
        if left and positional is None:
            raise UserError(f"{shown(left[0])} behind {flag.text} belongs to no flag; {_usage(flag, hints)}")
        stray += left
    if positional is not None:
        read |= {positional: coerce(positional, stray, hints[positional])} if stray else {}
    elif stray:
        raise UserError(f"{shown(stray[0])} belongs to no flag; flags are --name value, see --help")
    return read


def is_known(flag: Flag, hints: dict[str, Any]) -> bool:
    """Returns True for a field's flag, and for `--no-` before that of a field that is true or false."""
    return flag.name in hints or hints.get(flag.name.removeprefix("no_")) is bool


def refuse_unknown(flag: Flag, hints: dict[str, Any]) -> None:
    """Refuses a flag of no field.

    Raises:
      UserError: with the closest that is known.
    """
    if is_known(flag, hints):
        return
    if RENAMED.get(flag.name) in hints:
        raise UserError(f"unknown flag {flag.text}; it is called --{RENAMED[flag.name].replace('_', '-')} now")
    known = [f"--{name.replace('_', '-')}" for name in hints]
    raise UserError(f"unknown flag {shown(flag.text)[1:-1]}{closest(flag.text, known)}")


def _flags(arguments: list[str]) -> tuple[list[str], list[Flag]]:
    """Returns what stands before the first flag, and the flags."""
    before: list[str] = []
    flags: list[Flag] = []
    for argument in arguments:
        if argument in HELP:
            continue
        if argument.startswith("--") and argument[2:3].isalpha():
            text, equals, value = argument.partition("=")
            flags.append(Flag(text, value if equals else None, []))
        else:
            (flags[-1].following if flags else before).append(argument)
    return before, flags


def _value(flag: Flag, hints: dict[str, Any]) -> tuple[str, Any, list[str]]:
    """Returns the field a flag sets, to what, and what follows that is not its own."""
    name = flag.name if flag.name in hints else flag.name.removeprefix("no_")
    hint = hints[name]
    if hint is bool:
        if flag.attached is not None:
            raise UserError(f"{flag.text} is {shown(flag.attached)}; {_usage(flag, hints)}")
        return name, name == flag.name, flag.following
    left = [] if flag.attached is None else flag.following
    if typing.get_origin(hint) is tuple:
        return name, coerce(flag.text, flag.values, hint), left
    text = _only_value(flag, hint)
    left = flag.following if flag.attached is not None else flag.following[1:]
    if inner_of_optional(hint) is not None and text in NONE:
        return name, None, left
    return name, coerce(flag.text, text, hint), left


def _only_value(flag: Flag, hint: Any) -> str:
    if not flag.values:
        raise UserError(f"{flag.text} needs a value: {described(hint)}")
    return flag.values[0]


def _usage(flag: Flag, hints: dict[str, Any]) -> str:
    """Returns how a flag is to be given."""
    name = flag.name if flag.name in hints else flag.name.removeprefix("no_")
    text = name.replace("_", "-")
    if hints[name] is bool:
        return f"it must be --{text} or --no-{text}, without a value"
    return f"--{text} takes one value"
