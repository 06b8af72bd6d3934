"""The compiled programs of a run, and how long compiling took."""

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae import training
from purejaxrl_gae.config import TrainingConfig
from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.errors import UserError
from purejaxrl_gae.evaluation import Evaluation, evaluate
from purejaxrl_gae.training import Algorithm, Learner, Progress, TrainState

EVALUATION_STREAM = 0x0E7A1  # separates evaluation's random numbers from training's


class Programs(NamedTuple):
    """What the host calls.

    Attributes:
      init: `() -> TrainState` for the config's seed.
      advance: `(state, num_updates) -> (state, Progress)`; the state passed in is consumed.
      state_types: shapes and types of a TrainState.
      compile_seconds: tracing and compiling both.
    """

    init: Callable[[], TrainState]
    advance: Callable[[TrainState, int], tuple[TrainState, Progress]]
    state_types: Any
    compile_seconds: float


def compile_programs(algorithm: Algorithm) -> Programs:
    """Traces and compiles initialisation and training.

    Raises:
      UserError: on a CPU, training would need more memory than the machine has.
    """
    started = time.perf_counter()
    hyperparameters, seed = algorithm.hyperparameters, algorithm.setup.config.seed
    init = partial(training.init_state, algorithm)
    key = jax.random.key(seed)
    state_types = jax.eval_shape(init, key, hyperparameters)
    init_program = jax.jit(init).lower(key, hyperparameters).compile()
    advance = jax.jit(partial(training.advance, algorithm), donate_argnums=1)
    advance_program = advance.lower(hyperparameters, state_types, jnp.int32(1)).compile()
    _refuse_too_large(algorithm.setup.config, advance_program.memory_analysis())
    return Programs(
        init=lambda: init_program(key, hyperparameters),
        advance=lambda state, num_updates: advance_program(hyperparameters, state, jnp.int32(num_updates)),
        state_types=state_types,
        compile_seconds=time.perf_counter() - started,
    )


def _refuse_too_large(config: TrainingConfig, analysis: Any) -> None:
    """Compares what a compiled program will allocate with the machine's memory, before any of it is allocated."""
    if analysis is None or jax.default_backend() != "cpu":
        return
    needed = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > available:
        fitting = max(1, int(config.num_envs * available / needed))
        raise UserError(
            f"num_envs is {config.num_envs}: with num_steps = {config.num_steps} training needs about "
            f"{needed / 1e9:.1f} GB and this machine has {available / 1e9:.1f} GB; about {fitting} environments fit"
        )


def make_evaluator(algorithm: Algorithm, num_episodes: int) -> Callable[[Learner, int], Evaluation]:
    """`(learner, seed) -> Evaluation` of the deterministic policy; compiled at the first call."""
    environment = make_environment(algorithm.setup.config.env)

    @jax.jit
    def play(params, normalizers, key):
        return evaluate(environment, algorithm.setup.network, params, normalizers, key, num_episodes=num_episodes)

    def evaluator(learner: Learner, seed: int) -> Evaluation:
        key = jax.random.fold_in(jax.random.key(seed), EVALUATION_STREAM)
        return jax.tree.map(np.asarray, play(learner.params, learner.normalizers, key))

    return evaluator


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX was already told of another."""
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    try:
        directory = base / "purejaxrl_gae" / "xla"
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # nowhere to keep them: compile every time
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    logging.getLogger("jax._src.compilation_cache").setLevel(logging.ERROR)


def describe_device() -> str:
    """The device training runs on, as `cpu (16 cores)` or `NVIDIA H200`."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"cpu ({os.cpu_count()} cores)"
    return f"{device.device_kind} ({device.platform})"
