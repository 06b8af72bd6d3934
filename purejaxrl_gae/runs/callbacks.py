"""Functions of the user's own that a run calls between two compiled stretches, and by which it can be stopped."""

from collections.abc import Callable
from typing import Any

import numpy as np

from purejaxrl_gae.runs import devices
from purejaxrl_gae.settings import parts, trust
from purejaxrl_gae.settings.errors import RunError, UserError, described

OnReport = Callable[[dict[str, Any]], Any]


class CallbackFailure(RunError):
    """A callback raised; the training until then is good."""


class Callbacks:
    """The callbacks of one run; of several processes only the one that writes calls them.

    Args:
      on_report: handed in, or None.
      reference: MODULE:NAME of another, or None.

    Raises:
      UserError: there is no such function.
    """

    def __init__(self, on_report: OnReport | None, reference: str | None):
        self._functions: dict[str, OnReport] = {}
        if on_report is not None:
            self._functions[f"on_report {parts.name_of(on_report)}"] = on_report
        if reference is not None:
            self._functions[f"callback {trust.vouched(reference)}"] = trust.load("callback", reference)
        for name, function in self._functions.items():
            if not callable(function):
                raise UserError(f"{name} is a {type(function).__name__}; it must be a function of a record")

    def stop_after(self, record: dict[str, Any]) -> bool:
        """Calls each with a copy of what was reported; True where one returned True, in whatever process.

        Raises:
          CallbackFailure: one raised.
        """
        if not self._functions:
            return False
        called = [self._call(name, record) for name in self._functions] if devices.is_writer() else []
        return devices.agree(any(called))

    def _call(self, name: str, record: dict[str, Any]) -> bool:
        try:
            answer = self._functions[name](dict(record))
        except Exception as error:
            raise CallbackFailure(f"{name} raised {described(error)}") from error
        return isinstance(answer, (bool, np.bool_)) and bool(answer)
