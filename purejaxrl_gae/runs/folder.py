"""A folder that one process writes, and that costs no training where it cannot be written."""

import contextlib
import os
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from purejaxrl_gae.settings.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows, where folders are not locked
    fcntl = None  # type: ignore[assignment]


class Folder:
    """A folder, what could not be written to it yet, and its lock.

    Args:
      path: of the folder.
      complain: told when a kind of file cannot be written, and when it can again.
      writes: write at all; of several processes only one does.
      reserved: the folder was made empty, to be removed if it stays so.

    Attributes:
      failing: the files that could not be written when last tried, each with the reason.
    """

    def __init__(self, path: Path, complain: Callable[[str], None], *, writes: bool = True, reserved: bool = False):
        self.path = path
        self.failing: dict[str, str] = {}
        self._complain, self._writes, self._says_at_once = complain, writes, True
        self._reserved = reserved and writes
        self._lock: int | None = None

    def make(self, marker: str, text: str) -> None:
        """Makes the folder and locks it, with the file that marks it as taken.

        Raises:
          UserError: it cannot be made or written, or another was quicker.
        """
        if not self._writes:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock("run_dir")
            refuse_taken(self.path, marker)
            replace_file(self.path / marker, text)
            self._reserved = False
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"run_dir is {str(self.path)!r}, which cannot be made or written: {reason}") from None

    def lock(self, field: str) -> None:
        """Keeps other processes from writing here, until closed or the process ends in whatever way.

        Raises:
          UserError: another process writes here; `field` is named.
        """
        if fcntl is None or not self._writes:
            return
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:
            return  # whoever cannot open it learns so at the first file
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(
                f"{field} is {str(self.path)!r}, which another process is writing; wait for its end, or stop it"
            ) from None
        except OSError:
            os.close(descriptor)  # a file system without locks
            return
        self._lock = descriptor

    def attempt(self, what: str, write: Callable[[], None]) -> bool:
        """Runs a write; complains when it begins to fail, and when it is done again. True if written."""
        if not self._writes:
            return True
        try:
            write()
        except OSError as error:
            reason = error.strerror or str(error)
            if what not in self.failing and self._says_at_once:
                self._complain(f"{what} in {self.path} cannot be written ({reason}); it is tried again later")
            self.failing[what] = reason
            return False
        if self.failing.pop(what, None) is not None and self._says_at_once:
            self._complain(f"{what} in {self.path} can be written again")
        return True

    def write_file(self, name: str, contents: bytes) -> bool:
        """Writes a file, also in a folder within; True if it could be written."""
        return self.attempt(name, lambda: self._write_file(self.path / name, contents))

    def complain_no_more(self) -> None:
        """Leaves it to the run's last line to say what is missing."""
        self._says_at_once = False

    def missing(self) -> str:
        """Names what could not be written and why, or is empty."""
        by_reason: dict[str, list[str]] = {}
        for what, reason in self.failing.items():
            by_reason.setdefault(reason, []).append(what)
        return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())

    def close(self) -> None:
        """Lets others write here."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._reserved:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def _write_file(self, path: Path, contents: bytes) -> None:
        if path.parent != self.path:
            path.parent.mkdir(exist_ok=True)
        replace_file(path, contents)


def refuse_unusable(path: Path, marker: str) -> None:
    """Looks, without making anything, whether a new folder could be made.

    Raises:
      UserError: it is taken, or nothing can be written there.
    """
    refuse_taken(path, marker)
    if not _is_unicode(path):
        raise UserError(
            f"run_dir is {str(path)!r}; it must be a name in letters of this locale; PYTHONUTF8=1 has them all"
        )
    try:
        nearest = next(parent for parent in (path, *path.resolve().parents) if parent.exists())
        reason = "" if nearest.is_dir() else f"{nearest} is no folder"
        if not reason and not os.access(nearest, os.W_OK | os.X_OK):
            reason = f"{nearest} cannot be written"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    if reason:
        raise UserError(f"run_dir is {str(path)!r}, which cannot be made: {reason}")


def _is_unicode(path: Path) -> bool:
    """Returns whether a path has letters throughout; bytes that the locale has no letters for, checkpoints cannot."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_taken(path: Path, marker: str) -> None:
    """Raises where a folder holds a run or a sweep already."""
    what = "sweep" if marker == "sweep.yaml" else "run"
    try:
        taken = (path / marker).exists()
    except OSError:
        return
    if taken:
        own = shlex.quote(str(path))
        raise UserError(f"run_dir is {str(path)!r}, which holds a {what} already; continue it with --resume {own}")


def reserve(path: Path) -> Path:
    """Makes an empty folder of that name, or of the first of name-2, name-3, … that is free.

    Raises:
      UserError: it cannot be made.
    """
    candidate, number = path, 1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                candidate.mkdir()
                return candidate
            except FileExistsError:
                number += 1
                candidate = path.with_name(f"{path.name}-{number}")
    except OSError as error:
        raise UserError(f"run_dir is {str(candidate)!r}, which cannot be made: {error.strerror}") from None


def replace_file(path: Path, contents: str | bytes) -> None:
    """Writes a whole file or nothing: beside it first, then renamed over it."""
    data = contents.encode() if isinstance(contents, str) else contents
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def rescue(run: str, files: dict[str, bytes]) -> Path | None:
    """Writes files to the first other place that takes them: the user's home, then the temporary folder.

    Args:
      run: name of the run they belong to.
      files: contents by name.

    Returns:
      The folder they are in; None where no place took them.
    """
    for place in (Path("~").expanduser(), Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix=f"purejaxrl_gae_{run[:60]}_", dir=place))
            for name, contents in files.items():
                (folder / name).write_bytes(contents)
            return folder
    return None
