"""V-trace: values and advantages of a policy from what another policy did (Espeholt et al. 2018)."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class VTraceResult(NamedTuple):
    """Estimates for the target policy.

    Attributes:
      targets: `[T, ...]` v_t, what the value function is to be fitted to.
      advantages: `[T, ...]` of the actions taken, not yet weighted by a ratio.
      ratios: `[T, ...]` rho_t, the clipped ratios, by which the policy gradient weights the advantages.
    """

    targets: jax.Array
    advantages: jax.Array
    ratios: jax.Array


def vtrace(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    log_ratios: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    gamma: float | jax.Array,
    gae_lambda: float | jax.Array = 1.0,
    rho_clip: float | jax.Array = 1.0,
    c_clip: float | jax.Array = 1.0,
) -> VTraceResult:
    """Computes V-trace targets and policy-gradient advantages (Espeholt et al. 2018, eq. 1 and section 4.2, remark 2).

    v_t - V(s_t) = rho_t delta_t + gamma lambda c_t (v_{t+1} - V(s_{t+1}))
    A_t = r_t + gamma (V(s_{t+1}) + lambda (v_{t+1} - V(s_{t+1}))) - V(s_t)

    with delta_t the TD residual, rho_t = min(rho_clip, ratio_t) and c_t = min(c_clip, ratio_t). Where both policies
    are the same, A is GAE(gamma, lambda) and v its targets. Infinite clips leave the ratios as they are.

    Args:
      rewards: `[T, ...]` r_t.
      values: `[T, ...]` V(s_t).
      next_values: `[T, ...]` V of the true successor of s_t, before any reset.
      log_ratios: `[T, ...]` log pi(a_t|s_t) - log mu(a_t|s_t), target policy over the one that acted.
      terminated: `[T, ...]` bool; no value beyond.
      truncated: `[T, ...]` bool; the value is kept, the trace is cut.
      gamma: discount.
      gae_lambda: lambda, further decay of the trace.
      rho_clip: largest weight of a step; decides which policy's values are found.
      c_clip: largest weight along the trace; decides how fast.

    Returns:
      See VTraceResult.

    Raises:
      AssertionError: shapes differ, at trace time.

    Example:
      >>> import jax.numpy as jnp
      >>> from purejaxrl_gae import kernels
      >>> nothing = jnp.zeros(2, bool)
      >>> result = kernels.vtrace(
      ...     rewards=jnp.ones(2), values=jnp.zeros(2), next_values=jnp.zeros(2),
      ...     log_ratios=jnp.log(jnp.array([0.5, 4.0])), terminated=nothing, truncated=nothing, gamma=1.0)
      >>> result.targets.tolist(), result.ratios.tolist()           # 0.5 * 1 + 0.5 * (1 * 1)
      ([1.0, 1.0], [0.5, 1.0])
    """
    chex.assert_equal_shape([rewards, values, next_values, log_ratios, terminated, truncated])

    def step(next_correction, inputs):
        reward, value, next_value, log_ratio, terminated_t, truncated_t = inputs
        ratio = jnp.exp(log_ratio)
        rho, c = jnp.minimum(rho_clip, ratio), jnp.minimum(c_clip, ratio)
        beyond = jnp.where(terminated_t, 0.0, next_value)
        later = gae_lambda * jnp.where(terminated_t | truncated_t, 0.0, next_correction)
        delta = reward + gamma * beyond - value
        correction = rho * delta + gamma * c * later
        advantage = delta + gamma * later
        return correction, (value + correction, advantage, rho)

    dtype = jnp.result_type(rewards, values, next_values, log_ratios, gamma, gae_lambda)
    nothing = jnp.zeros(rewards.shape[1:], dtype)
    inputs = (rewards, values, next_values, log_ratios, terminated, truncated)
    _, (targets, advantages, ratios) = jax.lax.scan(step, nothing, inputs, reverse=True)
    return VTraceResult(targets, advantages, ratios)


def effective_sample_size(log_ratios: jax.Array) -> jax.Array:
    """Computes how many on-policy samples the weighted ones are worth, as a share: (sum w)^2 / (n sum w^2).

    Args:
      log_ratios: logarithms of the weights w, any shape.

    Returns:
      Scalar in (0, 1]; 1 where all weights are equal.
    """
    log_ratios = log_ratios.reshape(-1)
    weights = jnp.exp(log_ratios - jnp.max(log_ratios))
    return jnp.sum(weights) ** 2 / (weights.size * jnp.sum(weights**2))
