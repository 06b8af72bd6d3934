"""The compiled programs of a run, and how long compiling took."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.parallel import sharding
from purejaxrl_gae.program import many_agents as agents
from purejaxrl_gae.program import training
from purejaxrl_gae.program.debugging import lower
from purejaxrl_gae.program.types import Algorithm, Counters, EpisodeTotals, Hyperparameters, TrainState
from purejaxrl_gae.runs.device_memory import bytes_held, refuse_too_large
from purejaxrl_gae.settings.errors import UserError

Meanwhile = Callable[[Any], object]  # given the types of a saved state, begins what else can be compiled meanwhile


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


class Programs(Protocol):
    """What a run needs of whatever trains its S agents.

    A state lies on the devices. A saved state does not, and does not depend on their number; its arrays are `[S, ...]`.

    Attributes:
      saved_types: shapes and types of a saved state.
      compile_seconds: tracing and compiling.
      program_bytes: what `advance` holds at once on each device; 0 where the compiler does not say.
    """

    saved_types: Any
    compile_seconds: float
    program_bytes: int

    def init(self) -> Any:
        """Makes the state before the first update."""

    def advance(self, state: Any, num_updates: int) -> tuple[Any, Stretch]:
        """Makes that many updates, or fewer where the stretch says so; the state passed in is consumed."""

    def save(self, state: Any) -> TrainState:
        """Brings a state to the host."""

    def load(self, saved: TrainState) -> Any:
        """Puts a saved state back on the devices."""

    def close(self) -> None:
        """Frees what lies outside the devices."""


def stack_of_one(tree: Any) -> Any:
    """Gives every array of one agent a leading axis."""
    return jax.tree.map(lambda leaf: leaf[None], tree)


def agent_of(stack: Any, index: int = 0) -> Any:
    """Takes one agent out of several, `[S, ...]` each."""
    return jax.tree.map(lambda leaf: leaf[index], stack)


class OneAgent:
    """Programs of one agent, its environments divided among the devices.

    Args:
      algorithm: what to train.
      devices: to train on.
      meanwhile: see Meanwhile.

    Raises:
      UserError: the environments cannot be divided, or on a CPU, training would need more memory than there is.
    """

    def __init__(self, algorithm: Algorithm, devices: list[jax.Device], meanwhile: Meanwhile | None = None):
        started = time.perf_counter()
        config, hyperparameters = algorithm.setup.config, algorithm.hyperparameters
        init, advance = partial(training.init_state, algorithm), partial(training.advance, algorithm)
        key = jax.random.key(config.seed)
        types = jax.eval_shape(init, key, hyperparameters)
        self.saved_types = jax.eval_shape(stack_of_one, types)
        self._where: Any = None
        on_mesh: AbstractContextManager[Any] = nullcontext()
        jitted_init, jitted_advance = jax.jit(init), jax.jit(advance, donate_argnums=1)
        if len(devices) > 1:
            if config.num_envs % len(devices):
                raise UserError(f"num_envs is {config.num_envs}, which {len(devices)} devices cannot divide evenly")
            mesh = sharding.environment_mesh(devices)
            where = self._where = sharding.state_shardings(mesh, types, config.num_envs)
            whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
            on_mesh = jax.set_mesh(mesh)
            jitted_init = jax.jit(init, in_shardings=whole, out_shardings=where)
            jitted_advance = jax.jit(
                advance, in_shardings=(whole, where, whole), out_shardings=(where, whole), donate_argnums=1
            )
        with on_mesh:
            lowered = lower(jitted_advance, hyperparameters, types, jnp.int32(1))
            lowered_init = lower(jitted_init, key, hyperparameters)
        self._init, self._advance = _compile_both(lowered_init, lowered, self.saved_types, meanwhile)
        if self._where is not None:
            key, hyperparameters = agents.place(whole, (key, hyperparameters))
        self._key, self._hyperparameters = key, hyperparameters
        self.program_bytes = bytes_held(self._advance.memory_analysis())
        refuse_too_large(config, self.program_bytes)
        self.compile_seconds = time.perf_counter() - started

    def init(self) -> TrainState:
        """Makes the state before the first update."""
        return self._init(self._key, self._hyperparameters)

    def advance(self, state: TrainState, num_updates: int) -> tuple[TrainState, Stretch]:
        """Makes up to that many updates, fewer where one meets something not finite and that ends the run."""
        state, progress = self._advance(self._hyperparameters, state, np.int32(num_updates))
        of_one = progress.healthy, progress.metrics, progress.totals, state.counters
        return state, Stretch(int(progress.updates), *stack_of_one(agents.fetch(of_one)))

    def save(self, state: TrainState) -> TrainState:
        """Brings a state to the host; see Programs."""
        return stack_of_one(agents.fetch(state))

    def load(self, saved: TrainState) -> TrainState:
        """Puts a saved state back on the devices."""
        if self._where is None:
            return jax.tree.map(jnp.asarray, agent_of(saved))
        return jax.tree.map(lambda leaf, sharding: agents.place(sharding, leaf), agent_of(saved), self._where)

    def close(self) -> None:
        """Frees nothing: all lies on the devices."""


class AgentPrograms:
    """Compiled once for a number of agents; run for any seeds and hyperparameters.

    Args:
      algorithm: of all agents.
      num_agents: S.
      devices: of all processes.
      meanwhile: see Meanwhile.

    Attributes:
      init: `(seeds, hyperparameters) -> states`, all of as many agents as fill the devices.
      advance: `(hyperparameters, states, num_updates) -> (states, AgentsProgress)`.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        num_agents: int,
        devices: list[jax.Device],
        meanwhile: Meanwhile | None = None,
    ):
        training.require_pure(algorithm.setup.environment, "training several agents in one program")
        started = time.perf_counter()
        self.algorithm, self.layout = algorithm, agents.lay_out(num_agents, devices)
        layout, options = self.layout, _compiler_options(devices)
        one_key = jax.eval_shape(jax.random.key, 0)
        one_state = jax.eval_shape(partial(training.init_state, algorithm), one_key, algorithm.hyperparameters)
        one = jax.ShapeDtypeStruct((), jnp.uint32), jax.eval_shape(lambda: algorithm.hyperparameters), one_state
        of_all = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((num_agents, *leaf.shape), leaf.dtype), one)
        self.saved_types = of_all[2]
        seeds, hyperparameters, states = agents.spread_types(layout, of_all)

        def init(seeds, hyperparameters):
            return agents.init(layout, algorithm, jax.vmap(jax.random.key)(seeds), hyperparameters)

        def advance(hyperparameters, states, num_updates):
            return agents.advance(layout, algorithm, hyperparameters, states, num_updates)

        lowered_init = lower(jax.jit(init), seeds, hyperparameters)
        lowered = lower(jax.jit(advance, donate_argnums=1), hyperparameters, states, jnp.int32(1))
        self.init, self.advance = _compile_both(lowered_init, lowered, self.saved_types, meanwhile, options)
        self.program_bytes = bytes_held(self.advance.memory_analysis())
        refuse_too_large(algorithm.setup.config, self.program_bytes)
        self.compile_seconds = time.perf_counter() - started

    def run_of(self, seeds: np.ndarray, hyperparameters: Hyperparameters) -> "ManyAgents":
        """Makes the programs for agents `[S]` with these seeds and hyperparameters."""
        return ManyAgents(self, seeds, hyperparameters)


class ManyAgents:
    """Programs of several agents, divided among the devices.

    Args:
      compiled: for as many.
      seeds: `[S]`.
      hyperparameters: `[S]` each.
    """

    def __init__(self, compiled: AgentPrograms, seeds: np.ndarray, hyperparameters: Hyperparameters):
        self._compiled, self._layout = compiled, compiled.layout
        self.saved_types, self.compile_seconds = compiled.saved_types, compiled.compile_seconds
        self.program_bytes = compiled.program_bytes
        self._seeds = agents.spread(self._layout, np.asarray(seeds, np.uint32))
        self._hyperparameters = agents.spread(self._layout, hyperparameters)

    def init(self) -> TrainState:
        """Makes the states before the first update."""
        return self._compiled.init(self._seeds, self._hyperparameters)

    def advance(self, states: TrainState, num_updates: int) -> tuple[TrainState, Stretch]:
        """Makes exactly that many updates of every agent."""
        states, progress = self._compiled.advance(self._hyperparameters, states, np.int32(num_updates))
        progress, counters = self.save((progress, states.counters))
        return states, Stretch(num_updates, progress.healthy, progress.metrics, progress.totals, counters)

    def save(self, states: Any) -> Any:
        """Brings states to the host; see Programs."""
        return jax.tree.map(lambda leaf: leaf[: self._layout.num_agents], agents.fetch(states))

    def load(self, saved: TrainState) -> TrainState:
        """Puts saved states back on the devices."""
        return agents.spread(self._layout, saved)

    def close(self) -> None:
        """Frees nothing: all lies on the devices."""


def _compile_both(
    init: Any, advance: Any, saved_types: Any, meanwhile: Meanwhile | None, options: dict[str, Any] | None = None
) -> tuple[Any, Any]:
    """Compiles the two programs of a run at once: the compiler leaves a second core idle most of the time."""
    with ThreadPoolExecutor(1) as elsewhere:
        compiling = elsewhere.submit(advance.compile, options)
        if meanwhile is not None:
            meanwhile(saved_types)
        return init.compile(options), compiling.result()


def _compiler_options(devices: list[jax.Device]) -> dict[str, Any]:
    """Asks for one thread for each core that is a device; the same however many there are, so that the bits are too."""
    return {"xla_cpu_multi_thread_eigen": False} if devices[0].platform == "cpu" else {}


def describe_device() -> str:
    """Returns the device training runs on, as `cpu (16 cores)` or `NVIDIA H200`."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"cpu ({os.cpu_count()} cores)"
    return f"{device.device_kind} ({device.platform})"
