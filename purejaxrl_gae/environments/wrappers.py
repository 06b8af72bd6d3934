"""Functions from Environment to Environment, and the reset they share."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments.contract import Environment, OneHot, OneHotLeaves, Step, render_inner
from purejaxrl_gae.environments.structures import all_finite, allows_action, mask_name
from purejaxrl_gae.parallel.batching import compute_if_any


def reset_where(
    reset: Callable[[jax.Array], tuple[Any, Any]],
    key: jax.Array,
    ended: jax.Array,
    states: Any,
    observations: Any,
) -> tuple[Any, Any]:
    """Begins new episodes where `ended` is set; nothing is computed in a step in which none ended.

    Args:
      reset: of a key, yields N fresh states and observations.
      key: random key.
      ended: `[N]` bool.
      states: pytree, leading axis N.
      observations: `[N, *shape]`.

    Returns:
      `(states, observations)` with fresh ones in the ended places.
    """

    def with_resets(key, ended, *old):
        return select_copies(ended, reset(key), old)

    return compute_if_any(ended, with_resets, lambda key, ended, *old: old, key, ended, states, observations)


def reset_few_where(
    reset: Callable[[jax.Array], tuple[Any, Any]],
    keys: jax.Array,
    ended: jax.Array,
    states: Any,
    observations: Any,
    at_once: int,
) -> tuple[Any, Any]:
    """Begins new episodes as `reset_where` does, some copies at a time until all have, where a reset costs much.

    Args:
      reset: of M keys, yields M fresh states and observations.
      keys: `[N]`, so that a copy's new episode does not depend on which others have ended.
      ended: `[N]` bool.
      states: pytree, leading axis N.
      observations: `[N, *shape]`.
      at_once: M, how many are computed in one turn.
    """

    def begin_some(carry):
        left, old = carry
        places = jnp.argsort(~left)[:at_once]  # of those left first
        kept = jax.tree.map(lambda leaf: leaf[places], old)
        begun = select_copies(left[places], reset(keys[places]), kept)
        return left.at[places].set(False), jax.tree.map(lambda leaf, own: leaf.at[places].set(own), old, begun)

    return jax.lax.while_loop(lambda carry: jnp.any(carry[0]), begin_some, (ended, (states, observations)))[1]


def select_copies(condition: jax.Array, chosen: Any, otherwise: Any) -> Any:
    """Takes, of two pytrees alike, the first's copies where `condition` `[N]` is set, the second's elsewhere."""

    def select(chosen_leaf, other_leaf):
        return jnp.where(condition.reshape(condition.shape + (1,) * (other_leaf.ndim - 1)), chosen_leaf, other_leaf)

    return jax.tree.map(select, chosen, otherwise)


def one_hot_observations(environment: Environment, one_hot: OneHot | OneHotLeaves | None) -> Environment:
    """Shows observations that are whole numbers as zeros and ones; without an encoding, no change.

    Args:
      environment: whose observations are such numbers, as float32.
      one_hot: the encoding.
    """
    if one_hot is None:
        return environment

    def encode(observations):
        return one_hot.encode(observations.astype(jnp.int32) if isinstance(one_hot, OneHot) else observations)

    shown = show_as(environment, encode, one_hot.shape_of(environment.observations))
    return dataclasses.replace(shown, one_hot=one_hot)


def show_as(environment: Environment, encode: Callable[[Any], Any], shape: Any) -> Environment:
    """Shows observations in another form.

    Args:
      environment: whose.
      encode: `[N, *shape]` observations to that form.
      shape: of one in that form; see `structures.types_of`.
    """

    def reset(key, num_envs):
        states, observations = environment.reset(key, num_envs)
        return states, encode(observations)

    def step(key, states, actions):
        result = environment.step(key, states, actions)
        final_observations = encode(result.final_observations)
        return result._replace(observations=encode(result.observations), final_observations=final_observations)

    return dataclasses.replace(environment, observation_shape=shape, reset=reset, step=step)


class StaggeredState(NamedTuple):
    """State of an environment whose first episodes are cut at different lengths.

    Attributes:
      inner: the wrapped environment's states.
      steps_left: `[N]` int32, steps until the first episode is cut; negative once it is over.
    """

    inner: Any
    steps_left: jax.Array


def stagger_first_episodes(environment: Environment) -> Environment:
    """Cuts each copy's first episode at its own random length, so that later ones do not all end in one step.

    Thousands of environments with one time limit otherwise finish together, every `max_episode_steps` steps, and most
    updates see no finished episode. The cut is a truncation: no value is lost by it.

    Args:
      environment: one with a time limit; without one it is returned as it is.
    """
    limit = environment.max_episode_steps
    if limit is None:
        return environment

    def reset(key, num_envs):
        reset_key, length_key = jax.random.split(key)
        inner, observations = environment.reset(reset_key, num_envs)
        lengths = jax.random.randint(length_key, (num_envs,), 1, limit + 1, dtype=jnp.int32)
        return StaggeredState(inner, lengths), observations

    def step(key, states, actions):
        step_key, reset_key = jax.random.split(key)
        result = environment.step(step_key, states.inner, actions)
        steps_left = states.steps_left - 1
        ended = result.terminated | result.truncated
        cut = (steps_left == 0) & ~ended
        inner, observations = reset_where(
            lambda key: environment.reset(key, cut.shape[0]), reset_key, cut, result.states, result.observations
        )
        steps_left = jnp.where(ended | (steps_left <= 0), -1, steps_left)
        return result._replace(
            states=StaggeredState(inner, steps_left), observations=observations, truncated=result.truncated | cut
        )

    return dataclasses.replace(environment, reset=reset, step=step, render=render_inner(environment.render))


def end_nonfinite_episodes(environment: Environment, key: jax.Array, step: Step) -> tuple[Step, jax.Array]:
    """Ends an episode at a NaN or infinite reward or observation instead of letting it reach the learner.

    Such a step counts as a termination with reward 0 and an all-zero final observation, and the copy is reset; so does
    one that leads to where a mask allows no action.

    Args:
      environment: where the step was made.
      key: random key of the resets.
      step: what it yielded.

    Returns:
      `(step, nonfinite)`: the step without them, and `[N]` bool where they were.
    """
    nonfinite = ~(jnp.isfinite(step.rewards) & all_finite(step.final_observations, step.rewards.shape))
    if mask_name(environment) is not None:
        nonfinite |= ~allows_action(environment, step.observations, step.rewards.shape)
    states, observations = reset_where(
        lambda key: environment.reset(key, nonfinite.shape[0]), key, nonfinite, step.states, step.observations
    )
    zeros = jax.tree.map(jnp.zeros_like, step.final_observations)
    contained = Step(
        states=states,
        observations=observations,
        rewards=jnp.where(nonfinite, 0.0, step.rewards),
        terminated=step.terminated | nonfinite,
        truncated=step.truncated,
        final_observations=select_copies(nonfinite, zeros, step.final_observations),
    )
    return contained, nonfinite
