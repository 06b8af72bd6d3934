"""Who may have a module imported: the user, never a file.

A value such as `env` may be MODULE:NAME, something to import and call. On the command line and in Python that is the
user's own word. Read from a file it is a `Foreign` text, which the gate, `refuse_foreign`, does not let pass. It is the
user's own word if

- the user names it on the command line, whose text then stands in its place;
- the file carries a signature made with the user's own key, over everything it names and where those modules lie;
- the user gives --trust, for one call.

A new kind of value that can be MODULE:NAME needs nothing but `load` where it is resolved.
"""

import hashlib
import hmac
import importlib
import importlib.util
import json
import os
import re
import secrets
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from purejaxrl_gae.settings.errors import UserError, closest, first_line, shown

SIGNATURE = "signature"  # its name in YAML files and in policies
OWN_NAMES = ("brax:", "mjx:")  # looked up in lists, which imports nothing that a file could choose
MODULES = re.compile(r"([^\W\d]\w*)(?:\.\w+)*:")  # first parts of what could be modules
KEY_BYTES = 32
LONGEST_SHOWN = 200


class Foreign(str):
    """A text that a file holds and nobody has vouched for; it equals the plain text.

    Attributes:
      source: the file, for messages.
      has_flag: the command line could name the same.
    """

    source: str
    has_flag: bool

    def __new__(cls, text: str, source: str = "a file", has_flag: bool = False) -> "Foreign":
        """Makes one."""
        made = super().__new__(cls, text)
        made.source, made.has_flag = source, has_flag
        return made

    def __str__(self) -> str:
        """Returns itself: being converted to text vouches for nothing."""
        return self


def foreign(values: Any, source: str, has_flag: bool = False) -> Any:
    """Returns values of a file with every text that could name a module marked, however deep it lies."""
    if isinstance(values, str) and ":" in values:
        return Foreign(values, source, has_flag)
    if isinstance(values, dict):
        return {name: foreign(value, source, has_flag) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(foreign(value, source, has_flag) for value in values)
    return values


def vouched(values: Any) -> Any:
    """Returns values with all texts as plain ones: the user's own word."""
    if isinstance(values, Foreign):
        return str.__str__(values)
    if isinstance(values, dict):
        return {name: vouched(value) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(vouched(value) for value in values)
    return values


def of_file(values: dict[str, Any], source: str, *, trusted: bool = False, has_flag: bool = False) -> dict[str, Any]:
    """Returns a file's values without its signature, marked as foreign unless someone vouches for them.

    Args:
      values: what the file holds.
      source: the file, for messages.
      trusted: the user vouches for it in this call, or it is part of this package.
      has_flag: the command line could name the same.
    """
    given = values.get(SIGNATURE)
    values = {name: value for name, value in values.items() if name != SIGNATURE}
    return values if trusted or _is_own(values, given) else foreign(values, source, has_flag)


def signed(values: dict[str, Any]) -> dict[str, Any]:
    """Returns values to be written, with the user's signature where they name something to import.

    Without it where anything in them is foreign, or where there is no place for a key.
    """
    names = [text for text in _texts(values) if ":" in text and not text.startswith(OWN_NAMES)]
    if not names or any(isinstance(text, Foreign) for text in _texts(values)):
        return values
    key = _key() or _new_key()
    return values if key is None else {**values, SIGNATURE: _signature(key, values)}


def refuse_foreign(field: str, reference: str, arguments: Any = ()) -> None:
    """Refuses what nobody but a file names: the gate. Whatever imports or calls by name asks here first.

    Args:
      field: where it stands, for messages.
      reference: MODULE:NAME, as the field holds it.
      arguments: that it would be called with, for messages.

    Raises:
      UserError: shows what would be imported and called, and how to go on.
    """
    if not isinstance(reference, Foreign):
        return
    module, _, name = reference.partition(":")
    called = ", ".join(map(str, arguments))
    flag = f", or name it yourself with --{field.replace('_', '-')}" if reference.has_flag else ""
    raise UserError(
        f"{field} is {_shown(reference)} in {reference.source}, which would import {_shown(module)} and call "
        f"{_shown(f'{name}({called})')}; the file has no signature of yours for that. "
        f"If you know what it does, add --trust{flag}"
    )


def load(field: str, reference: str, arguments: Any = (), known: tuple[str, ...] = ()) -> Any:
    """Returns what MODULE:NAME names; modules are looked for in the current directory too, after all others.

    Args:
      field: where it stands.
      reference: MODULE:NAME, as the field holds it.
      arguments: that it will be called with, for messages.
      known: what else may stand before the colon, for messages.

    Raises:
      UserError: nobody but a file names it; there is no such module or nothing of that name in it; or importing failed.
    """
    module_name, _, name = str.__str__(reference).partition(":")
    is_name = all(part.isidentifier() for part in module_name.split("."))
    try:
        module = _import(field, reference, module_name, arguments)
    except UserError:
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if not is_name or (missing is not None and f"{module_name}.".startswith(f"{missing}.")):
            others = f"; known before a colon: {', '.join(known)}, or a module" if known else ""
            hint = closest(module_name, known) or others
            raise UserError(
                f"{field} is {shown(reference)}, but there is no module {shown(module_name)}{hint}"
            ) from None
        what = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{field} is {shown(reference)}, and importing {module_name} raised {what}") from error
    if not hasattr(module, name):
        hint = closest(name, [other for other in vars(module) if not other.startswith("_")])
        raise UserError(f"{field} is {shown(reference)}, but {module_name} has no {shown(name)}{hint}")
    return getattr(module, name)


def _import(field: str, reference: str, module: str, arguments: Any) -> ModuleType:
    if _place(module.partition(".")[0]):  # what does not exist is not worth a warning
        refuse_foreign(field, reference, arguments)
    elif isinstance(reference, Foreign):
        raise ModuleNotFoundError(name=module)
    if PathFinder.find_spec(module.partition(".")[0], sys.path) is None:  # only what needs the folder gets it
        sys.path[:] = _search_path()
    return importlib.import_module(module)


def _is_own(values: dict[str, Any], given: Any) -> bool:
    """Says whether a signature is what the user's key makes of these values."""
    key = _key() if isinstance(given, str) else None
    if key is None:
        return False
    try:
        return hmac.compare_digest(_signature(key, values).encode(), given.encode("utf-8", "surrogateescape"))
    except (TypeError, ValueError):  # keys of several types, which nobody signs
        return False


def _signature(key: bytes, values: dict[str, Any]) -> str:
    """Computes HMAC-SHA256 of every field that could name a module, of `env_args`, and of where the modules lie."""
    names = {field: value for field, value in values.items() if any(":" in text for text in _texts(value))}
    modules = {module for text in _texts(values) for module in MODULES.findall(text)}
    places = {module: _place(module) for module in sorted(modules)}
    message = json.dumps(["imports", names, list(values.get("env_args") or ()), places], sort_keys=True)
    return hmac.new(key, message.encode(), hashlib.sha256).hexdigest()


def _texts(values: Any) -> Iterator[str]:
    """Yields every text in values, however deep."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from _texts(value)
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _texts(value)


def _place(module: str) -> str:
    """Finds where a top-level module would come from: `installed`, else its path, or nothing; without importing it.

    So a signature for a module of the user's own folder does not speak for one of that name in a stranger's folder.
    """
    importlib.invalidate_caches()
    spec = PathFinder.find_spec(module, _search_path())
    if spec is None:
        return "installed" if module in sys.builtin_module_names or _has_another_finder(module) else ""
    paths = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    resolved = [Path(str(path)).resolve() for path in paths]
    library = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    if all(any(path.is_relative_to(folder) for folder in library) for path in resolved):
        return "installed"
    return os.pathsep.join(map(str, resolved))


def _search_path() -> list[str]:
    """Lists where modules are looked for, with the current folder, which comes last unless Python itself has it."""
    return sys.path if {"", os.getcwd()} & set(sys.path) else [*sys.path, os.getcwd()]


def _has_another_finder(module: str) -> bool:
    """Says whether Python finds the module by other means than paths, as those of an editable install."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _key_path() -> Path | None:
    """Returns where the user's key is; None where there is no place for one."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or "")
    if not base.is_absolute():  # a relative one could lie in a stranger's folder
        try:
            base = Path.home() / ".config"
        except RuntimeError:
            return None
    return base / "purejaxrl_gae" / "key" if base.is_absolute() else None


def _key() -> bytes | None:
    """Reads the user's key; None where there is none, or where others may read or have made it."""
    path = _key_path()
    try:
        if path is None:
            return None
        about = path.stat()
        if os.name == "posix" and (about.st_mode & 0o077 or about.st_uid != os.getuid()):
            return None
        key = path.read_bytes()
    except OSError:
        return None
    return key if len(key) == KEY_BYTES else None


def _new_key() -> bytes | None:
    """Makes the user's key, readable by nobody else; None where it cannot be written."""
    path = _key_path()
    if path is None:
        return None
    own = path.with_name(f".key.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(own, path)
        except FileExistsError:
            pass  # another process was faster: its key counts
        except OSError:
            os.replace(own, path)  # a file system without links
        own.unlink(missing_ok=True)
    except OSError:
        return None
    return _key()


def _shown(text: str) -> str:
    """Puts a text on one line of messages: no control characters, and not longer than needed to recognise it."""
    shown = repr(str.__str__(text[: LONGEST_SHOWN + 1]))
    return shown if len(text) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…'"
