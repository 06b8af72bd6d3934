"""Child processes that keep to their cores and do not outlive their parent; imports nothing that is slow."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

KILL_WITH_PARENT = 1  # Linux: PR_SET_PDEATHSIG


def cores_of(slot: int, slots: int) -> set[int]:
    """Divides the cores among slots; none where there are too few, and all share all."""
    if not hasattr(os, "sched_getaffinity"):
        return set()
    cores = sorted(os.sched_getaffinity(0))
    return set(cores[slot::slots]) if len(cores) >= slots else set()


def tied(cores: set[int]) -> Callable[[], None] | None:
    """Returns what a child does first: keeps to its cores, and dies with its parent, also of kill -9."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)

    def tie() -> None:
        library.prctl(KILL_WITH_PARENT, signal.SIGKILL)
        if cores:
            os.sched_setaffinity(0, cores)

    return tie
