"""The errors a user can cause, each one line that names the field, the value and what would be valid."""

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

LONGEST_SHOWN = 80


class UserError(Exception):
    """A mistake in what the user asked for; the command line prints it as one line and exits with code 2."""


class RunError(Exception):
    """A run that cannot go on (non-finite numbers, no readable checkpoint); printed as one line, exit code 1."""


class EnvironmentFailure(RunError):
    """An environment that runs on the host raised, or returned what no environment may."""


class Interrupted(Exception):
    """A run was asked to stop and has saved; carries the exit code."""

    def __init__(self, exit_code: int):
        super().__init__(exit_code)
        self.exit_code = exit_code


def first_line(error: BaseException) -> str:
    """Returns the first line of an exception's message, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class _Clipped(reprlib.Repr):
    """Python's own clipped `repr`: it never looks at more than it shows, however large a value is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxother = 3, 4, LONGEST_SHOWN
        self.maxstring = self.maxlong = LONGEST_SHOWN

    def repr_int(self, number: int, level: int) -> str:
        """Returns its digits, or how long it is where Python refuses to write them."""
        if number.bit_length() > 4_000:
            return f"a whole number of {number.bit_length()} bits"
        return super().repr_int(number, level)


_clipped = _Clipped()


def shown(value: Any) -> str:
    """Returns a value as messages show it: its `repr`, clipped in the middle where it is long."""
    text = _clipped.repr(value)
    return text if len(text) <= 2 * LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}...{text[-LONGEST_SHOWN // 4 :]}"


def described(error: BaseException) -> str:
    """Words an exception in one short line: its kind and its message; of an error meant for users the message alone."""
    line = first_line(error)[:300]
    kind = type(error).__name__
    return line if isinstance(error, (UserError, RunError)) or line == kind else f"{kind}: {line}"


def closest(name: str, candidates: Iterable[str]) -> str:
    """Returns a hint naming the candidate most like `name`, or an empty string."""
    matches = difflib.get_close_matches(str(name)[:LONGEST_SHOWN], list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
