"""Copies of an environment of the host that are stepped in processes beside this one.

Each process steps some of them as they would be stepped here, so what they do is the same. Processes come from a fork
server: one that is forked from a process with JAX's threads would hang.
"""

import functools
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import cloudpickle
import jax
import numpy as np

from purejaxrl_gae.environments.host_environment import CopyFailure, HostCopies, HostStep
from purejaxrl_gae.settings.errors import UserError, described

OpenSome = Callable[[range, bool], HostCopies]
PATIENCE = 5.0  # seconds for a process to end


class Answer(NamedTuple):
    """A worker's reply.

    Attributes:
      result: of what was asked for; None where it failed.
      failed: number of the copy that failed, among all; None of none.
      message: what happened, in words; empty where nothing did.
    """

    result: Any
    failed: int | None = None
    message: str = ""


class WorkerCopies:
    """Copies divided among processes; see HostCopies.

    Args:
      open_some: `(numbers of copies, render) -> HostCopies`, called in each process; copy 0 is drawn.
      num_envs: N.
      num_workers: processes, at most N of them.
      render: copy 0 will be drawn.
    """

    def __init__(self, open_some: OpenSome, num_envs: int, num_workers: int, render: bool):
        context = multiprocessing.get_context("forkserver")
        number = min(num_workers, num_envs)
        bounds = [num_envs * index // number for index in range(number + 1)]
        self._ranges = [range(*pair) for pair in itertools.pairwise(bounds)]
        self._workers, self._connections = [], []
        for numbers in self._ranges:
            own, theirs = context.Pipe()
            made = cloudpickle.dumps(functools.partial(open_some, numbers, render and numbers.start == 0))
            worker = context.Process(target=_work, args=(theirs, made, numbers.start), daemon=True)
            worker.start()
            theirs.close()
            self._workers.append(worker)
            self._connections.append(own)

    def reset(self, seed: int | None = None) -> Any:
        """See HostCopies."""
        return _together(self._ask("reset", [(seed,)] * len(self._ranges)))

    def step(self, actions: Any) -> HostStep:
        """See HostCopies."""
        return _together(self._ask("step", self._divided(actions)))

    def reset_where(self, mask: np.ndarray) -> Any:
        """See HostCopies."""
        return _together(self._ask("reset_where", self._divided(mask)))

    def frame(self) -> np.ndarray:
        """See HostCopies."""
        self._connections[0].send(("frame", ()))
        return _result(self._answer(0))

    def close(self) -> None:
        """See HostCopies."""
        for connection in self._connections:
            connection.close()
        for worker in self._workers:
            worker.join(PATIENCE)
            worker.terminate()

    def _divided(self, values: Any) -> list[tuple[Any]]:
        """Returns what each worker gets of `[N, ...]`."""
        return [(jax.tree.map(lambda leaf, own=own: leaf[own.start : own.stop], values),) for own in self._ranges]

    def _ask(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Calls a method of all copies in all processes at once, and returns the results in order."""
        for connection, own in zip(self._connections, arguments, strict=True):
            try:
                connection.send((method, own))
            except OSError:
                continue  # it has ended, which its missing answer says
        answers = [self._answer(index) for index in range(len(self._connections))]
        return [_result(answer) for answer in answers]

    def _answer(self, index: int) -> Answer:
        """Waits for a worker's answer; one that has ended has failed."""
        try:
            return self._connections[index].recv()
        except (EOFError, OSError):
            self._workers[index].join(PATIENCE)
            ended = f"its worker process has ended with exit code {self._workers[index].exitcode}"
            return Answer(None, self._ranges[index].start, ended)


def _result(answer: Answer) -> Any:
    """Returns what a worker has done, or raises what it has met."""
    if answer.failed is not None:
        raise CopyFailure(answer.failed, answer.message)
    if answer.message:
        raise UserError(answer.message)
    return answer.result


def _together(parts: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _work(connection: Connection, made: bytes, first: int) -> None:
    """Makes copies and does with them what it is told until nobody is there to tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    open_copies: Callable[[], HostCopies] = functools.cache(cloudpickle.loads(made))
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            break
        connection.send(_done(open_copies, method, arguments, first))
    open_copies().close()


def _done(open_copies: Callable[[], HostCopies], method: str, arguments: tuple[Any, ...], first: int) -> Answer:
    try:
        return Answer(getattr(open_copies(), method)(*arguments))
    except CopyFailure as failure:
        return Answer(None, first + failure.copy, str(failure))
    except UserError as error:
        return Answer(None, None, str(error))
    except (Exception, SystemExit) as error:
        return Answer(None, first, described(error))
