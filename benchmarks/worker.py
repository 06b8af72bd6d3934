"""A side of a benchmark that runs in a process of its own, perhaps with another Python that has other packages.

`python -m benchmarks.worker MODULE:FUNCTION` reads a JSON object from the first line of its standard input, calls the
function with it as keywords, answers with one line, and then times one run for each further line. The process and
everything it imports are started once, so a peer's start-up does not count. Only the standard library is imported
here: the other Python need not have anything of ours.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Prepared:
    """A side that is ready to run.

    Attributes:
      compile_seconds: tracing and compiling, 0 where nothing is compiled.
      run: `turn -> seconds` of one run; the turn seeds it.
      items: environment steps, or whatever is counted, of one run.
      close: what to call when it is no longer needed.
      notes: more to know of it, for the JSON file.
    """

    compile_seconds: float
    run: Callable[[int], float]
    items: float
    close: Callable[[], None] = lambda: None
    notes: dict[str, Any] = field(default_factory=dict)


class Unavailable(Exception):
    """A peer that cannot be run here, in one line."""


def start(target: str, spec: dict[str, Any], python: str = sys.executable, folder: Path = ROOT) -> Prepared:
    """The side that `MODULE:FUNCTION(**spec)` prepares in a process of its own.

    Args:
      target: the function, which returns a Prepared.
      spec: its keywords, plain JSON.
      python: interpreter.
      folder: to start in; a package in it stands before the installed one and this checkout's.

    Raises:
      Unavailable: there is no such interpreter, or the function failed, for example because a package is missing.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the first process has most of a GPU's memory
    command = [python, "-m", "benchmarks.worker", target]
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except OSError as error:
        raise Unavailable(f"{python}: {error.strerror}") from None

    def ask(message: Any) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"the process ended with status {process.wait()}"}
        if "error" in answer:
            close()
            raise Unavailable(answer["error"])
        return answer

    def close() -> None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        if process.poll() is None:
            process.kill()

    ready = ask(spec)
    return Prepared(ready["compile_seconds"], lambda turn: ask(turn)["seconds"], ready["items"], close, ready["notes"])


def serve(target: str) -> None:
    """The other end: answers on what was standard output, which from now on goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    module, function = target.split(":")
    try:
        prepared = getattr(importlib.import_module(module), function)(**json.loads(sys.stdin.readline()))
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    answer({"compile_seconds": prepared.compile_seconds, "items": prepared.items, "notes": prepared.notes})
    for line in sys.stdin:
        try:
            answer({"seconds": prepared.run(json.loads(line))})
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
            return


if __name__ == "__main__":
    serve(sys.argv[1])
