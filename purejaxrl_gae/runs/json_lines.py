"""Reading files of one JSON object a line as a crash or a bad disk may leave them."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Lines(NamedTuple):
    """The contents of such a file.

    Attributes:
      records: the objects, in order.
      raw: `records` as they stand in the file, each with its newline.
      unreadable: the number of each line, from 1, that is no such object, and the line. A last line cut short, which a
        crash leaves behind, is not among them.
    """

    records: list[dict[str, Any]]
    raw: list[bytes]
    unreadable: dict[int, bytes]

    def complaint(self, path: Path) -> str:
        """Returns the sentence that names the unreadable lines."""
        numbers = ", ".join(map(str, list(self.unreadable)[:5])) + (", …" if len(self.unreadable) > 5 else "")
        some = f"line {numbers}" if len(self.unreadable) == 1 else f"{len(self.unreadable)} lines ({numbers})"
        return f"{some} of {path} cannot be read"


def read(path: Path, is_right: Callable[[dict[str, Any]], bool]) -> Lines:
    """Reads the objects that are right; of a file that is not there, none.

    Raises:
      OSError: the file cannot be read, or is none: a device or a pipe, which a link may lead to, may have no end.
    """
    found = Lines([], [], {})
    if may_have_no_end(path):
        raise OSError(errno.EINVAL, "it is no file")
    *whole, last = path.read_bytes().split(b"\n") if path.exists() else [b""]
    for number, line in enumerate([*whole, last], 1):
        record = parsed(line)
        if isinstance(record, dict) and is_right(record):
            found.records.append(record)
            found.raw.append(line + b"\n")
        elif number <= len(whole):
            found.unreadable[number] = line + b"\n"
    return found


def may_have_no_end(path: Path) -> bool:
    """Says whether a path is, or leads by a link to, a device or a pipe."""
    return path.exists() and not (path.is_file() or path.is_dir())


def is_number(value: Any) -> bool:
    """Says whether a value is a number that a float holds; JSON's whole numbers have no limit of their own."""
    return isinstance(value, float) or (type(value) is int and abs(value) <= sys.float_info.max)


def parsed(text: bytes) -> Any:
    """Parses JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError
        return None
