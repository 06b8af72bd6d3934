"""Collecting experience: a scan over vectorised environments, and everything computed once over its whole result.

The scan carries and stores only what cannot be computed later. Values, log-probabilities and episode statistics come
after it, in one batch each. No `info` passes through.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.environments import (
    ActionSpace,
    BoxActions,
    DiscreteActions,
    Environment,
    HostEnvironment,
    JointActions,
    end_nonfinite_episodes,
)
from purejaxrl_gae.environments.structures import batched, mask_name, named_leaves, seen_types
from purejaxrl_gae.parallel import sharding, storing
from purejaxrl_gae.parallel.batching import compute_if_any
from purejaxrl_gae.parallel.platform import takes_branches
from purejaxrl_gae.program import memories
from purejaxrl_gae.program.types import Distribution, Normalizers, Params, Recording, Setup, World
from purejaxrl_gae.settings.config import ActionBounds


def init_world(setup: Setup, key: jax.Array) -> World:
    """Resets N environments to their first observation; a HostEnvironment has none until the host has reset it."""
    environment, num_envs = setup.environment, setup.config.num_envs
    reset_key, key = jax.random.split(key)
    states: Any
    if isinstance(environment, Environment):
        states, observations = environment.reset(reset_key, num_envs)
    else:
        states, types = (), batched(seen_types(environment), num_envs)
        observations = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), types)
    return World(
        states=states,
        observations=observations,
        episode_returns=jnp.zeros(num_envs, jnp.float32),
        episode_lengths=jnp.zeros(num_envs, jnp.int32),
        discounted_returns=jnp.zeros(num_envs, jnp.float32),
        key=key,
        memory=memories.initial_memory(setup.network, num_envs),
    )


def init_normalizers(environment: Environment | HostEnvironment, *, observations: bool, returns: bool) -> Normalizers:
    """Makes moments of nothing, for what is to be normalised: of several arrays, those that are real and no mask."""
    types, mask = seen_types(environment), mask_name(environment)

    def moments_of(name, leaf):
        is_normalized = jnp.issubdtype(leaf.dtype, jnp.floating) and name != mask
        return kernels.init_moments(leaf.shape) if is_normalized else None

    each = [moments_of(name, leaf) for name, leaf in named_leaves(types).items()]
    return Normalizers(
        observations=jax.tree.unflatten(jax.tree.structure(types), each) if observations else None,
        returns=kernels.init_moments() if returns else None,
    )


def normalize_observations(normalizers: Normalizers, observations: Any) -> Any:
    """Turns raw observations into what the networks see."""
    if normalizers.observations is None:
        return observations

    def normalized(leaf, moments):
        return leaf if moments is None else kernels.normalize(leaf, moments)

    return jax.tree.map(normalized, observations, normalizers.observations)


def update_observation_moments(moments: Any, observations: Any) -> Any:
    """Updates the moments of the observations by `[T, N, *shape]` more, each leaf's by itself."""
    if moments is None:
        return None

    def updated(leaf, own):
        return None if own is None else kernels.update_moments(own, leaf)

    return jax.tree.map(updated, observations, moments)


def clip_to_bounds(environment: Environment | HostEnvironment, actions: Any, action_bounds: ActionBounds) -> Any:
    """Turns sampled actions into what the environment takes: within its bounds and shaped as it wants.

    Args:
      environment: whose action space says the bounds.
      actions: `[N, A]` real ones; `[N]` or `[N, k]` whole ones, which stay as they are; or a structure of these.
      action_bounds: `clip` them; `scale` what is between -1 and 1 to the bounds and clip the rest; or `tanh` first,
        then scale.
    """
    return _within(environment.actions, actions, action_bounds)


def _within(space: ActionSpace, actions: Any, action_bounds: ActionBounds) -> Any:
    if isinstance(space, JointActions):
        return space.map(lambda part, own: _within(part, own, action_bounds), actions)
    if isinstance(space, DiscreteActions):
        return actions
    if isinstance(space, BoxActions):
        low, high = jnp.asarray(space.low, jnp.float32), jnp.asarray(space.high, jnp.float32)
        if action_bounds != "clip":
            within_one = jnp.tanh(actions) if action_bounds == "tanh" else jnp.clip(actions, -1.0, 1.0)
            actions = low + 0.5 * (within_one + 1.0) * (high - low)
        actions = jnp.clip(actions, low, high)
    return actions.reshape(actions.shape[0], *space.shape)


class Acted(NamedTuple):
    """What N environments are to do, and what is remembered.

    Attributes:
      distribution: of each action.
      actions: as sampled from it.
      clipped: as the environment gets them.
      memory: pytree of `[N, ...]`, of what has been observed so far.
    """

    distribution: Distribution
    actions: jax.Array
    clipped: jax.Array
    memory: Any


def act(
    setup: Setup,
    params: Params,
    normalizers: Normalizers,
    observations: Any,
    remembered: tuple[Any, jax.Array],
    noise: Any,
) -> Acted:
    """Takes one action for each observation `[N, *shape]`.

    Args:
      setup: static parts.
      params: of the policy.
      normalizers: running moments.
      observations: raw.
      remembered: `(memory, starts)`: of what was observed before, and where an episode has begun since, `[N]` bool.
      noise: of each action.
    """
    seen = normalize_observations(normalizers, observations)
    distribution, memory = memories.act(setup.network, params, seen, *remembered)
    actions = distribution.from_noise(noise)
    return Acted(distribution, actions, clip_to_bounds(setup.environment, actions, setup.config.action_bounds), memory)


def draw_noise(setup: Setup, params: Params, key: jax.Array) -> Any:
    """Draws the parameter-free part of every action of a rollout at once: `[T, N, ...]` leaves."""
    config, types = setup.config, batched(seen_types(setup.environment), setup.config.num_envs)

    def first_distribution(params):
        observations = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), types)
        memory, starts = memories.initial_memory(setup.network, config.num_envs), jnp.zeros(config.num_envs, bool)
        return memories.act(setup.network, params, observations, memory, starts)[0]

    return jax.eval_shape(first_distribution, params).noise(key, (config.num_steps,))


def record(
    setup: Setup, params: Params, normalizers: Normalizers, world: World, keys: jax.Array
) -> tuple[World, Recording]:
    """Acts for T steps in every one of N compiled environments.

    Args:
      setup: static parts.
      params: of the policy that acts, and of the value function that looks behind time limits.
      normalizers: running moments, which stay as they are until the data has been used, so that ratios are exactly 1
        before the first gradient step.
      world: where the environments stand.
      keys: `[T + 1]` random keys: one for the noise of all actions, one for every step.

    Returns:
      `(world, recording)`: the world with environments moved on, and what they and the policy did.
    """
    (states, next_observations, next_memory), recorded, nonfinite_steps = sharding.over_environments(
        partial(_interact, setup),
        whole=(params, normalizers, keys[1:]),
        by_environment=(world.states, world.observations, world.memory),
        by_step=draw_noise(setup, params, keys[0]),
    )
    recording = Recording(
        **recorded, next_observations=next_observations, nonfinite_steps=nonfinite_steps, next_memory=next_memory
    )
    return world.replace(states=states), recording


def _interact(setup: Setup, whole: Any, by_environment: Any, noise: Any):
    """Scans over T steps of a number of environments; see `record` and `sharding.over_environments`."""
    params, normalizers, keys = whole
    environment, config = setup.environment, setup.config
    values_of = partial(_final_values, setup, params, normalizers)
    at_once = config.time_limit == "bootstrap" and not takes_branches()

    @jax.named_scope("rollout_step")  # for profilers, and benchmarks.accelerators
    def one_step(carry, inputs):
        states, observations, remembered, nonfinite_steps = carry
        noise, key = inputs
        acted = act(setup, params, normalizers, observations, remembered, noise)
        step = environment.step(key, states, acted.clipped)
        if config.on_nonfinite == "skip":
            step, nonfinite = end_nonfinite_episodes(environment, jax.random.fold_in(key, 1), step)
            nonfinite_steps += jnp.sum(nonfinite, dtype=jnp.int32)
        truncated = step.truncated & ~step.terminated
        final = (step.final_observations, acted.memory)
        recorded = {
            "observations": observations,
            "actions": acted.actions,
            "distribution": acted.distribution,
            "rewards": step.rewards,
            "terminated": step.terminated,
            "truncated": truncated,
            "final_values": final if at_once else values_of(truncated, final),
        }
        remembered = (acted.memory, step.terminated | step.truncated)
        return (step.states, step.observations, remembered, nonfinite_steps), recorded

    states, observations, memory = by_environment
    num_envs = jax.tree.leaves(observations)[0].shape[0]
    remembered = (memory, jnp.zeros(num_envs, bool))  # of an episode that ended nothing is left in the world
    carry = (states, observations, remembered, jnp.zeros((), jnp.int32))
    (states, observations, (memory, _), nonfinite_steps), recorded = storing.scan(one_step, carry, (noise, keys))
    if at_once:  # a batch of T * N has no more kernels than one of N
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), recorded["final_values"])
        truncated = recorded["truncated"]
        recorded["final_values"] = values_of(truncated.ravel(), flat).reshape(truncated.shape)
    return (states, observations, memory), recorded, nonfinite_steps


def _final_values(
    setup: Setup, params: Params, normalizers: Normalizers, truncated: jax.Array, final: tuple[Any, Any]
) -> jax.Array:
    """Computes V of the observation a time limit cut off, with the memory of its episode, where one did."""
    if setup.config.time_limit != "bootstrap":
        return jnp.zeros(truncated.shape, jnp.float32)

    def evaluate(params, normalizers, final):
        observations, memory = final
        return memories.value(setup.network, params, normalize_observations(normalizers, observations), memory)

    def skip(_params, _normalizers, _final):
        return jnp.zeros(truncated.shape, jnp.float32)

    return compute_if_any(truncated, evaluate, skip, params, normalizers, final)
