"""python -m benchmarks.startup: what a user waits for before the first update, in fresh processes.

Each turn starts Python anew, twice with one empty cache folder: the first start fills it, the second finds its programs
there. Compiling, as the bars have it, is everything between the imports and the first update: tracing, lowering,
compiling or reading from the cache.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.measure import bar, write_json
from benchmarks.worker import ROOT

PHASES = ("import", "trace", "lower", "compile", "first update", "in all")
COMPILING = ("trace", "lower", "compile")
LIMITS = {"cold": 3.5, "cached": 1.0}
SCRIPT = """
import json, sys, time
marks = [time.perf_counter()]
mark = lambda: marks.append(time.perf_counter())
import jax, jax.numpy as jnp
from functools import partial
from purejaxrl_gae.program import algorithms, training
from purejaxrl_gae.settings.config_files import with_preset
from purejaxrl_gae.runs.programs import use_compilation_cache
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
    environment = {**os.environ, "XDG_CACHE_HOME": cache, "PYTHONPATH": str(ROOT)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-c", SCRIPT, algo, env]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(zip(PHASES, json.loads(done.stdout), strict=True))


def medians(starts: list[dict[str, float]]) -> dict[str, float]:
    """Returns the median seconds of every phase, and of what the bars call compiling."""
    phases = {phase: statistics.median(seconds[phase] for seconds in starts) for phase in PHASES}
    compiling = statistics.median(sum(seconds[phase] for phase in COMPILING) for seconds in starts)
    return {**phases, "compiling": compiling}


def main() -> None:
    options = tyro.cli(Options)
    starts: dict[tuple[str, str], list[dict[str, float]]] = {
        (algo, name): [] for algo in options.algos for name in LIMITS
    }
    for _ in range(options.repeats):
        for algo in options.algos:
            with tempfile.TemporaryDirectory() as cache:
                for name in LIMITS:
                    starts[algo, name].append(start(algo, options.env, cache))
    results = {}
    for algo in options.algos:
        print(f"{algo} {options.env}, seconds, median of {options.repeats} fresh processes")
        print(f"{'':<8}" + "".join(f"{phase:>14}" for phase in (*PHASES, "compiling")))
        rows = {name: medians(starts[algo, name]) for name in LIMITS}
        for name, row in rows.items():
            print(f"{name:<8}" + "".join(f"{value:>14.2f}" for value in row.values()))
        bars = [
            bar(f"{algo} {name} compiling, s", rows[name]["compiling"], limit, at_least=False)
            for name, limit in LIMITS.items()
        ]
        results[algo] = {"medians": rows, "starts": {name: starts[algo, name] for name in LIMITS}, "bars": bars}
    write_json(options.json, results)


if __name__ == "__main__":
    main()
