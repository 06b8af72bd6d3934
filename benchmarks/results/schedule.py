"""Several processes at once over a list of jobs, until all have ended or someone asks to stop.

Knows nothing of what a job is: it is started by a function that is handed in, and what it leaves is kept by another.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

Result = TypeVar("Result")
Work = TypeVar("Work")
ResultOut = TypeVar("ResultOut", covariant=True)


class Process(Protocol[ResultOut]):
    """Something that has been started."""

    def poll(self) -> ResultOut | None:
        """Returns its result, or None while it goes on."""

    def stop(self) -> ResultOut | None:
        """Ends it and returns its result where it had ended well by then."""


class Scheduler(Generic[Work, Result]):
    """Runs jobs in slots.

    Args:
      start: starts a job in a slot.
      keep: called with every job and its result as soon as it has ended.
      slots: jobs at once.
      stopped: says whether to stop.
      pause: called between two looks at the processes.
    """

    def __init__(
        self,
        start: Callable[[Work, int], Process[Result]],
        keep: Callable[[Work, Result], None],
        *,
        slots: int = 2,
        stopped: Callable[[], bool] = lambda: False,
        pause: Callable[[], None] = lambda: time.sleep(0.2),
    ):
        self._start, self._keep = start, keep
        self._slots, self._stopped, self._pause = slots, stopped, pause
        self._running: dict[int, tuple[Work, Process[Result]]] = {}

    def run(self, jobs: Sequence[Work]) -> None:
        """Runs the jobs in their order; on whatever stops it, ends those under way and keeps what had ended."""
        waiting = deque(jobs)
        try:
            while (waiting or self._running) and not self._stopped():
                self._fill(waiting)
                self._collect()
                if self._running:
                    self._pause()
        finally:
            self._end()

    def _fill(self, waiting: deque[Work]) -> None:
        for slot in range(self._slots):
            if waiting and slot not in self._running:
                job = waiting.popleft()
                self._running[slot] = job, self._start(job, slot)

    def _collect(self) -> None:
        for slot, (job, process) in list(self._running.items()):
            result = process.poll()
            if result is not None:
                del self._running[slot]
                self._keep(job, result)

    def _end(self) -> None:
        running, self._running = self._running, {}
        ended = [(job, process.stop()) for job, process in running.values()]
        for job, result in ended:
            if result is not None:
                self._keep(job, result)
