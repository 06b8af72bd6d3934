"""Parts that are handed in: a built-in's name, MODULE:NAME of the user's own, or the object itself.

One door for networks, objectives, advantages, optimizers and schedules. Our own parts go through it too.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from purejaxrl_gae.settings import trust
from purejaxrl_gae.settings.errors import UserError, first_line, shown
from purejaxrl_gae.settings.fields import check_part


def find(field: str, value: Any, built_in: Mapping[str, Any]) -> Any:
    """Returns what a config's field names.

    Args:
      field: its name, for messages.
      value: a key of `built_in`, MODULE:NAME, or an object, which is returned as it is.
      built_in: what the package has.

    Raises:
      UserError: it is neither, or cannot be imported.
    """
    if not isinstance(value, str):
        return value
    if value in built_in:
        return built_in[value]
    check_part(field, value, built_in)
    return trust.load(field, value)


def find_function(field: str, value: Any, built_in: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Returns the function that a config's field names; see `find`.

    Raises:
      UserError: as there, or it is no function.
    """
    found = find(field, value, built_in)
    if not callable(found):
        raise UserError(f"{field} is {shown(value)}, a {type(found).__name__}; it must be a function")
    return found


def import_name(part: Any) -> str | None:
    """Returns MODULE:NAME of an object that can be found again by it; None of one made in passing."""
    module, name = getattr(part, "__module__", None), getattr(part, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)) or module == "__main__" or not name.isidentifier():
        return None
    return f"{module}:{name}" if getattr(sys.modules.get(module), name, None) is part else None


def name_of(part: Any) -> str:
    """Returns what to call a part in messages and files: its name as given, its import name, or what it is.

    What has no import name gets one with a dot, which is neither a built-in's name nor MODULE:NAME.
    """
    if isinstance(part, str):
        return part
    what = part if hasattr(part, "__qualname__") else type(part)
    return import_name(part) or f"{what.__module__}.{what.__qualname__}"


def without_import_name(parts: Mapping[str, Any]) -> list[str]:
    """Says in one line each which fields hold an object that no command can find again, and what that costs."""
    return [
        f"{field} is {name_of(part)}, an object without an import name: no command can resume this run or "
        "read its checkpoints; define it in a module of its own"
        for field, part in parts.items()
        if not isinstance(part, str) and import_name(part) is None
    ]


def names_of(function: Callable[..., Any]) -> set[str]:
    """Returns the names of a function's parameters."""
    return set(inspect.signature(function).parameters)


def call(field: str, function: Callable[..., Any], available: Mapping[str, Any]) -> Any:
    """Calls a part with those of the available arguments that it names, or with all if it takes any.

    Raises:
      UserError: it asks for something else, or raises.
    """
    parameters = inspect.signature(function).parameters.values()
    wanted = {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    required = {each.name for each in parameters if each.name in wanted and each.default is each.empty}
    unknown = sorted(required - available.keys())
    if unknown:
        raise UserError(
            f"{field} is {name_of(function)}, which asks for {unknown[0]!r}; it may name {', '.join(available)}"
        )
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    return function(**{name: value for name, value in available.items() if takes_any or name in wanted})


def form_of(found: Any) -> str:
    """Returns type and shape of an array, as `float32[2, 3]`; of anything else what it is."""
    return f"{found.dtype}{list(found.shape)}" if hasattr(found, "shape") else shown(found)


def trace(field: str, name: str, function: Callable[..., Any], *types: Any) -> Any:
    """Traces a part that was handed in, which computes nothing, and returns the types of its outputs.

    Raises:
      UserError: it raises something; what it raised is the cause.
    """
    import jax  # not needed to read a config

    try:
        return jax.eval_shape(function, *types)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{field} is {name}, which raised {type(error).__name__}: {first_line(error)}") from error
