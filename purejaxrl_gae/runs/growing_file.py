"""Files that grow by what a run reports: what cannot be written now is kept in memory and written later."""

import contextlib
import os
from pathlib import Path

MOST_KEPT = 64 * 2**20  # bytes that wait in memory; beyond, the oldest are lost


class GrowingFile:
    """A file to whose end whole pieces are added.

    Args:
      path: of the file; made with the first piece.
    """

    def __init__(self, path: Path):
        self.path = path
        self._waiting: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Keeps a piece for the next flush."""
        self._waiting.append(piece)

    def flush(self) -> None:
        """Writes all that waits, or nothing of it.

        Raises:
          OSError: it could not be written and goes on waiting.
        """
        if not self._waiting:
            return
        try:
            _append(self.path, b"".join(self._waiting))
        except OSError:
            self._drop_oldest()
            raise
        self._waiting.clear()

    def _drop_oldest(self) -> None:
        surplus = sum(map(len, self._waiting)) - MOST_KEPT
        while surplus > 0:
            surplus -= len(self._waiting.pop(0))


def _append(path: Path, data: bytes) -> None:
    """Adds all the bytes or none: a disk that fills up in the middle leaves the file as it was."""
    with open(path, "ab", buffering=0, opener=_open_no_link) as file:
        end = file.seek(0, 2)
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise


def _open_no_link(path: str, flags: int) -> int:
    """Opens a file but not what a link leads to, which a stranger's folder may hold."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
