"""Running moments of observations and returns, exact over long runs.

Batches are merged by the parallel form of Welford's method (Chan, Golub and LeVeque 1979), so neither a large offset
nor a billion samples costs precision: what is kept is a mean and a variance, never a sum.
"""

import jax
import jax.numpy as jnp
from flax import struct


class RunningMoments(struct.PyTreeNode):
    """Mean and variance of everything seen so far.

    Attributes:
      count: scalar float32, number of samples.
      mean: `[...]` mean of the samples.
      variance: `[...]` population variance of the samples; 1 before the first.
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array


def init_moments(shape: tuple[int, ...] = ()) -> RunningMoments:
    """Moments of nothing: mean 0, variance 1, so that normalising with them changes nothing."""
    return RunningMoments(
        count=jnp.zeros((), jnp.float32), mean=jnp.zeros(shape, jnp.float32), variance=jnp.ones(shape, jnp.float32)
    )


def update_moments(moments: RunningMoments, batch: jax.Array) -> RunningMoments:
    """Moments after a batch of samples.

    Args:
      moments: moments of samples of shape `[...]`.
      batch: `[*batch, ...]` new samples; all leading axes count as samples.

    Returns:
      The moments of the old and the new samples together.
    """
    batch_axes = tuple(range(batch.ndim - moments.mean.ndim))
    batch_count = jnp.float32(1.0)
    for axis in batch_axes:
        batch_count = batch_count * batch.shape[axis]
    batch_mean = jnp.mean(batch, axis=batch_axes)
    batch_variance = jnp.var(batch, axis=batch_axes)

    total = moments.count + batch_count
    share = batch_count / total
    delta = batch_mean - moments.mean
    # Var = (1-w) Var_old + w Var_new + w (1-w) delta^2 with w the new samples' share
    variance = (1.0 - share) * moments.variance + share * batch_variance + share * (1.0 - share) * delta**2
    return RunningMoments(count=total, mean=moments.mean + share * delta, variance=variance)


def normalize(samples: jax.Array, moments: RunningMoments, *, clip: float = 10.0, epsilon: float = 1e-8) -> jax.Array:
    """Samples `[..., *shape]` shifted and scaled to the moments' mean 0 and variance 1, clipped to +-`clip`."""
    standardized = (samples - moments.mean) * jax.lax.rsqrt(moments.variance + epsilon)
    return jnp.clip(standardized, -clip, clip)


def running_discounted_returns(
    rewards: jax.Array, ended: jax.Array, initial_returns: jax.Array, *, gamma: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The discounted sums of past rewards whose variance scales the rewards.

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
    """Rewards divided by the running standard deviation of the discounted returns, clipped to +-`clip`."""
    return jnp.clip(rewards * jax.lax.rsqrt(moments.variance + epsilon), -clip, clip)
