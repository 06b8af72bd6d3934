"""gymnax without what it draws with: matplotlib and seaborn are imported when a drawing first asks for them.

Some of gymnax's games import both beside their `render`, which takes longer than all else that a command imports.
"""

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

DRAWING = ("seaborn", "matplotlib", "matplotlib.pyplot", "matplotlib.colors")


class Deferred(types.ModuleType):
    """Stands in for a module until something of it is asked for, which imports it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of every module
            raise AttributeError(name)
        withdraw()
        return getattr(importlib.import_module(self.__name__), name)


def withdraw() -> None:
    """Takes the stand-ins back, so that whoever imports such a module next gets the module."""
    for name in [name for name, module in sys.modules.items() if isinstance(module, Deferred)]:
        del sys.modules[name]


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Lets imports inside go without these modules, as far as nothing has imported them yet.

    Args:
      names: a package before its modules.
    """
    stand_ins = {name: Deferred(name) for name in names if name not in sys.modules}
    for name, module in stand_ins.items():
        package, _, own = name.rpartition(".")
        if package in stand_ins:
            setattr(stand_ins[package], own, module)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        withdraw()


with deferred(*DRAWING):
    import gymnax
    from gymnax.environments import environment as gymnax_environment
    from gymnax.environments import spaces

__all__ = ["gymnax", "gymnax_environment", "spaces"]
