"""Faults of the source documents that no option has, as parts that are handed in to a config."""

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels


def ratios_of_dimensions(policy, old_policy, actions, advantages, clip_coef):
    """Returns PPO's loss with a ratio for each action dimension: log-probabilities that were not summed (9)."""

    def log_probs(gaussian: kernels.DiagonalGaussian) -> jax.Array:  # [B, A]
        of_dimensions = kernels.DiagonalGaussian(gaussian.mean[..., None], gaussian.log_std[..., None])
        return of_dimensions.log_prob(actions[..., None])

    shape = actions.shape
    each = jnp.broadcast_to(advantages[:, None], shape).ravel()
    return kernels.ppo_clip_loss(log_probs(policy).ravel(), log_probs(old_policy).ravel(), each, clip_coef=clip_coef)


def ratios_of_probabilities(log_probs, old_log_probs, advantages, clip_coef):
    """Returns PPO's loss with a quotient of probabilities in place of a difference of logarithms (17)."""
    ratios = jnp.exp(log_probs) / (jnp.exp(old_log_probs) + 1e-15)
    clipped = jnp.clip(ratios, 1.0 - clip_coef, 1.0 + clip_coef)
    return -jnp.mean(jnp.minimum(ratios * advantages, clipped * advantages))


def own_value_behind_the_last_step(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """Returns GAE of T columns of values, the last step of which is bootstrapped with its own value (19)."""
    next_values = next_values.at[-1].set(values[-1])
    return kernels.gae(rewards, values, next_values, terminated, truncated, gamma=gamma, gae_lambda=gae_lambda)


def values_not_discounted(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """Returns GAE whose residual is r + V' - V, as the formula without gamma has it (20); targets are right."""
    ends = (terminated, truncated)
    _, targets = kernels.gae(rewards, values, next_values, *ends, gamma=gamma, gae_lambda=gae_lambda)
    advantages, _ = kernels.gae(rewards, values, next_values / gamma, *ends, gamma=gamma, gae_lambda=gae_lambda)
    return advantages, targets
