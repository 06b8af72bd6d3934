"""The errors a user can cause, each one line that names the field, the value and what would be valid."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user asked for; the command line prints it as one line and exits with code 2."""


class RunError(Exception):
    """A run that cannot go on (non-finite numbers, no readable checkpoint); printed as one line, exit code 1."""


class Interrupted(Exception):
    """A run was asked to stop and has saved; carries the exit code."""

    def __init__(self, exit_code: int):
        super().__init__(exit_code)
        self.exit_code = exit_code


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def closest(name: str, candidates: Iterable[str]) -> str:
    """A hint naming the candidate most like `name`, or an empty string."""
    matches = difflib.get_close_matches(str(name), list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
