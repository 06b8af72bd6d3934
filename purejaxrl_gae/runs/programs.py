"""The compiled programs of a run, and how long compiling took."""

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments import Environment, HostEnvironment
from purejaxrl_gae.parallel import sharding
from purejaxrl_gae.program import many_agents as agents
from purejaxrl_gae.program import training
from purejaxrl_gae.program.debugging import lower
from purejaxrl_gae.program.evaluation import Evaluation, evaluate
from purejaxrl_gae.program.types import Algorithm, Counters, EpisodeTotals, Hyperparameters, Learner
from purejaxrl_gae.runs.device_memory import available_bytes
from purejaxrl_gae.runs.host_evaluation import make_host_evaluator
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import UserError

EVALUATION_STREAM = 0x0E7A1  # separates evaluation's random numbers from training's


class Stretch(NamedTuple):
    """What some updates did, as NumPy arrays with a leading axis of S agents.

    Attributes:
      updates: updates made, the same for all agents.
      healthy: `[S]` bool; False for agents that met something not finite where that ends a run.
      metrics: `[S]` each, means over those updates.
      totals: `[S]` each, sums over the episodes that ended in them.
      counters: `[S, ...]`, of the whole run.
    """

    updates: int
    healthy: np.ndarray
    metrics: dict[str, np.ndarray]
    totals: EpisodeTotals
    counters: Counters


class Programs(NamedTuple):
    """What the host calls. A state lies on the devices; a saved state does not, and does not depend on their number.

    Attributes:
      init: `() -> state`.
      advance: `(state, num_updates) -> (state, Stretch)`; the state passed in is consumed.
      save: `state -> saved state`; of one agent a TrainState, of several the same with a leading axis.
      load: `saved state -> state`.
      saved_types: shapes and types of a saved state.
      compile_seconds: tracing and compiling.
      close: `() -> None`, frees what lies outside the devices.
      program_bytes: what `advance` holds at once on each device; 0 where the compiler does not say.
    """

    init: Callable[[], Any]
    advance: Callable[[Any, int], tuple[Any, Stretch]]
    save: Callable[[Any], Any]
    load: Callable[[Any], Any]
    saved_types: Any
    compile_seconds: float
    close: Callable[[], None] = lambda: None
    program_bytes: int = 0


def compile_one_agent(algorithm: Algorithm, devices: list[jax.Device]) -> Programs:
    """Traces and compiles initialisation and training of one agent, its environments divided among the devices.

    Raises:
      UserError: the environments cannot be divided, or on a CPU, training would need more memory than there is.
    """
    started = time.perf_counter()
    config, hyperparameters = algorithm.setup.config, algorithm.hyperparameters
    init, advance = partial(training.init_state, algorithm), partial(training.advance, algorithm)
    key = jax.random.key(config.seed)
    types = jax.eval_shape(init, key, hyperparameters)
    if len(devices) == 1:
        lowered_advance = lower(jax.jit(advance, donate_argnums=1), hyperparameters, types, jnp.int32(1))
        init_program, advance_program = _compile_both(lower(jax.jit(init), key, hyperparameters), lowered_advance)

        def load(saved):
            return jax.tree.map(jnp.asarray, saved)

    else:
        if config.num_envs % len(devices):
            raise UserError(f"num_envs is {config.num_envs}, which {len(devices)} devices cannot divide evenly")
        mesh = sharding.environment_mesh(devices)
        where = sharding.state_shardings(mesh, types, config.num_envs)
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        with jax.set_mesh(mesh):
            jitted_init = jax.jit(init, in_shardings=whole, out_shardings=where)
            jitted_advance = jax.jit(
                advance, in_shardings=(whole, where, whole), out_shardings=(where, whole), donate_argnums=1
            )
            lowered_advance = lower(jitted_advance, hyperparameters, types, jnp.int32(1))
            init_program, advance_program = _compile_both(lower(jitted_init, key, hyperparameters), lowered_advance)
        key, hyperparameters = agents.place(whole, (key, hyperparameters))

        def load(saved):
            return jax.tree.map(lambda leaf, sharding: agents.place(sharding, leaf), saved, where)

    program_bytes = bytes_held(advance_program.memory_analysis())
    refuse_too_large(config, program_bytes)

    def advance_and_report(state, num_updates):
        state, progress = advance_program(hyperparameters, state, np.int32(num_updates))
        progress, counters = agents.fetch((progress, state.counters))
        one = jax.tree.map(lambda leaf: np.asarray(leaf)[None], (progress, counters))
        stretch = Stretch(int(progress.updates), one[0].healthy, one[0].metrics, one[0].totals, one[1])
        return state, stretch

    return Programs(
        init=lambda: init_program(key, hyperparameters),
        advance=advance_and_report,
        save=agents.fetch,
        load=load,
        saved_types=types,
        compile_seconds=time.perf_counter() - started,
        program_bytes=program_bytes,
    )


class AgentPrograms:
    """Compiled once for a number of agents; run for any seeds and hyperparameters.

    Args:
      algorithm: of all agents.
      num_agents: S.
      devices: of all processes.
    """

    def __init__(self, algorithm: Algorithm, num_agents: int, devices: list[jax.Device]):
        training.require_pure(algorithm.setup.environment, "training several agents in one program")
        started = time.perf_counter()
        self.algorithm, self.layout = algorithm, agents.lay_out(num_agents, devices)
        layout, options = self.layout, _compiler_options(devices)
        one_key = jax.eval_shape(jax.random.key, 0)
        seeds = self._types(jax.ShapeDtypeStruct((), jnp.uint32))
        hyperparameters = self._types(jax.eval_shape(lambda: algorithm.hyperparameters))
        one_state = jax.eval_shape(partial(training.init_state, algorithm), one_key, algorithm.hyperparameters)

        def init(seeds, hyperparameters):
            return agents.init(layout, algorithm, jax.vmap(jax.random.key)(seeds), hyperparameters)

        def advance(hyperparameters, states, num_updates):
            return agents.advance(layout, algorithm, hyperparameters, states, num_updates)

        lowered_init = lower(jax.jit(init), seeds, hyperparameters)
        lowered = lower(jax.jit(advance, donate_argnums=1), hyperparameters, self._types(one_state), jnp.int32(1))
        self._init, self._advance = _compile_both(lowered_init, lowered, options)
        self.program_bytes = bytes_held(self._advance.memory_analysis())
        refuse_too_large(algorithm.setup.config, self.program_bytes)
        self.saved_types = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((num_agents, *leaf.shape), leaf.dtype), one_state
        )
        self.compile_seconds = time.perf_counter() - started

    def run_of(self, seeds: np.ndarray, hyperparameters: Hyperparameters) -> Programs:
        """The programs for agents `[S]` with these seeds and hyperparameters."""
        layout = self.layout
        seeds = agents.spread(layout, np.asarray(seeds, np.uint32))
        hyperparameters = agents.spread(layout, hyperparameters)

        def save(states):
            return jax.tree.map(lambda leaf: leaf[: layout.num_agents], agents.fetch(states))

        def advance_and_report(states, num_updates):
            states, progress = self._advance(hyperparameters, states, np.int32(num_updates))
            progress, counters = save((progress, states.counters))
            return states, Stretch(num_updates, progress.healthy, progress.metrics, progress.totals, counters)

        return Programs(
            init=lambda: self._init(seeds, hyperparameters),
            advance=advance_and_report,
            save=save,
            load=partial(agents.spread, layout),
            saved_types=self.saved_types,
            compile_seconds=self.compile_seconds,
            program_bytes=self.program_bytes,
        )

    def _types(self, one: Any) -> Any:
        """Types of padded agents on their devices, from those of one agent."""
        where = agents.on_devices(self.layout)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((self.layout.padded, *leaf.shape), leaf.dtype, sharding=where), one
        )


def _compile_both(init: Any, advance: Any, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """Compiles the two programs of a run at once: the compiler leaves a second core idle most of the time."""
    with ThreadPoolExecutor(1) as elsewhere:
        compiling = elsewhere.submit(advance.compile, options)
        return init.compile(options), compiling.result()


def _compiler_options(devices: list[jax.Device]) -> dict[str, Any]:
    """One thread for each core that is a device; the same however many there are, so that the bits are too."""
    return {"xla_cpu_multi_thread_eigen": False} if devices[0].platform == "cpu" else {}


def bytes_held(analysis: Any) -> int:
    """Arguments, outputs and temporaries of a compiled program on one device."""
    if analysis is None:
        return 0
    return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes


def refuse_too_large(config: TrainingConfig, needed: int) -> None:
    """Compares the bytes a compiled program will hold with the machine's memory, before any of it is allocated.

    Raises:
      UserError: there is less.
    """
    if jax.default_backend() != "cpu":
        return
    available = available_bytes()
    if needed > available:
        fitting = int(config.num_envs * available / needed)
        needs = f"needs about {needed / 1e9:.1f} GB and this machine has {available / 1e9:.1f} GB"
        if fitting < 1:
            raise UserError(f"hidden_sizes is {config.hidden_sizes}: training {needs}; layers must be narrower")
        raise UserError(
            f"num_envs is {config.num_envs}: with num_steps = {config.num_steps} training {needs}; "
            f"about {fitting} environments fit"
        )


def make_evaluator(algorithm: Algorithm, num_episodes: int) -> Callable[..., Evaluation]:
    """`(learner, seed, deterministic=True) -> Evaluation`, by mode or sampled; compiled once, at the first call."""
    environment = training.unstaggered_environment(algorithm.setup)
    if isinstance(environment, HostEnvironment):
        return make_host_evaluator(environment, algorithm.setup.network, num_episodes, EVALUATION_STREAM)
    play = jax.jit(_play(algorithm, environment, num_episodes))

    def evaluator(learner: Learner, seed: int, deterministic: bool = True) -> Evaluation:
        evaluation = play(learner.params, learner.normalizers, np.uint32(seed), np.bool_(deterministic))
        return jax.tree.map(np.asarray, evaluation)

    return evaluator


def make_agents_evaluator(algorithm: Algorithm, num_agents: int, num_episodes: int) -> Callable[..., Evaluation]:
    """`(learners [S], seeds [S], deterministic=True) -> Evaluation [S, E]`, on this process's devices."""
    layout = agents.lay_out(num_agents, jax.local_devices())
    environment = training.unstaggered_environment(algorithm.setup)
    play = jax.jit(agents.over_agents(layout, _play(algorithm, environment, num_episodes)))

    def evaluator(learners: Learner, seeds: np.ndarray, deterministic: bool = True) -> Evaluation:
        of_each = np.asarray(seeds, np.uint32), np.full(num_agents, deterministic)
        inputs = agents.spread(layout, (learners.params, learners.normalizers, *of_each))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:num_agents], play(*inputs))

    return evaluator


def _play(
    algorithm: Algorithm, environment: Environment | HostEnvironment, num_episodes: int
) -> Callable[..., Evaluation]:
    assert isinstance(environment, Environment)

    def play(params, normalizers, seed, deterministic):
        key, options = jax.random.fold_in(jax.random.key(seed), EVALUATION_STREAM), {"num_episodes": num_episodes}
        network = algorithm.setup.network
        return evaluate(environment, network, params, normalizers, key, deterministic=deterministic, **options)

    return play


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
