"""The losses of PPO's family, each a mean over a batch of samples and each to be minimised.

Ratios are formed in log space: r(theta) = exp(log pi(a|s) - log pi_old(a|s)).
"""

import chex
import jax
import jax.numpy as jnp


def policy_gradient_loss(log_probs: jax.Array, advantages: jax.Array) -> jax.Array:
    """Computes the loss whose gradient is the policy gradient: -E[A log pi(a|s)] (Schulman et al. 2016, eq. 1).

    Args:
      log_probs: `[...]` log pi(a|s) of the policy being trained.
      advantages: `[...]` Psi, any of the paper's six; taken as a constant.

    Returns:
      Scalar loss.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([log_probs, advantages])
    return -jnp.mean(jax.lax.stop_gradient(advantages) * log_probs)


def unclipped_loss(log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array) -> jax.Array:
    """Computes the surrogate without clipping or penalty: -E[r(theta) A] (Schulman et al. 2017, eq. 6; TRPO's).

    Args:
      log_probs: `[B]` log pi(a|s) of the policy being trained.
      old_log_probs: `[B]` log pi_old(a|s) of the policy that acted.
      advantages: `[B]`.

    Returns:
      Scalar loss.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([log_probs, old_log_probs, advantages])
    return -jnp.mean(jnp.exp(log_probs - old_log_probs) * advantages)


def ppo_clip_loss(
    log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, *, clip_coef: float | jax.Array
) -> jax.Array:
    """Computes PPO's clipped surrogate: -E[min(r A, clip(r, 1 - eps, 1 + eps) A)] (Schulman et al. 2017, eq. 7).

    Args:
      log_probs: `[B]` log pi(a|s) of the policy being trained.
      old_log_probs: `[B]` log pi_old(a|s) of the policy that acted.
      advantages: `[B]`.
      clip_coef: eps.

    Returns:
      Scalar loss.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([log_probs, old_log_probs, advantages])
    ratio = jnp.exp(log_probs - old_log_probs)
    clipped_ratio = jnp.clip(ratio, 1.0 - clip_coef, 1.0 + clip_coef)
    return -jnp.mean(jnp.minimum(ratio * advantages, clipped_ratio * advantages))


def kl_penalty_loss(
    log_probs: jax.Array,
    old_log_probs: jax.Array,
    advantages: jax.Array,
    kl: jax.Array,
    *,
    kl_coef: float | jax.Array,
) -> jax.Array:
    """Computes the surrogate with a KL penalty: -E[r(theta) A - beta KL(pi_old || pi)] (Schulman et al. 2017, eq. 8).

    Args:
      log_probs: `[B]` log pi(a|s) of the policy being trained.
      old_log_probs: `[B]` log pi_old(a|s) of the policy that acted.
      advantages: `[B]`.
      kl: `[B]` KL(pi_old(.|s) || pi(.|s)) of each state, exact, not estimated from the sampled action.
      kl_coef: beta.

    Returns:
      Scalar loss.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([log_probs, kl])
    return unclipped_loss(log_probs, old_log_probs, advantages) + kl_coef * jnp.mean(kl)


def adapt_kl_coefficient(kl_coef: float | jax.Array, kl: float | jax.Array, kl_target: float | jax.Array) -> jax.Array:
    """Returns the next beta of the adaptive KL penalty (Schulman et al. 2017, section 4).

    beta is doubled where the measured KL exceeds 1.5 d_targ and halved where it is below d_targ / 1.5. It stays
    within [1e-6, 1e6], from where it can always come back.

    Args:
      kl_coef: beta used in the update just made.
      kl: KL(pi_old || pi) measured after that update.
      kl_target: d_targ.

    Returns:
      beta for the next update. Unchanged where `kl` is NaN.
    """
    factor = jnp.where(kl > 1.5 * kl_target, 2.0, jnp.where(kl < kl_target / 1.5, 0.5, 1.0))
    return jnp.clip(kl_coef * factor, 1e-6, 1e6)


def adapt_learning_rate(
    learning_rate: float | jax.Array, kl: float | jax.Array, kl_target: float | jax.Array
) -> jax.Array:
    """Returns the next learning rate of one that keeps the KL near a target, by the rule of rsl_rl and Brax.

    It is divided by 1.5 where the measured KL exceeds 2 d_targ, but not below 1e-5, and multiplied by 1.5 where it is
    below d_targ / 2, but not above 1e-2.

    Args:
      learning_rate: of the step just made.
      kl: KL(pi_old || pi) measured after it.
      kl_target: d_targ.

    Returns:
      The rate of the next step. Unchanged where `kl` is NaN, or 0, as before the first step.
    """
    slower, faster = jnp.maximum(1e-5, learning_rate / 1.5), jnp.minimum(1e-2, learning_rate * 1.5)
    is_short = (kl > 0.0) & (kl < kl_target / 2.0)
    return jnp.where(kl > 2.0 * kl_target, slower, jnp.where(is_short, faster, learning_rate))


def value_loss(values: jax.Array, targets: jax.Array, *, weights: jax.Array | None = None) -> jax.Array:
    """Computes half the mean squared error of the value function: E[w (V(s) - V_target)^2] / 2.

    Args:
      values: `[B]` V(s).
      targets: `[B]`.
      weights: `[B]` w; 1 where None.

    Returns:
      Scalar loss.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([values, targets] if weights is None else [values, targets, weights])
    errors = (values - targets) ** 2
    return 0.5 * jnp.mean(errors if weights is None else weights * errors)


def clipped_value_loss(
    values: jax.Array, old_values: jax.Array, targets: jax.Array, *, clip_coef: float | jax.Array
) -> jax.Array:
    """Computes the value loss with V kept near its old prediction (the larger of two errors, as OpenAI's baselines do).

    E[max((V - V_target)^2, (V_old + clip(V - V_old, -eps, eps) - V_target)^2)] / 2

    Args:
      values: `[B]` V(s).
      old_values: `[B]` V(s) when the data was collected.
      targets: `[B]`.
      clip_coef: eps, in units of the value.

    Returns:
      Scalar loss.

    Raises:
      AssertionError: shapes differ, at trace time.
    """
    chex.assert_equal_shape([values, old_values, targets])
    clipped_values = old_values + jnp.clip(values - old_values, -clip_coef, clip_coef)
    return 0.5 * jnp.mean(jnp.maximum((values - targets) ** 2, (clipped_values - targets) ** 2))


def approximate_kl(log_probs: jax.Array, old_log_probs: jax.Array) -> jax.Array:
    """Estimates KL(pi_old || pi) from sampled actions with low variance: E[(r - 1) - log r], never negative.

    Args:
      log_probs: `[B]` log pi(a|s) of the policy being trained.
      old_log_probs: `[B]` log pi_old(a|s) of the policy that acted.

    Returns:
      Scalar.
    """
    log_ratio = log_probs - old_log_probs
    return jnp.mean(jnp.expm1(log_ratio) - log_ratio)


def clip_fraction(log_probs: jax.Array, old_log_probs: jax.Array, *, clip_coef: float | jax.Array) -> jax.Array:
    """Returns the share of samples whose ratio lies outside [1 - eps, 1 + eps]. Arguments as in `ppo_clip_loss`."""
    outside = jnp.abs(jnp.exp(log_probs - old_log_probs) - 1.0) > clip_coef
    return jnp.mean(outside.astype(jnp.float32))


def explained_variance(values: jax.Array, targets: jax.Array, *, where: jax.Array | None = None) -> jax.Array:
    """Computes 1 - Var(targets - V) / Var(targets): 1 is a perfect value function, 0 a constant one.

    Args:
      values: V(s), any shape.
      targets: the same shape.
      where: bool of the same shape, at least one True; only these count.

    Returns:
      Scalar; 0 where the targets do not vary.
    """
    chex.assert_equal_shape([values, targets])
    variance, remaining = jnp.var(targets, where=where), jnp.var(targets - values, where=where)
    return jnp.where(variance > 0.0, 1.0 - remaining / jnp.where(variance > 0.0, variance, 1.0), 0.0)


def normalize_advantages(
    advantages: jax.Array, *, ddof: int = 0, epsilon: float = 1e-8, where: jax.Array | None = None
) -> jax.Array:
    """Shifts advantages to mean 0 and scales them to standard deviation 1.

    Args:
      advantages: `[B]`.
      ddof: 1 divides the variance by B - 1.
      epsilon: added to the standard deviation; equal advantages become zeros.
      where: `[B]` bool, at least one True; only these count for mean and deviation.

    Returns:
      `[B]`.
    """
    centred = advantages - jnp.mean(advantages, where=where)
    return centred / (jnp.std(advantages, ddof=ddof, where=where) + epsilon)
