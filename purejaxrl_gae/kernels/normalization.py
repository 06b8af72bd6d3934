"""Running moments of observations and returns, exact over long runs.

Batches are merged by the parallel form of Welford's method (Chan, Golub and LeVeque 1979): what is kept is a mean and a
variance, never a sum, so a large offset costs no precision. Each number is kept in two float32 words (Knuth's two-sum),
so neither do tens of billions of samples, whose steps are far below the rounding of what they are added to.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

LARGEST = 1e15  # samples beyond count as this: the squares of what is larger would add up to more than float32 holds


class RunningMoments(struct.PyTreeNode):
    """Mean and variance of everything seen so far.

    Attributes:
      count: scalar float32, number of samples.
      mean: `[...]` mean of the samples.
      variance: `[...]` population variance of the samples; 1 before the first.
      count_rest: scalar, the part of the count that its float32 cannot hold.
      mean_rest: `[...]` the same of the mean.
      variance_rest: `[...]` the same of the variance.
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array
    count_rest: jax.Array
    mean_rest: jax.Array
    variance_rest: jax.Array


def init_moments(shape: tuple[int, ...] = ()) -> RunningMoments:
    """Returns moments of nothing: mean 0, variance 1, so that normalising with them changes nothing."""
    zero, zeros = jnp.zeros((), jnp.float32), jnp.zeros(shape, jnp.float32)
    return RunningMoments(
        count=zero, mean=zeros, variance=jnp.ones_like(zeros), count_rest=zero, mean_rest=zeros, variance_rest=zeros
    )


def update_moments(moments: RunningMoments, batch: jax.Array) -> RunningMoments:
    """Adds a batch of samples to moments.

    Args:
      moments: moments of samples of shape `[...]`.
      batch: `[*batch, ...]` new samples; all leading axes count as samples.

    Returns:
      The moments of the old and the new samples together; not finite where a sample is not.
    """
    axes = tuple(range(batch.ndim - moments.mean.ndim))
    batch_count = jnp.float32(math.prod(batch.shape[: len(axes)]))
    batch = jnp.where(jnp.isinf(batch), batch, jnp.clip(batch, -LARGEST, LARGEST))
    # Deviations from the old mean square in one pass and without cancellation; where there is no mean yet, that of the
    # batch's beginning stands in.
    pivot = jnp.where(moments.count > 0, moments.mean, jnp.mean(batch[0], axes[:-1]))
    deviations, rest = batch - pivot, moments.mean_rest
    first = jnp.mean(deviations, axes)
    second = jnp.mean(deviations**2, axes) - rest * (2.0 * first - rest)
    first = first - rest

    count, count_rest = _add(moments.count, moments.count_rest, batch_count)
    share = batch_count / count
    mean, mean_rest = _add(pivot, rest, share * first)
    # Var = Var_old + w (E[d^2] - Var_old) - (w E[d])^2 with w the new samples' share, d deviations from the old mean
    change = share * (second - moments.variance - moments.variance_rest) - (share * first) ** 2
    variance, variance_rest = _add(moments.variance, moments.variance_rest, change)
    return RunningMoments(count, mean, variance, count_rest, mean_rest, variance_rest)


def _add(total: jax.Array, rest: jax.Array, more: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Adds `total + rest + more`: the nearest float32 and what that leaves out (Knuth's two-sum)."""
    more = more + rest
    new = total + more
    added = new - total
    return new, (total - (new - added)) + (more - added)


def normalize(samples: jax.Array, moments: RunningMoments, *, clip: float = 10.0, epsilon: float = 1e-8) -> jax.Array:
    """Shifts and scales samples `[..., *shape]` to the moments' mean 0 and variance 1, clipped to +-`clip`."""
    standardized = (samples - moments.mean) * jax.lax.rsqrt(moments.variance + epsilon)
    return jnp.clip(standardized, -clip, clip)


def running_discounted_returns(
    rewards: jax.Array, ended: jax.Array, initial_returns: jax.Array, *, gamma: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Computes the discounted sums of past rewards whose variance scales the rewards.

    G_t = gamma G_{t-1} + r_t, started anew after an episode's end. (This sum runs forward, so it needs no future.)

    Args:
      rewards: `[T, N]` r_t.
      ended: `[T, N]` bool, terminated or truncated.
      initial_returns: `[N]` G before the first step.
      gamma: discount.

    Returns:
      `(returns [T, N], carried [N])`: G_t of every step, and what the next rollout starts from.
    """

    def step(carried, inputs):
        reward, ended_t = inputs
        current = gamma * carried + reward
        return jnp.where(ended_t, 0.0, current), current

    carried, returns = jax.lax.scan(step, initial_returns, (rewards, ended))
    return returns, carried


def scale_rewards(
    rewards: jax.Array, moments: RunningMoments, *, clip: float = 10.0, epsilon: float = 1e-8
) -> jax.Array:
    """Divides rewards by the running standard deviation of the discounted returns, clipped to +-`clip`."""
    return jnp.clip(rewards * jax.lax.rsqrt(moments.variance + epsilon), -clip, clip)


def unscale_values(values: jax.Array, moments: RunningMoments, *, epsilon: float = 1e-8) -> jax.Array:
    """Turns values learned from scaled rewards into sums of rewards: times what `scale_rewards` divides by."""
    return values * jnp.sqrt(moments.variance + epsilon)
