"""The search path of modules: not in the folder in which a command happens to be started.

`python -m` puts the current folder first of all. Started in a folder that a stranger has filled, a command would take
that folder's `yaml.py` for the library, and its `jax_plugins` for JAX's.
"""

import itertools
import os
import sys


def without_current_folder(path: list[str], started: list[str], current: str, package: str) -> list[str]:
    """Returns the search path of a command of this package.

    Args:
      path: the search path.
      started: the command line as Python got it.
      current: folder.
      package: the folder that this package was found in; a checkout's commands keep it.
    """
    is_command = any(
        (before == "-m" and argument.startswith("purejaxrl_gae")) or argument.startswith("-mpurejaxrl_gae")
        for before, argument in itertools.pairwise(started)
    )
    is_first = bool(path) and path[0] in ("", current)
    return path[1:] if is_command and is_first and current != package else path


def leave_current_folder() -> None:
    """Takes the current folder off the search path of `python -m purejaxrl_gae.…`, before anything else is imported."""
    if sys.argv[:1] != ["-m"]:  # what Python has there until it has found the module to run
        return
    package = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 2))
    try:
        sys.path[:] = without_current_folder(sys.path, sys.orig_argv, os.getcwd(), package)
    except FileNotFoundError:
        return  # the current folder is gone, and nothing can be imported from it
