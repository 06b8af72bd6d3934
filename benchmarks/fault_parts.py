"""Faults of the source documents that no option has, as parts that are handed in to a config."""

import jax
import jax.numpy as jnp
from gymnax.environments.classic_control.cartpole import CartPole

from purejaxrl_gae import kernels

PADDED_STEPS, PADDED_LIMIT = 16, 512  # the lecture's; and CartPole's 500, as whole trajectories


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


def gae_by_matrix(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """Returns GAE as a product of residuals with a matrix of discounts, T squared operations (13)."""
    residuals = kernels.td_residuals(rewards, values, next_values, terminated, gamma=gamma)
    steps, ends = jnp.arange(len(rewards)), terminated | truncated
    ages = steps[None, :, None] - steps[:, None, None]
    episodes = jnp.cumsum(ends, axis=0) - ends
    counts = (ages >= 0) & (episodes[:, None] == episodes[None, :])
    discounts = jnp.where(counts, (gamma * gae_lambda) ** jnp.maximum(ages, 0), 0.0)
    return jnp.einsum("tsn,sn->tn", discounts, residuals)


class PaddedCartPole(CartPole):
    """CartPole in trajectories of 16 steps: a pole that has fallen lies there, for no reward, until the 16th (15)."""

    @property
    def default_params(self):
        """Returns gymnax's parameters, but for a time limit of whole trajectories."""
        return super().default_params.replace(max_steps_in_episode=PADDED_LIMIT)

    def step_env(self, key, state, action, params):
        """Steps once; see gymnax."""
        has_fallen = super().is_terminated(state, params)
        _, moved, *_ = super().step_env(key, state, action, params)
        lying = state.replace(time=state.time + 1)
        state = jax.tree.map(lambda new, old: jnp.where(has_fallen, old, new), moved, lying)
        return self.get_obs(state), state, 1.0 - has_fallen, self.is_terminated(state, params), {}

    def is_terminated(self, state, params):
        """Says whether the trajectory is over in which the pole fell."""
        return super().is_terminated(state, params) & (state.time % PADDED_STEPS == 0)


def padded_gae(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """Returns GAE of `PaddedCartPole`: padding, which pays nothing, has advantages of 0 and its own values (15)."""
    is_real = rewards > 0.0
    is_followed = jnp.concatenate([is_real[1:], ~terminated[-1:]])
    ends = (is_real & ~is_followed, truncated)
    advantages, targets = kernels.gae(rewards, values, next_values, *ends, gamma=gamma, gae_lambda=gae_lambda)
    return jnp.where(is_real, advantages, 0.0), jnp.where(is_real, targets, values)
