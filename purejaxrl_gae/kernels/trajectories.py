"""Sums over whole trajectories: each is the part of one episode that lies in a rollout, from its start to its end.

A trajectory starts at the rollout's first step or behind the end of an episode, and reaches to the end of its episode
or of the rollout. Arrays are time-major, `[T, ...]`.
"""

import chex
import jax
import jax.numpy as jnp

from purejaxrl_gae.kernels.advantages import discounted_returns


def trajectory_start(values: jax.Array, terminated: jax.Array, truncated: jax.Array) -> jax.Array:
    """Returns, at every step, the value that stands at the first step of its trajectory.

    Args:
      values: `[T, ...]` anything.
      terminated: `[T, ...]` bool.
      truncated: `[T, ...]` bool.

    Returns:
      `[T, ...]`.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([values, terminated, truncated])

    def step(carry, inputs):
        starts, first = carry
        value, ended = inputs
        first = jnp.where(starts, value, first)
        return (ended, first), first

    carry = (jnp.ones(values.shape[1:], bool), jnp.zeros_like(values[0]))
    _, firsts = jax.lax.scan(step, carry, (values, terminated | truncated))
    return firsts


def trajectory_returns(
    rewards: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    gamma: float | jax.Array,
) -> jax.Array:
    """Computes the total discounted reward of each step's trajectory (Schulman et al. 2016, the first choice of eq. 1).

    R(e) = r_1 + gamma r_2 + ... with the value beyond it where it was cut off; the same at all of its steps.

    Args:
      rewards: `[T, ...]` r_t.
      next_values: `[T, ...]` V of the true successor; read only at truncations and at T-1.
      terminated: `[T, ...]` bool; nothing beyond.
      truncated: `[T, ...]` bool; the value stands for what lies beyond.
      gamma: discount, counted from the trajectory's first step.

    Returns:
      `[T, ...]`.
    """
    returns = discounted_returns(rewards, next_values, terminated, truncated, gamma=gamma)
    return trajectory_start(returns, terminated, truncated)


def trajectory_log_ratios(log_ratios: jax.Array, terminated: jax.Array, truncated: jax.Array) -> jax.Array:
    """Computes the logarithm of each step's whole-trajectory importance ratio, prod_t pi(a_t|s_t) / mu(a_t|s_t).

    The dynamics are the same under both policies and cancel. The same number stands at all steps of a trajectory.

    Args:
      log_ratios: `[T, ...]` log pi(a_t|s_t) - log mu(a_t|s_t).
      terminated: `[T, ...]` bool.
      truncated: `[T, ...]` bool.

    Returns:
      `[T, ...]`.
    """
    nothing_beyond = jnp.zeros_like(log_ratios)
    sums = discounted_returns(log_ratios, nothing_beyond, terminated, truncated, gamma=1.0)
    return trajectory_start(sums, terminated, truncated)


def in_first_episode(terminated: jax.Array, truncated: jax.Array) -> jax.Array:
    """Marks, `[T, ...]` bool, the steps before which no episode has ended.

    Args:
      terminated: `[T, ...]` bool.
      truncated: `[T, ...]` bool.
    """
    ended = (terminated | truncated).astype(jnp.int32)
    return jnp.cumsum(ended, axis=0) - ended == 0
