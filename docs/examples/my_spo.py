"""Simple policy optimization (Xie et al. 2024, arXiv 2401.16025), an algorithm that the package does not know.

    python -m purejaxrl_gae.train my_spo:SPOConfig --env CartPole-v1 --num-seeds 8

PPO with another objective, in whose maximum each ratio is 1 + eps sign(A); PPO's has a plateau beyond it:

    E[ r A - |A| / (2 eps) (r - 1)^2 ],  r = pi(a|s) / pi_old(a|s)
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax.numpy as jnp

from purejaxrl_gae import PPOConfig, UserError, ppo
from purejaxrl_gae.program import minibatches


@dataclass(frozen=True)
class SPOConfig(PPOConfig):
    """Simple policy optimization."""

    algorithm: ClassVar[str] = "my_spo:SPOConfig"

    objective: Any = "my_spo:spo"
    """SPO's own; another one makes it PPO"""

    def validate(self):
        """Refuses wrong values."""
        super().validate()
        if not self.clip_coef > 0.0:
            raise UserError(f"clip_coef is {self.clip_coef}, by which SPO divides; it must be greater than 0")


def spo(log_probs, old_log_probs, advantages, clip_coef):
    """Returns SPO's mean loss of a minibatch."""
    ratios = jnp.exp(log_probs - old_log_probs)
    return -jnp.mean(ratios * advantages - jnp.abs(advantages) / (2.0 * clip_coef) * (ratios - 1.0) ** 2)


def make_algorithm(config):
    """Makes PPO's algorithm and measures beside it what SPO is about: how far ratios are from 1 after an update."""
    algorithm = ppo.make_algorithm(config)
    return algorithm._replace(learn=partial(learn, algorithm))


def learn(algorithm, hyperparameters, learner, experience, keys, progress):
    """Learns from one rollout, returning the learner and metrics."""
    learner, metrics = algorithm.learn(hyperparameters, learner, experience, keys, progress)
    observations, actions, old = minibatches.flatten_time(
        (experience.observations, experience.actions, experience.log_probs)
    )
    log_probs = algorithm.setup.network.policy(learner.params, observations).log_prob(actions)
    return learner, {**metrics, "ratio_deviation": jnp.mean(jnp.abs(jnp.exp(log_probs - old) - 1.0))}
