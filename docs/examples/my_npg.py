"""Natural policy gradient (Kakade 2001), an algorithm that shares nothing with PPO.

    python -m purejaxrl_gae.train my_npg:NPGConfig --env CartPole-v1

No value function, discount, optimizer, minibatches or ratios. One update: rewards to the end of each episode in the
rollout, R, less a running mean b of the same; their policy gradient g; then one step of a given length,

    theta <- theta + sqrt(2 delta / g^T x) x,   (F + c I) x = g,   g = E[ grad log pi(a|s) (R - b) ]
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.program import minibatches, training
from purejaxrl_gae.program.types import Algorithm, Learner
from purejaxrl_gae.settings.config import Traced, TrainingConfig, require


@dataclass(frozen=True)
class NPGConfig(TrainingConfig):
    """Natural policy gradient."""

    algorithm: ClassVar[str] = "my_npg:NPGConfig"

    normalize_rewards: bool = False
    """divide rewards by the running deviation of their sum"""
    step_kl: Traced = 0.01
    """delta, KL of a step to second order"""
    damping: Traced = 0.1
    """c, added to the Fisher matrix's diagonal"""
    baseline_decay: Traced = 0.9
    """decay of the baseline's running mean"""
    cg_steps: int = 10
    """conjugate gradient steps"""

    def validate(self):
        """Refuses wrong values."""
        super().validate()
        require(self, "step_kl", self.step_kl > 0.0, "greater than 0")
        require(self, "baseline_decay", 0.0 <= self.baseline_decay < 1.0, "at least 0 and below 1")


def make_algorithm(config):
    """Makes the pair of functions that the loop runs."""
    setup = training.prepare(config)
    return Algorithm(
        setup, training.traced_hyperparameters(config), partial(init_learner, setup), partial(learn, setup)
    )


def init_learner(setup, key, hyperparameters):
    """Returns fresh parameters; the baseline is the learner's own state, and no optimizer has any."""
    return Learner(setup.network.init(key), optimizer_state=(), extra={"baseline": jnp.float32(0.0)})


def learn(setup, hyperparameters, learner, experience, keys, progress):
    """Takes one step, returning the learner and metrics."""
    ends, nothing = experience.terminated | experience.truncated, jnp.zeros_like(experience.rewards)
    returns = kernels.discounted_returns(experience.rewards, nothing, ends, jnp.zeros_like(ends), gamma=1.0)
    weights = kernels.normalize_advantages(returns - learner.extra["baseline"])

    flat_params, unravel = ravel_pytree(learner.params)
    observations, actions, weights = minibatches.flatten_time((experience.observations, experience.actions, weights))

    def policy(flat, observations):
        return setup.network.policy(unravel(flat), observations)

    gradient = jax.grad(lambda flat: jnp.mean(policy(flat, observations).log_prob(actions) * weights))(flat_params)
    fisher = kernels.make_fisher_vector_product(policy, flat_params, observations, damping=hyperparameters.damping)
    direction = kernels.conjugate_gradient(fisher, gradient, max_iters=setup.config.cg_steps).x
    slope = jnp.vdot(gradient, direction)
    flat_params += jnp.sqrt(2.0 * hyperparameters.step_kl / jnp.maximum(slope, 1e-8)) * direction
    old, new = minibatches.flatten_time(experience.distribution), policy(flat_params, observations)
    decay, baseline = hyperparameters.baseline_decay, learner.extra["baseline"]
    baseline = decay * baseline + (1.0 - decay) * jnp.mean(returns)
    metrics = {"baseline": baseline, "slope": slope, "kl": jnp.mean(old.kl_divergence(new))}
    return learner.replace(params=unravel(flat_params), extra={"baseline": baseline}), metrics
