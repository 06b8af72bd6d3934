"""The training program that all algorithms share: state, the loop over updates, and what it promises.

An algorithm is a pair of pure functions, `init_learner` and `learn`. The loop collects, normalises, guards and counts
around them, by two drivers. `make_train` runs a whole training as one program, to be jitted, vmapped over keys and over
hyperparameters, or both. `advance` runs up to a given number of updates and is what the host calls in a loop; memory
and compile time of either do not depend on how long the run is. What an algorithm's module needs besides, `prepare` and
the functions of hyperparameters, can be taken from here too.
"""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.program import rollout
from purejaxrl_gae.program.experience import experience_of, init_counters, recent_score
from purejaxrl_gae.program.guarded_update import (
    Update,
    episode_metrics,
    guarded_update,
    mean_metrics,
    no_sums,
    summed_update,
)
from purejaxrl_gae.program.hyperparameters import hyperparameters_of as hyperparameters_of
from purejaxrl_gae.program.hyperparameters import override_hyperparameters as override_hyperparameters
from purejaxrl_gae.program.hyperparameters import traced_hyperparameters as traced_hyperparameters
from purejaxrl_gae.program.preparing import prepare as prepare
from purejaxrl_gae.program.preparing import require_pure as require_pure
from purejaxrl_gae.program.preparing import unstaggered_environment as unstaggered_environment
from purejaxrl_gae.program.types import (
    Algorithm,
    EpisodeTotals,
    Experience,
    Hyperparameters,
    Metrics,
    Recording,
    TrainState,
)
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import UserError


class TrainResult(NamedTuple):
    """A whole training.

    Attributes:
      state: the final TrainState; `values.make_value_function` says what its learner's values are in rewards.
      metrics: per update, `[U]` each: the algorithm's means, `env_steps` (counted), `episodes` ended, and
        `episodic_return` and `episodic_length` of those, NaN where none ended; `score_last100`, the mean return of the
        last 100 episodes so far, NaN only before the first has ended.
    """

    state: TrainState
    metrics: Metrics


class Progress(NamedTuple):
    """The updates that `advance` made.

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
        world=rollout.init_world(setup, world_key),
        counters=init_counters(),
    )


def _in_chosen_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of an algorithm whose matrix products are as its config says; see `kernels.in_float32`."""

    @functools.wraps(function)
    def traced(algorithm, *args):
        precision = algorithm.setup.config.matmul_precision
        if precision == "default":
            return function(algorithm, *args)
        with jax.default_matmul_precision(precision):
            return function(algorithm, *args)

    return traced


def update(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState
) -> tuple[TrainState, Metrics, EpisodeTotals]:
    """Makes one rollout in compiled environments and learns from it, unguarded."""
    state, experience, totals, keys = collect(algorithm, hyperparameters, state)
    state, metrics = learn_from(algorithm, hyperparameters, state, experience, keys)
    return state, metrics, totals


@_in_chosen_precision
def collect(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState
) -> tuple[TrainState, Experience, EpisodeTotals, jax.Array]:
    """Makes one rollout in compiled environments.

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
        world = rollout.init_world(setup, reset_key).replace(key=world_key)
    next_key, rollout_keys, learning_keys = split_for_update(setup.config, world.key, algorithm.num_keys)
    return state.replace(world=world.replace(key=next_key)), rollout_keys, learning_keys


@_in_chosen_precision
def take_in(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, recording: Recording
) -> tuple[TrainState, Experience, EpisodeTotals]:
    """Makes experience of a recording, of compiled environments or of the host's, and counts what it holds."""
    learner = state.learner
    world, normalizers, counters, experience, totals = experience_of(
        algorithm.setup,
        learner.params,
        learner.normalizers,
        state.world,
        state.counters,
        recording,
        getattr(hyperparameters, "gamma", 1.0),
    )
    return TrainState(learner.replace(normalizers=normalizers), world, counters), experience, totals


@_in_chosen_precision
def learn_from(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, experience: Experience, keys: jax.Array
) -> tuple[TrainState, Metrics]:
    """Has the algorithm learn from a rollout."""
    progress = state.counters.updates.astype(jnp.float32) / algorithm.setup.config.num_updates
    learner, metrics = algorithm.learn(hyperparameters, state.learner, experience, keys, progress)
    return state.replace(learner=learner), metrics


def split_for_update(config: TrainingConfig, key: jax.Array, num_keys: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Splits a key once for everything an update draws: each further split costs more compile time than run time.

    Returns:
      `(key, rollout_keys, update_keys)`: of the next update; `[T + 1]`; `[num_keys]`. The first two do not depend on
      `num_keys`.
    """
    keys = jax.random.split(key, 1 + config.num_steps + 1 + num_keys)
    return keys[0], keys[1 : config.num_steps + 2], keys[config.num_steps + 2 :]


def advance(
    algorithm: Algorithm,
    hyperparameters: Hyperparameters,
    state: TrainState,
    num_updates: jax.Array,
    update_once: Update | None = None,
) -> tuple[TrainState, Progress]:
    """Makes up to `num_updates` (traced) updates; fewer where one is not finite and the config says halt.

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


def reported_update(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState
) -> tuple[TrainState, Metrics]:
    """Makes one guarded update; returns the metrics that TrainResult names, each a scalar."""
    config = algorithm.setup.config
    state, metrics, totals, _ = guarded_update(algorithm, hyperparameters, state, partial(update, algorithm))
    updates, steps = state.counters.updates, config.steps_per_update
    if config.env_steps < 2**31:
        env_steps = jnp.minimum(updates, (2**31 - 1) // steps) * steps  # for a state that was trained further
    else:
        env_steps = updates.astype(jnp.float32) * steps
    score = recent_score(state.counters)
    return state, {**metrics, **episode_metrics(totals), "score_last100": score, "env_steps": env_steps}


def make_train_program(algorithm: Algorithm) -> Callable[..., TrainResult]:
    """Makes `train(key, hyperparameters=None, state=None) -> TrainResult` for one algorithm."""
    require_pure(algorithm.setup.environment, "make_train, a whole run as one program,")

    def train(key: jax.Array | None, hyperparameters: Any = None, state: TrainState | None = None) -> TrainResult:
        """Trains one whole run from a key, or a state as many updates further; see `algorithms.make_train`."""
        values = override_hyperparameters(algorithm.hyperparameters, hyperparameters)
        start = _first_state(algorithm, key, values, state)
        length = algorithm.setup.config.num_updates
        return TrainResult(*jax.lax.scan(lambda now, _: reported_update(algorithm, values, now), start, length=length))

    return train


def _first_state(
    algorithm: Algorithm, key: jax.Array | None, hyperparameters: Hyperparameters, state: TrainState | None
) -> TrainState:
    """Makes a fresh state, or takes one handed in, which a key gives random numbers of its own."""
    if state is None:
        if key is None:
            raise UserError("key is None; train needs a random key, or the state to go on from")
        return init_state(algorithm, key, hyperparameters)
    return state if key is None else state.replace(world=state.world.replace(key=key))
