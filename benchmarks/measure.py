"""Timing two sides in turns, so that a machine whose speed drifts does not decide the comparison."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.host.reports import versions


@dataclass(frozen=True)
class Timing:
    """One side of a comparison.

    Attributes:
      name: of the side.
      compile_seconds: tracing and compiling.
      seconds: median of the runs.
      steps_per_second: environment steps counted over that median.
      ratio: median over the turns of the first side's speed over this one's.
    """

    name: str
    compile_seconds: float
    seconds: float
    steps_per_second: float
    ratio: float


def compare(sides: dict[str, Callable[..., Any]], arguments: Callable[[int], tuple], env_steps: int, repeats: int):
    """Times jittable functions in turns.

    Args:
      sides: name -> function; the first is the one the others are compared with.
      arguments: of the call, by turn: every turn has its own, the same for all sides.
      env_steps: environment steps of one call.
      repeats: turns, after one that is not counted.

    Returns:
      A Timing for each side.
    """
    programs, compile_seconds = {}, {}
    for name, function in sides.items():
        started = time.perf_counter()
        programs[name] = jax.jit(function).lower(*arguments(0)).compile()
        compile_seconds[name] = time.perf_counter() - started
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, program in programs.items():
            inputs = jax.block_until_ready(arguments(turn))
            started = time.perf_counter()
            jax.block_until_ready(program(*inputs))
            if turn > 0:
                seconds[name].append(time.perf_counter() - started)
    first = np.array(seconds[next(iter(sides))])
    return [
        Timing(
            name=name,
            compile_seconds=round(compile_seconds[name], 2),
            seconds=float(np.median(seconds[name])),
            steps_per_second=env_steps / float(np.median(seconds[name])),
            ratio=float(np.median(np.array(seconds[name]) / first)),
        )
        for name in sides
    ]


def print_table(setting: str, timings: list[Timing]) -> None:
    """One line for each side; `ratio` says how many times faster the first side is."""
    for timing in timings:
        print(
            f"{setting:<24} {timing.name:<16} {timing.steps_per_second:>12,.0f} steps/s   "
            f"compile {timing.compile_seconds:>5.1f} s   first is {timing.ratio:.2f}x",
            flush=True,
        )


def write_json(path: Path, results: dict[str, list[Timing]]) -> None:
    """The results with what they depend on: machine, versions, commit."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    document = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}",
        "versions": versions(),
        "commit": commit,
        "results": {setting: [asdict(timing) for timing in timings] for setting, timings in results.items()},
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
