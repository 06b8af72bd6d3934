"""The training program that all algorithms share: state, the loop over updates, and what it promises.

An algorithm is a pair of pure functions, `init_learner` and `learn`. The loop collects, normalises, guards and counts
around them, by two drivers. `make_train` runs a whole training as one program, to be jitted, vmapped over keys and over
hyperparameters, or both. `advance` runs up to a given number of updates and is what the host calls in a loop; memory
and compile time of either do not depend on how long the run is.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl_gae.environments import (
    Environment,
    HostEnvironment,
    host_environment,
    make_environment,
    stagger_first_episodes,
)
from purejaxrl_gae.program import rollout
from purejaxrl_gae.program.debugging import no_value
from purejaxrl_gae.program.networks import make_network
from purejaxrl_gae.program.types import (
    Algorithm,
    EpisodeTotals,
    Experience,
    Hyperparameters,
    Metrics,
    Recording,
    Setup,
    TrainState,
)
from purejaxrl_gae.settings.config import ENVIRONMENT_FIELDS, TrainingConfig, traced_fields
from purejaxrl_gae.settings.errors import UserError, closest


class TrainResult(NamedTuple):
    """What a whole training returns.

    Attributes:
      state: the final TrainState; `values.make_value_function` says what its learner's values are in rewards.
      metrics: per update, `[U]` each: the algorithm's means, `env_steps` (counted), `episodes` ended, and
        `episodic_return` and `episodic_length` of those, NaN where none ended; `score_last100`, the mean return of the
        last 100 episodes so far, NaN only before the first has ended.
    """

    state: TrainState
    metrics: Metrics


class Progress(NamedTuple):
    """What `advance` did.

    Attributes:
      updates: int32 updates made.
      healthy: bool; False where an update met something not finite and was undone, which ends the run.
      metrics: means over those updates.
      totals: sums over the episodes that ended in them.
    """

    updates: jax.Array
    healthy: jax.Array
    metrics: Metrics
    totals: EpisodeTotals


def prepare(config: TrainingConfig, *, action_values: bool = False) -> Setup:
    """Checks the config on the host and builds what it names.

    Args:
      config: of any algorithm.
      action_values: the value function is one of states and actions.

    Raises:
      UserError: a field is wrong, the environment is unknown or breaks the contract.
    """
    config.validate()
    environment = configured_environment(config)
    if isinstance(environment, HostEnvironment):
        if environment.num_envs not in (None, config.num_envs):
            raise UserError(
                f"num_envs is {config.num_envs}, but {environment.name} is a VectorEnv of {environment.num_envs} copies"
            )
        if config.stagger_episodes:
            environment = host_environment.stagger_first_episodes(environment)
    elif config.stagger_episodes:
        environment = stagger_first_episodes(environment)
    network = make_network(config, environment, action_values=action_values)
    return Setup(config, environment, network)


def configured_environment(config: TrainingConfig) -> Environment | HostEnvironment:
    """The environment a config names, with the options it sets; what training and evaluation have in common.

    Raises:
      UserError: the environment is unknown, breaks the contract, or does not take an option.
    """
    return make_environment(**{name: getattr(config, name) for name in ENVIRONMENT_FIELDS})


def unstaggered_environment(setup: Setup) -> Environment | HostEnvironment:
    """The environment as evaluation plays it; built again only where training changed it."""
    return configured_environment(setup.config) if setup.config.stagger_episodes else setup.environment


def require_pure(environment: Environment | HostEnvironment, what: str) -> None:
    """Refuses an environment that runs on the host where all must be one program.

    Raises:
      UserError: says what needs it, and what to use instead.
    """
    if isinstance(environment, HostEnvironment):
        raise UserError(
            f"env is {environment.name}, which runs on the host; {what} needs a JAX environment. Train it one agent at "
            "a time by the command line or purejaxrl_gae.runs.training_run.run"
        )


@functools.cache
def hyperparameters_of(kind: type[TrainingConfig]) -> Any:
    """Makes the pytree dataclass of a config class's traced fields, named after it: PPOConfig's is PPOHyperparameters.

    Its values are scalars, or vectors under `vmap`.
    """
    name = f"{kind.__name__.removesuffix('Config')}Hyperparameters"
    annotations = {field: jax.Array | None for field in traced_fields(kind)}
    doc = f"The traced values of {kind.__name__}; scalars, or vectors under `vmap`. Fields as there."
    members = {"__annotations__": annotations, "__module__": kind.__module__, "__doc__": doc}
    return type(name, (struct.PyTreeNode,), members)


def traced_hyperparameters(config: TrainingConfig) -> Hyperparameters:
    """Reads a config's traced fields as float32 arrays; None stays None."""
    kind = hyperparameters_of(type(config))  # type: ignore[arg-type]
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(kind)}
    return kind(**{name: None if value is None else jnp.float32(value) for name, value in values.items()})


def override_hyperparameters(base: Hyperparameters, overrides: Any) -> Hyperparameters:
    """The config's hyperparameters with some replaced.

    Args:
      base: the config's.
      overrides: None, a mapping of some names to values, or a complete set of the same kind.

    Raises:
      UserError: a name is unknown, or the config switched off what it belongs to.
    """
    if overrides is None:
        return base
    if not isinstance(overrides, Mapping):
        if type(overrides) is not type(base):
            raise UserError(
                f"hyperparameters is a {type(overrides).__name__}; it must be a dict or a {type(base).__name__}"
            )
        overrides = {field.name: getattr(overrides, field.name) for field in dataclasses.fields(overrides)}
    known = [field.name for field in dataclasses.fields(base)]
    for name, value in overrides.items():
        if name not in known:
            raise UserError(f"hyperparameters has {name!r}, which is not traced{closest(name, known)}; traced: {known}")
        if value is not None and getattr(base, name) is None:
            raise UserError(f"hyperparameters has {name!r}, but the config's {name} is None; set it there to enable it")
    values = {name: jnp.asarray(value, jnp.float32) for name, value in overrides.items() if value is not None}
    return base.replace(**values)


def init_state(algorithm: Algorithm, key: jax.Array, hyperparameters: Hyperparameters) -> TrainState:
    """Makes the state before the first update."""
    learner_key, world_key = jax.random.split(key)
    setup = algorithm.setup
    normalizers = rollout.init_normalizers(
        setup.environment,
        observations=setup.config.normalize_observations,
        returns=setup.config.normalize_rewards,
    )
    return TrainState(
        learner=algorithm.init_learner(learner_key, hyperparameters).replace(normalizers=normalizers),
        world=rollout.init_world(setup.environment, world_key, setup.config.num_envs),
        counters=rollout.init_counters(),
    )


Update = Callable[[Hyperparameters, TrainState], tuple[TrainState, Metrics, EpisodeTotals]]


def update(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState
) -> tuple[TrainState, Metrics, EpisodeTotals]:
    """One rollout in compiled environments and what is learned from it, unguarded."""
    state, experience, totals, keys = collect(algorithm, hyperparameters, state)
    state, metrics = learn_from(algorithm, hyperparameters, state, experience, keys)
    return state, metrics, totals


def collect(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState
) -> tuple[TrainState, Experience, EpisodeTotals, jax.Array]:
    """One rollout in compiled environments.

    Returns:
      `(state, experience, totals, keys)`: the state with everything moved on but what is learned; the episodes that
      ended; the keys for learning from it.
    """
    state, rollout_keys, keys = begin_update(algorithm, state)
    learner = state.learner
    world, recording = rollout.record(algorithm.setup, learner.params, learner.normalizers, state.world, rollout_keys)
    state, experience, totals = take_in(algorithm, hyperparameters, state.replace(world=world), recording)
    return state, experience, totals, keys


def begin_update(algorithm: Algorithm, state: TrainState) -> tuple[TrainState, jax.Array, jax.Array]:
    """Splits all keys of an update at once, and starts environments anew where the algorithm wants that.

    Returns:
      `(state, rollout_keys, learning_keys)`: the state with the next update's key.
    """
    setup, world = algorithm.setup, state.world
    if algorithm.starts_anew:
        world_key, reset_key = jax.random.split(world.key)
        world = rollout.init_world(setup.environment, reset_key, setup.config.num_envs).replace(key=world_key)
    next_key, rollout_keys, learning_keys = split_for_update(setup.config, world.key, algorithm.num_keys)
    return state.replace(world=world.replace(key=next_key)), rollout_keys, learning_keys


def take_in(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, recording: Recording
) -> tuple[TrainState, Experience, EpisodeTotals]:
    """Makes experience of a recording, of compiled environments or of the host's, and counts what it holds."""
    learner = state.learner
    world, normalizers, counters, experience, totals = rollout.experience_of(
        algorithm.setup,
        learner.params,
        learner.normalizers,
        state.world,
        state.counters,
        recording,
        getattr(hyperparameters, "gamma", 1.0),
    )
    return TrainState(learner.replace(normalizers=normalizers), world, counters), experience, totals


def learn_from(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, experience: Experience, keys: jax.Array
) -> tuple[TrainState, Metrics]:
    """Has the algorithm learn from a rollout."""
    progress = state.counters.updates.astype(jnp.float32) / algorithm.setup.config.num_updates
    learner, metrics = algorithm.learn(hyperparameters, state.learner, experience, keys, progress)
    return state.replace(learner=learner), metrics


def split_for_update(config: TrainingConfig, key: jax.Array, num_keys: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One split for everything an update draws: each further one would cost more compile time than run time.

    Returns:
      `(key, rollout_keys, update_keys)`: of the next update; `[T + 1]`; `[num_keys]`. The first two do not depend on
      `num_keys`.
    """
    keys = jax.random.split(key, 1 + config.num_steps + 1 + num_keys)
    return keys[0], keys[1 : config.num_steps + 2], keys[config.num_steps + 2 :]


def guarded_update(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, update: Update
) -> tuple[TrainState, Metrics, EpisodeTotals, jax.Array]:
    """One update, undone where it would leave a parameter or a loss that is not finite.

    Returns:
      `(state, metrics, totals, healthy)`. Where not healthy, the learner is the one from before; for good, where the
      config says halt.
    """
    new_state, metrics, totals = update(hyperparameters, state)
    healthy = all_finite((new_state.learner, metrics))
    if algorithm.setup.config.on_nonfinite == "halt":
        healthy &= state.counters.skipped_updates == 0
    learner = jax.lax.cond(healthy, lambda: new_state.learner, lambda: state.learner)
    counters = new_state.counters.replace(
        updates=state.counters.updates + 1,
        skipped_updates=state.counters.skipped_updates + jnp.where(healthy, 0, 1),
    )
    return new_state.replace(learner=learner, counters=counters), metrics, totals, healthy


def all_finite(tree: Any) -> jax.Array:
    """Scalar bool: no floating-point leaf holds a NaN or an infinity."""
    floats = [leaf.reshape(-1) for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.isfinite(jnp.concatenate(floats)))


class Sums(NamedTuple):
    """What is added up over updates.

    Attributes:
      updates: int32, those that were not undone.
      metrics: `[M]` sums of the metrics over those, in the order of their names.
      totals: sums over the episodes that ended, in all updates.
    """

    updates: jax.Array
    metrics: jax.Array
    totals: EpisodeTotals


def no_sums(hyperparameters: Hyperparameters, state: TrainState, update: Update) -> tuple[list[str], Sums]:
    """The metrics' names in order, and sums over no update."""
    _, metrics, totals = jax.eval_shape(update, hyperparameters, state)
    zero_totals = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), totals)
    return sorted(metrics), Sums(jnp.zeros((), jnp.int32), jnp.zeros(len(metrics), jnp.float32), zero_totals)


def summed_update(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, sums: Sums, update: Update
) -> tuple[TrainState, Sums, jax.Array]:
    """One guarded update added to the sums: `(state, sums, healthy)`."""
    state, metrics, totals, healthy = guarded_update(algorithm, hyperparameters, state, update)
    values = jnp.stack([metrics[name] for name in sorted(metrics)])
    metrics_sum = sums.metrics + jnp.where(healthy, values, 0.0)
    return state, Sums(sums.updates + healthy, metrics_sum, sums.totals.plus(totals)), healthy


def mean_metrics(names: list[str], sums: Sums) -> Metrics:
    """Means over the updates that were not undone."""
    means = sums.metrics / sums.updates
    return {name: means[index] for index, name in enumerate(names)}


def advance(
    algorithm: Algorithm,
    hyperparameters: Hyperparameters,
    state: TrainState,
    num_updates: jax.Array,
    update_once: Update | None = None,
) -> tuple[TrainState, Progress]:
    """Up to `num_updates` (traced) updates; fewer where one meets something not finite and the config says halt.

    The number is traced, so one compiled program serves every stretch of a run, and how a run is cut into stretches
    does not change its bits. `update_once` stands in for `update` where the host has recorded already.
    """
    update_once = update_once or partial(update, algorithm)
    halts = algorithm.setup.config.on_nonfinite == "halt"
    names, sums = no_sums(hyperparameters, state, update_once)

    def goes_on(carry):
        _, updates, healthy, _ = carry
        return (updates < num_updates) & (healthy | (not halts))

    def one_update(carry):
        state, updates, _, sums = carry
        state, sums, healthy = summed_update(algorithm, hyperparameters, state, sums, update_once)
        return state, updates + 1, healthy, sums

    carry = (state, jnp.zeros((), jnp.int32), jnp.array(True), sums)
    state, updates, healthy, sums = jax.lax.while_loop(goes_on, one_update, carry)
    return state, Progress(updates, healthy | (not halts), mean_metrics(names, sums), sums.totals)


def episode_metrics(totals: EpisodeTotals) -> Metrics:
    """Means over the episodes that ended, NaN where none did."""
    ended, count = totals.episodes > 0, jnp.maximum(totals.episodes, 1)
    return {
        "episodes": totals.episodes,
        "episodic_return": jnp.where(ended, totals.returns / count, no_value()),
        "episodic_length": jnp.where(ended, totals.lengths / count, no_value()),
    }


def reported_update(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState
) -> tuple[TrainState, Metrics]:
    """One guarded update with the metrics that TrainResult names, each a scalar."""
    config = algorithm.setup.config
    state, metrics, totals, _ = guarded_update(algorithm, hyperparameters, state, partial(update, algorithm))
    updates, steps = state.counters.updates, config.steps_per_update
    if config.env_steps < 2**31:
        env_steps = jnp.minimum(updates, (2**31 - 1) // steps) * steps  # for a state that was trained further
    else:
        env_steps = updates.astype(jnp.float32) * steps
    score = rollout.recent_score(state.counters)
    return state, {**metrics, **episode_metrics(totals), "score_last100": score, "env_steps": env_steps}


def make_train_program(algorithm: Algorithm) -> Callable[..., TrainResult]:
    """`train(key, hyperparameters=None, state=None) -> TrainResult` for one algorithm."""
    require_pure(algorithm.setup.environment, "make_train, a whole run as one program,")

    def train(key: jax.Array | None, hyperparameters: Any = None, state: TrainState | None = None) -> TrainResult:
        """One whole training run from a key, or as many further updates of a state; see `algorithms.make_train`."""
        values = override_hyperparameters(algorithm.hyperparameters, hyperparameters)
        start = _first_state(algorithm, key, values, state)
        length = algorithm.setup.config.num_updates
        return TrainResult(*jax.lax.scan(lambda now, _: reported_update(algorithm, values, now), start, length=length))

    return train


def _first_state(
    algorithm: Algorithm, key: jax.Array | None, hyperparameters: Hyperparameters, state: TrainState | None
) -> TrainState:
    """A fresh state, or one handed in, which a key gives random numbers of its own."""
    if state is None:
        if key is None:
            raise UserError("key is None; train needs a random key, or the state to go on from")
        return init_state(algorithm, key, hyperparameters)
    return state if key is None else state.replace(world=state.world.replace(key=key))
