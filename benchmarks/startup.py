"""python -m benchmarks.startup: what a user waits for before the first update, in fresh processes.

Each turn starts Python anew, twice with one empty cache folder: the first start fills it, the second finds its programs
there. Compiling, as the bars have it, is everything between the imports and the first update: tracing, lowering,
compiling or reading from the cache. The last table is README's first command from its start to its end, as a user
waits for it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro

from benchmarks.measure import bar, write_json
from benchmarks.worker import ROOT

PHASES = ("import", "trace", "lower", "compile", "first update", "in all")
COMPILING = ("trace", "lower", "compile")
LIMITS = {"cold": 3.5, "cached": 1.0}
MAIN_JOB = ("-m", "purejaxrl_gae.ppo", "--env", "Pendulum-v1")
MAIN_JOB_PARTS = ("compiling", "training", "evaluating", "imports, files and the rest", "in all")
MAIN_JOB_LIMITS = {"cold": 8.0, "cached": 4.5}
SCRIPT = """
import json, sys, time
marks = [time.perf_counter()]
mark = lambda: marks.append(time.perf_counter())
import jax, jax.numpy as jnp
from functools import partial
from purejaxrl_gae.program import algorithms, training
from purejaxrl_gae.settings.config_files import with_preset
from purejaxrl_gae.runs.compilation_cache import use_compilation_cache
config = with_preset(algorithms.config_class(sys.argv[1])(env=sys.argv[2]))
algorithm = algorithms.make_algorithm(config)
mark()
use_compilation_cache()
key, hyperparameters = jax.random.key(0), algorithm.hyperparameters
init = jax.jit(partial(training.init_state, algorithm)).trace(key, hyperparameters)
types = jax.eval_shape(partial(training.init_state, algorithm), key, hyperparameters)
advance = jax.jit(partial(training.advance, algorithm), donate_argnums=1)
advance = advance.trace(hyperparameters, types, jnp.int32(1))
mark()
init, advance = init.lower(), advance.lower()
mark()
init, advance = init.compile(), advance.compile()
mark()
jax.block_until_ready(advance(hyperparameters, init(key, hyperparameters), jnp.int32(1)))
mark()
seconds = [later - earlier for earlier, later in zip(marks, marks[1:])]
print(json.dumps(seconds + [marks[-1] - marks[0]]))
"""


@dataclass(frozen=True)
class Options:
    """Times starts of a run."""

    algos: tuple[str, ...] = ("ppo", "trpo")
    """algorithms"""
    env: str = "Pendulum-v1"
    """environment; with its preset"""
    repeats: int = 5
    """turns"""
    json: Path | None = None
    """file to write"""


def start(algo: str, env: str, cache: str) -> dict[str, float]:
    """Seconds of each phase in a fresh process."""
    seconds = dict(zip(PHASES, json.loads(run_python(["-c", SCRIPT, algo, env], cache)), strict=True))
    return {**seconds, "compiling": sum(seconds[phase] for phase in COMPILING)}  # as the bars call it


def run_python(arguments: Sequence[str], cache: str) -> str:
    """Runs a fresh Python with this package and its cache in a folder; returns what it prints."""
    environment = {**os.environ, "XDG_CACHE_HOME": cache, "PYTHONPATH": str(ROOT)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def main_job(cache: str) -> dict[str, float]:
    """Returns the seconds of README's first command, and of the parts that its summary names."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run_python([*MAIN_JOB, "--run-dir", f"{folder}/run"], cache)
        in_all = time.perf_counter() - started
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    parts = [summary[f"{name}_seconds"] for name in ("compile", "run", "evaluation")]
    return dict(zip(MAIN_JOB_PARTS, [*parts, in_all - sum(parts), in_all], strict=True))


def medians(starts: list[dict[str, float]]) -> dict[str, float]:
    """Returns the median seconds of every phase."""
    return {phase: statistics.median(seconds[phase] for seconds in starts) for phase in starts[0]}


def starts_of(options: Options) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Makes all starts in turns, each pair with a cache folder of its own."""
    measured: dict[str, Callable[[str], dict[str, float]]] = {
        algo: partial(start, algo, options.env) for algo in options.algos
    }
    measured[" ".join(MAIN_JOB[1:])] = main_job
    starts = {name: {state: [] for state in LIMITS} for name in measured}
    for _ in range(options.repeats):
        for name, seconds_of in measured.items():
            with tempfile.TemporaryDirectory() as cache:
                for state in LIMITS:
                    starts[name][state].append(seconds_of(cache))
    return starts


def main() -> None:
    options = tyro.cli(Options)
    results = {}
    for name, starts in starts_of(options).items():
        is_job = name not in options.algos
        limits, what = (MAIN_JOB_LIMITS, "in all") if is_job else (LIMITS, "compiling")
        rows = {state: medians(starts[state]) for state in LIMITS}
        print(f"{name}{'' if is_job else ' ' + options.env}, seconds, median of {options.repeats} fresh processes")
        print(f"{'':<8}" + "".join(f"{phase:>{max(14, len(phase) + 2)}}" for phase in rows["cold"]))
        for state, row in rows.items():
            print(f"{state:<8}" + "".join(f"{value:>{max(14, len(phase) + 2)}.2f}" for phase, value in row.items()))
        bars = [
            bar(f"{name} {state} {what}, s", rows[state][what], limit, at_least=False)
            for state, limit in limits.items()
        ]
        results[name] = {"medians": rows, "starts": starts, "bars": bars}
    write_json(options.json, results)


if __name__ == "__main__":
    main()
