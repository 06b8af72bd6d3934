"""Advantages and returns from time-major trajectories.

Every function takes arrays of shape `[T, ...]` (time first, any batch shape behind it) and tells the two ends of an
episode apart: after `terminated` there is no value, after `truncated` (a time limit) the value of the true final
observation stands, and the trace is cut after either. Where both are set, termination wins.

Values beyond a terminal state are removed with `where`, never by a product with zero, so they may hold anything,
NaN and infinity included.
"""

import math
from typing import Literal, get_args

import chex
import jax
import jax.numpy as jnp

from purejaxrl_gae.kernels.accumulation import accumulate_associatively, accumulate_in_blocks

GaeMethod = Literal["auto", "scan", "blocks", "associative"]


def td_residuals(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    *,
    gamma: float | jax.Array,
) -> jax.Array:
    """Computes temporal-difference residuals of V (Schulman et al. 2016, the definition before eq. 10).

    delta_t = r_t + gamma * V(s_{t+1}) - V(s_t)

    Args:
      rewards: `[T, ...]` r_t.
      values: `[T, ...]` V(s_t).
      next_values: `[T, ...]` V of the true successor of s_t, before any reset.
      terminated: `[T, ...]` bool; no value beyond.
      gamma: discount.

    Returns:
      `[T, ...]` residuals.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([rewards, values, next_values, terminated])
    return rewards + gamma * jnp.where(terminated, 0.0, next_values) - values


def gae(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    gamma: float | jax.Array,
    gae_lambda: float | jax.Array,
    method: GaeMethod = "auto",
) -> tuple[jax.Array, jax.Array]:
    """Estimates advantages by generalized advantage estimation, GAE(gamma, lambda), in a reverse scan.

    A_t = delta_t + gamma * lambda * A_{t+1},  delta_t = r_t + gamma * V(s_{t+1}) - V(s_t)
    (Schulman et al. 2016, eq. 16)

    Args:
      rewards: `[T, ...]` r_t.
      values: `[T, ...]` V(s_t).
      next_values: `[T, ...]` V of the true successor of s_t, before any reset.
      terminated: `[T, ...]` bool; no value beyond.
      truncated: `[T, ...]` bool; the value is kept, the trace is cut.
      gamma: discount.
      gae_lambda: lambda, the decay of the trace.
      method: "scan" walks back through time; "blocks" walks through eight stretches of time at once and then joins
        them; "associative" composes the steps as affine maps in log2(T) levels. "auto" takes the one measured faster:
        blocks for one or two long columns, else the scan.

    Returns:
      `(advantages, targets)`, both `[T, ...]`; targets = advantages + values (lambda-returns).

    Raises:
      AssertionError: shapes differ, at trace time.
      ValueError: unknown method.

    Example:
      >>> import jax.numpy as jnp
      >>> from purejaxrl_gae import kernels
      >>> advantages, targets = kernels.gae(
      ...     rewards=jnp.ones(4), values=jnp.array([5.0, 4.0, 3.0, 2.0]),
      ...     next_values=jnp.array([4.0, 3.5, 2.0, 1.0]),  # 3.5: V of the observation the time limit cut off at
      ...     terminated=jnp.zeros(4, bool), truncated=jnp.array([False, True, False, False]),
      ...     gamma=0.99, gae_lambda=0.95)
      >>> [round(float(a), 4) for a in advantages]
      [0.3973, 0.465, -0.0294, -0.01]
    """
    chex.assert_equal_shape([rewards, values, next_values, terminated, truncated])
    if method not in get_args(GaeMethod):
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(map(repr, get_args(GaeMethod)))}")
    if method == "auto":
        one_long_column = rewards.shape[0] >= 2048 and math.prod(rewards.shape[1:]) <= 2
        method = "blocks" if one_long_column else "scan"
    if method != "scan":
        deltas = td_residuals(rewards, values, next_values, terminated, gamma=gamma)
        decays = jnp.where(terminated | truncated, 0.0, gamma * gae_lambda).astype(deltas.dtype)
        accumulate = accumulate_in_blocks if method == "blocks" else accumulate_associatively
        advantages = accumulate(deltas, decays)
        return advantages, advantages + values

    def step(next_advantage, inputs):
        reward, value, next_value, terminated_t, truncated_t = inputs
        delta = reward + gamma * jnp.where(terminated_t, 0.0, next_value) - value
        # eq. 16, the trace cut where the episode ended
        advantage = delta + gamma * gae_lambda * jnp.where(terminated_t | truncated_t, 0.0, next_advantage)
        return advantage, (advantage, advantage + value)

    # All arithmetic stays inside the body and unroll stays 1: on CPU both beat deltas computed ahead and unrolling.
    dtype = jnp.result_type(rewards, values, next_values, gamma, gae_lambda)
    beyond_the_end = jnp.zeros(rewards.shape[1:], dtype)
    inputs = (rewards, values, next_values, terminated, truncated)
    _, (advantages, targets) = jax.lax.scan(step, beyond_the_end, inputs, reverse=True)
    return advantages, targets


def discounted_returns(
    rewards: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    gamma: float | jax.Array,
) -> jax.Array:
    """Computes discounted rewards-to-go, bootstrapped where an episode was cut off.

    R_t = r_t + gamma * R_{t+1} within an episode; r_t after termination; r_t + gamma * V(s_{t+1}) at a time limit
    and at the end of the rollout. With exact values this is the target of GAE(gamma, 1) (eq. 18).

    Args:
      rewards: `[T, ...]` r_t.
      next_values: `[T, ...]` V of the true successor, before any reset; read only at truncations and at T-1.
      terminated: `[T, ...]` bool; nothing beyond.
      truncated: `[T, ...]` bool; the value stands for what lies beyond.
      gamma: discount.

    Returns:
      `[T, ...]` returns.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([rewards, next_values, terminated, truncated])

    def step(next_return, inputs):
        reward, next_value, terminated_t, truncated_t = inputs
        beyond = jnp.where(terminated_t, 0.0, jnp.where(truncated_t, next_value, next_return))
        current_return = reward + gamma * beyond
        return current_return, current_return

    inputs = (rewards, next_values, terminated, truncated)
    beyond_the_cut = next_values[-1].astype(jnp.result_type(rewards, next_values, gamma))
    _, returns = jax.lax.scan(step, beyond_the_cut, inputs, reverse=True)
    return returns


def k_step_advantages(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    k: int,
    gamma: float | jax.Array,
) -> jax.Array:
    """Computes the k-step advantage estimators (Schulman et al. 2016, eq. 11-15).

    A_t^(k) = sum_{l=0}^{k-1} gamma^l delta_{t+l} = -V(s_t) + r_t + ... + gamma^{k-1} r_{t+k-1} + gamma^k V(s_{t+k})

    The sum stops early where the episode or the rollout ends. k = 1 is the TD residual; k >= T is GAE(gamma, 1).

    Args:
      rewards: `[T, ...]` r_t.
      values: `[T, ...]` V(s_t).
      next_values: `[T, ...]` V of the true successor, before any reset.
      terminated: `[T, ...]` bool; no value beyond.
      truncated: `[T, ...]` bool; the value is kept, the sum is cut.
      k: number of rewards before the bootstrap, at least 1.
      gamma: discount.

    Returns:
      `[T, ...]` advantages.

    Raises:
      AssertionError: shapes differ, at trace time.
      ValueError: k < 1.
    """
    chex.assert_equal_shape([rewards, values, next_values, terminated, truncated])
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    deltas = td_residuals(rewards, values, next_values, terminated, gamma=gamma)
    ended = terminated | truncated
    zero = jnp.zeros_like(deltas[:1])

    def one_more_step(_, advantages):
        # A^(j+1)_t = delta_t + gamma A^(j)_{t+1}
        following = jnp.concatenate([advantages[1:], zero])
        return deltas + gamma * jnp.where(ended, 0.0, following)

    return jax.lax.fori_loop(0, min(k, rewards.shape[0]) - 1, one_more_step, deltas)


def shaped_rewards(
    rewards: jax.Array,
    potentials: jax.Array,
    next_potentials: jax.Array,
    terminated: jax.Array,
    *,
    gamma: float | jax.Array,
) -> jax.Array:
    """Shapes rewards by a potential, which leaves the best policy the best (Schulman et al. 2016, eq. 20).

    r~_t = r_t + gamma Phi(s_{t+1}) - Phi(s_t)

    Their sum discounted by gamma telescopes to that of the rewards minus Phi(s_0) (eq. 21). Their sum discounted by
    gamma * lambda with Phi = V is GAE(gamma, lambda) (eq. 25): GAE shapes the reward and then looks ahead less far.

    Args:
      rewards: `[T, ...]` r_t.
      potentials: `[T, ...]` Phi(s_t), any function of the state.
      next_potentials: `[T, ...]` Phi of the true successor, before any reset.
      terminated: `[T, ...]` bool; beyond a terminal state the potential is 0.
      gamma: discount.

    Returns:
      `[T, ...]` shaped rewards.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    return td_residuals(rewards, potentials, next_potentials, terminated, gamma=gamma)


def gae_batch_major(
    done: jax.Array,
    rewards: jax.Array,
    values: jax.Array,
    *,
    gamma: float | jax.Array,
    gae_lambda: float | jax.Array,
) -> jax.Array:
    """Computes GAE for arrays that put workers first and know one kind of end only.

    `values` needs one column more than `rewards`: the value of the observation behind the last step. (With as many
    columns as rewards, V(s_{T-1}) would silently be taken for V(s_T).)

    Args:
      done: `[workers, steps]` bool or 0/1; the episode ended at this step, and no value lies beyond.
      rewards: `[workers, steps]`.
      values: `[workers, steps + 1]`.
      gamma: discount.
      gae_lambda: lambda, the decay of the trace.

    Returns:
      `[workers, steps]` advantages.

    Raises:
      ValueError: the shapes do not fit.
    """
    workers, steps = rewards.shape
    if done.shape != rewards.shape or values.shape != (workers, steps + 1):
        raise ValueError(
            f"values is {list(values.shape)} and done {list(done.shape)}; for rewards [{workers}, {steps}] they must "
            f"be [{workers}, {steps + 1}], one column behind the last step, and [{workers}, {steps}]"
        )
    terminated = done.T.astype(bool)
    advantages, _ = gae(
        rewards.T,
        values[:, :-1].T,
        values[:, 1:].T,
        terminated,
        jnp.zeros_like(terminated),
        gamma=gamma,
        gae_lambda=gae_lambda,
    )
    return advantages.T
