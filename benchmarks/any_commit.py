"""A side of `benchmarks.commits`; asks of the package only what every commit since its folders are floors has."""

import hashlib
import re
import time
from typing import Any

import jax
import numpy as np

import purejaxrl_gae
from benchmarks import all_cores as all_cores  # before anything that runs a JAX operation
from benchmarks.worker import Prepared
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs.programs import AgentPrograms


def side(algorithm: str, fields: dict[str, Any], num_seeds: int) -> Prepared:
    """Gets one agent ready as `make_train` gives it, or many as `--num-seeds` does."""
    config = getattr(purejaxrl_gae, f"{algorithm.upper()}Config")(**fields)
    return one_agent(config) if num_seeds == 1 else agents(config, num_seeds)


def one_agent(config: Any) -> Prepared:
    """A whole run as one program."""
    train = purejaxrl_gae.make_train(config)
    started = time.perf_counter()
    program = jax.jit(lambda key: train(key).state.learner.params).lower(jax.random.key(0)).compile()
    compile_seconds = time.perf_counter() - started

    def run(turn: int) -> float:
        key = jax.block_until_ready(jax.random.key(turn))
        started = time.perf_counter()
        jax.block_until_ready(program(key))
        return time.perf_counter() - started

    return Prepared(compile_seconds, run, config.env_steps, notes={"instructions": instructions(program.as_text())})


def instructions(text: str) -> str:
    """Returns a digest of a compiled program's instructions, without where in the source they come from.

    Nor does the wanted precision of a product count, which says nothing on a CPU: it is float32 there in any case.
    """
    for unwanted in (r", metadata=\{[^}]*\}", r", operand_precision=\{[^}]*\}", r", backend_config=.*"):
        text = re.sub(unwanted, "", text)
    lines = [line for line in text.splitlines() if " = " in line]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def agents(config: Any, num_seeds: int) -> Prepared:
    """Agents divided among all devices, on a CPU its cores."""
    algorithm = algorithms.make_algorithm(config)
    programs = AgentPrograms(algorithm, num_seeds, jax.devices())
    each = jax.tree.map(lambda value: np.full(num_seeds, value), algorithm.hyperparameters)

    def run(turn: int) -> float:
        lanes = programs.run_of(turn * num_seeds + np.arange(num_seeds), each)
        started = time.perf_counter()
        jax.block_until_ready(lanes.advance(lanes.init(), config.num_updates)[0])
        return time.perf_counter() - started

    return Prepared(programs.compile_seconds, run, num_seeds * config.env_steps)
