"""Standard output and error as a training may use them: what cannot be shown is left out and costs nothing."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class Stream:
    """Standard output or error, whatever has become of it.

    Args:
      name: `stdout` or `stderr`.
      lost: told once, in a few words, that nothing can be written there.
    """

    def __init__(self, name: str, lost: Callable[[str], None] = lambda reason: None):
        self._name, self._lost = name, lost
        self._told = self._gone = False

    @property
    def encoding(self) -> str:
        """Returns the encoding of what is written."""
        return getattr(self._file(), "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Returns whether a person looks on."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            return not self._gone and bool(self._file().isatty())
        return False

    def write(self, text: str) -> int:
        """Writes what the encoding can say, the rest as escapes."""
        encoding = self.encoding
        shown = text.encode(encoding, "backslashreplace").decode(encoding)
        self._attempt(lambda file: file.write(shown))
        return len(text)

    def flush(self) -> None:
        """Hands on what has been written."""
        self._attempt(lambda file: file.flush())

    def _file(self) -> Any:
        file = getattr(sys, self._name)
        return getattr(file, "rich_proxied_file", file)  # rich stands in for it while a bar is shown

    def _attempt(self, action: Callable[[Any], Any]) -> None:
        file = self._file()
        if file is None or self._gone:
            return
        try:
            action(file)
        except (OSError, ValueError) as error:  # a ValueError where it has been closed
            self._gone = isinstance(error, (BrokenPipeError, ValueError))
            if not self._told:
                self._told = True
                self._lost(getattr(error, "strerror", None) or str(error))


@contextlib.contextmanager
def dispensable() -> Iterator[None]:
    """Lets a whole command go on, and end with its own exit code, where its output cannot be written."""
    _open_missing()
    try:
        yield
    finally:
        for file in (sys.stdout, sys.stderr):
            forget_unwritable(file)


def _open_missing() -> None:
    """Opens the null device in place of closed descriptors, which the next file to be opened would else take."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def forget_unwritable(file: Any) -> None:
    """Sends to the null device what Python would else fail to write when it ends."""
    try:
        file.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, file.fileno())
            os.close(null)
