"""This library's side of whole training runs, each the way its users get it."""

import time
from typing import Any

import jax
import numpy as np

from benchmarks.measure import Side, jax_side
from benchmarks.worker import Prepared, Unavailable
from purejaxrl_gae import make_train
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs.programs import AgentPrograms, OneAgent, Programs
from purejaxrl_gae.settings.config import TrainingConfig


def one_agent(config: TrainingConfig) -> Side:
    """`make_train`: a whole run as one program on one device."""
    train = make_train(config)
    return jax_side(lambda key: train(key).state.learner.params, lambda turn: (jax.random.key(turn),), config.env_steps)


def one_agent_on_all_devices(config: TrainingConfig) -> Side:
    """Does what `--devices N` does: the environments of one agent divided among all devices."""

    def prepare() -> Prepared:
        devices = jax.devices()
        if len(devices) < 2 or config.num_envs % len(devices):
            raise Unavailable(f"{len(devices)} devices, {config.num_envs} environments")
        programs = OneAgent(algorithms.make_algorithm(config), devices)
        return Prepared(programs.compile_seconds, lambda _: seconds_of(programs, config), config.env_steps)

    return prepare


def agents(config: TrainingConfig, num_agents: int, devices: int | None = None) -> Side:
    """Does what `--num-seeds S` does: agents in groups, divided among all devices, or so many."""

    def prepare() -> Prepared:
        algorithm = algorithms.make_algorithm(config)
        programs = AgentPrograms(algorithm, num_agents, jax.devices()[:devices])
        each = jax.tree.map(lambda value: np.full(num_agents, value), algorithm.hyperparameters)

        def run(turn: int) -> float:
            return seconds_of(programs.run_of(turn * num_agents + np.arange(num_agents), each), config)

        return Prepared(programs.compile_seconds, run, num_agents * config.env_steps)

    return prepare


def seconds_of(programs: Programs, config: TrainingConfig) -> float:
    """Times initialisation and all updates in one call, until everything is there."""
    started = time.perf_counter()
    state, stretch = programs.advance(programs.init(), config.num_updates)
    jax.block_until_ready(state)
    seconds = time.perf_counter() - started
    assert stretch.updates == config.num_updates, "an update was left out"
    return seconds


def settings(config: TrainingConfig, names: tuple[str, ...], updates: int) -> dict[str, Any]:
    """Returns what a peer needs to know of a config, as plain JSON."""
    return {
        "env": config.env,
        "num_envs": config.num_envs,
        "num_steps": config.num_steps,
        "updates": updates,
        "hyperparameters": {name: getattr(config, name) for name in names},
    }
