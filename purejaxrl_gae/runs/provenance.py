"""The origin of a run: command line, date, preset, and the commit of the code beside it."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

GIT_SECONDS = 5.0
PACKAGE = Path(__file__).resolve().parent.parent


def of_this_process(preset: str | None = None) -> dict[str, Any]:
    """Returns command line, date, preset and commit, as summary.json says them.

    Args:
      preset: that the config began with, as ppo/CartPole-v1.
    """
    return {
        "command": shlex.join(sys.orig_argv),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "preset": preset,
        **of_checkout(Path.cwd(), PACKAGE),
    }


def continued(first: dict[str, Any] | None, this: dict[str, Any]) -> dict[str, Any]:
    """Returns the origin of a run that this process goes on with: that of its start, with this one beside it.

    Args:
      first: as its checkpoint has it, or None where that is of an older version.
      this: of this process.
    """
    if first is None:
        return this
    added = {name: value for name, value in this.items() if name not in ("preset", "resumed")}
    return {**first, "resumed": [*first["resumed"], added]}


def of_checkout(*folders: Path) -> dict[str, Any]:
    """Returns commit and dirty flag of the first folder that is in a git repository; None where none is."""
    for folder in folders:
        commit = _git(folder, "rev-parse", "--verify", "HEAD")
        if commit is not None:
            return {"git_commit": commit, "git_dirty": _is_dirty(folder)}
    return {"git_commit": None, "git_dirty": None}


def _is_dirty(folder: Path) -> bool | None:
    """Says whether tracked files differ from the commit; runs nothing that the repository's own config names."""
    listed = _git(folder, "config", "--show-scope", "--name-only", "--list") or ""
    rows = [line.split("\t", 1) for line in listed.splitlines() if "\t" in line]
    own = [name for scope, name in rows if scope in ("local", "worktree") and name.startswith("filter.")]
    settings = [f"{name}={'false' if name.endswith('.required') else ''}" for name in own]
    switched_off = [part for setting in settings for part in ("-c", setting)]
    changes = _git(folder, *switched_off, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
    return None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns what git says, or None where there is no git, no repository or no answer."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", "-c", "protocol.allow=never", *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=GIT_SECONDS, env=environment
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
