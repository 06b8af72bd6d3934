"""python -m benchmarks.startup: what a user waits for before the first update, in fresh processes.

Each turn starts Python anew, twice with one empty cache folder: the first start fills it, the second finds its programs
there.
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

PHASES = ("import", "trace", "compile", "first update", "in all")
SCRIPT = """
import json, sys, time
started = time.perf_counter()
import jax, jax.numpy as jnp
from functools import partial
from purejaxrl_gae import algorithms, training
from purejaxrl_gae.config import with_preset
from purejaxrl_gae.host.programs import use_compilation_cache
config = with_preset(algorithms.config_class(sys.argv[1])(env=sys.argv[2]))
algorithm = algorithms.make_algorithm(config)
imported = time.perf_counter()
use_compilation_cache()
key, hyperparameters = jax.random.key(0), algorithm.hyperparameters
init = jax.jit(partial(training.init_state, algorithm)).lower(key, hyperparameters)
types = jax.eval_shape(partial(training.init_state, algorithm), key, hyperparameters)
advance = jax.jit(partial(training.advance, algorithm), donate_argnums=1)
advance = advance.lower(hyperparameters, types, jnp.int32(1))
traced = time.perf_counter()
init, advance = init.compile(), advance.compile()
compiled = time.perf_counter()
jax.block_until_ready(advance(hyperparameters, init(key, hyperparameters), jnp.int32(1)))
updated = time.perf_counter()
print(json.dumps([imported - started, traced - imported, compiled - traced, updated - compiled, updated - started]))
"""


@dataclass(frozen=True)
class Options:
    """Times starts of a run."""

    algo: str = "ppo"
    """algorithm"""
    env: str = "Pendulum-v1"
    """environment; with its preset"""
    repeats: int = 5
    """turns"""
    output: Path | None = None
    """JSON file to write"""


def start(options: Options, cache: str) -> list[float]:
    """Seconds of each phase in a fresh process."""
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    command = [sys.executable, "-c", SCRIPT, options.algo, options.env]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    options = tyro.cli(Options)
    seconds: dict[str, list[list[float]]] = {"cold": [], "cached": []}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as cache:
            for name in seconds:
                seconds[name].append(start(options, cache))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in seconds.items()
    }
    print(f"{options.algo} {options.env}, seconds, median of {options.repeats} fresh processes")
    print(f"{'':<8}" + "".join(f"{phase:>14}" for phase in PHASES))
    for name, row in medians.items():
        print(f"{name:<8}" + "".join(f"{value:>14.2f}" for value in row))
    if options.output is not None:
        document = {name: dict(zip(PHASES, row, strict=True)) for name, row in medians.items()}
        options.output.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
