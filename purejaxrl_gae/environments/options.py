"""Options of any environment, as functions from Environment to Environment.

Applied in this order from the inside: the time limit and sticky actions count and act in steps of the environment
itself, the action repeat gathers several of those into one decision of the agent, as the Arcade Learning Environment
does.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments.contract import Environment, Step, render_inner
from purejaxrl_gae.environments.wrappers import reset_where, select_copies
from purejaxrl_gae.parallel.sharding import keys_of_copies


class LimitedState(NamedTuple):
    """State of an environment with a time limit laid over it.

    Attributes:
      inner: the environment's states.
      steps: `[N]` int32 steps of the running episodes.
    """

    inner: Any
    steps: jax.Array


def limit_episodes(environment: Environment, limit: int) -> Environment:
    """Cuts episodes after `limit` steps, as a truncation; an environment that ends them sooner stays as it is.

    Args:
      environment: with or without a time limit of its own.
      limit: steps, at least 1.
    """
    if environment.max_episode_steps is not None and environment.max_episode_steps <= limit:
        return environment

    def reset(key, num_envs):
        inner, observations = environment.reset(key, num_envs)
        return LimitedState(inner, jnp.zeros(num_envs, jnp.int32)), observations

    def step(key, states, actions):
        step_key, reset_key = jax.random.split(key)
        result = environment.step(step_key, states.inner, actions)
        steps = states.steps + 1
        ended = result.terminated | result.truncated
        cut = (steps >= limit) & ~ended
        inner, observations = reset_where(
            lambda key: environment.reset(key, cut.shape[0]), reset_key, cut, result.states, result.observations
        )
        states = LimitedState(inner, jnp.where(ended | cut, 0, steps))
        return result._replace(states=states, observations=observations, truncated=result.truncated | cut)

    return dataclasses.replace(
        environment, max_episode_steps=limit, reset=reset, step=step, render=render_inner(environment.render)
    )


class StickyState(NamedTuple):
    """State of an environment with sticky actions.

    Attributes:
      inner: the environment's states.
      previous: `[N, ...]` actions applied last.
      has_previous: `[N]` bool; False at the first step of an episode.
    """

    inner: Any
    previous: Any
    has_previous: jax.Array


def sticky_actions(environment: Environment, probability: float) -> Environment:
    """Repeats the action applied last instead of the new one, with that probability at every step but the first.

    Source: Machado et al. 2018, Revisiting the Arcade Learning Environment, section 5.

    Args:
      environment: any.
      probability: at least 0 and below 1.
    """
    space = environment.actions

    def reset(key, num_envs):
        inner, observations = environment.reset(key, num_envs)
        previous = jax.tree.map(lambda leaf: jnp.zeros((num_envs, *leaf.shape), leaf.dtype), space.types)
        return StickyState(inner, previous, jnp.zeros(num_envs, bool)), observations

    def step(key, states, actions):
        step_key, stick_key = jax.random.split(key)
        (keys,) = keys_of_copies(stick_key, states.has_previous.shape[0], 1)
        sticks = (jax.vmap(jax.random.uniform)(keys) < probability) & states.has_previous
        actions = select_copies(sticks, states.previous, actions)
        result = environment.step(step_key, states.inner, actions)
        has_previous = ~(result.terminated | result.truncated)
        return result._replace(states=StickyState(result.states, actions, has_previous))

    return dataclasses.replace(environment, reset=reset, step=step, render=render_inner(environment.render))


def repeat_actions(environment: Environment, repeats: int) -> Environment:
    """Applies each action for `repeats` steps, or until the episode ends, and adds up the rewards.

    A copy whose episode ended stays at the first observation of its next one until the others are done, so nothing of
    that one is played unseen.

    Args:
      environment: any; its time limit counts its own steps.
      repeats: at least 1.
    """

    def step(key, states, actions):
        keys = jax.random.split(key, repeats)
        nothing = _no_step(environment, keys[0], states, actions)
        return jax.lax.scan(partial(_one_more_step, environment, actions), nothing, keys)[0]

    limit = environment.max_episode_steps
    return dataclasses.replace(
        environment, max_episode_steps=None if limit is None else -(-limit // repeats), step=step
    )


def _one_more_step(environment: Environment, actions: Any, step: Step, key: jax.Array) -> tuple[Step, None]:
    """Steps once more and adds up rewards, where the episode has not ended."""
    following = environment.step(key, step.states, actions)
    ended = step.terminated | step.truncated
    following = following._replace(rewards=step.rewards + following.rewards)
    return select_copies(ended, step, following), None


def _no_step(environment: Environment, key: jax.Array, states: Any, actions: Any) -> Step:
    """Returns the result of not having stepped: no reward, nothing ended; observations are placeholders."""
    types = jax.eval_shape(environment.step, key, states, actions)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), types._replace(states=None))
    return nothing._replace(states=states)


def with_options(
    environment: Environment, *, max_episode_steps: int | None, action_repeat: int, sticky: float
) -> Environment:
    """Applies a config's options to an environment; each that is off changes nothing.

    Args:
      environment: any.
      max_episode_steps: see `limit_episodes`; None for the environment's own.
      action_repeat: see `repeat_actions`; 1 for none.
      sticky: see `sticky_actions`; 0 for none.
    """
    if max_episode_steps is not None:
        environment = limit_episodes(environment, max_episode_steps)
    if sticky > 0.0:
        environment = sticky_actions(environment, sticky)
    if action_repeat > 1:
        environment = repeat_actions(environment, action_repeat)
    return environment
