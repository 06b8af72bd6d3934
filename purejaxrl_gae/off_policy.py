"""Off-policy policy gradient and off-policy actor-critic: learning several times from what a behaviour policy did.

One update: the policy as it is, mu, collects T steps in N environments. Then the policy being trained, pi, learns from
them K times, each step weighted by how much more likely pi is to do what mu did. For `method = actor_critic`, per step,

    grad J = E_mu[ rho_t A_t grad log pi(a_t|s_t) ],   rho_t = pi(a_t|s_t) / mu(a_t|s_t)

with V-trace's advantages and value targets for pi (Espeholt et al. 2018), computed anew at every gradient step; for
`method = policy_gradient`, by the whole trajectory's ratio,

    grad J = E_mu[ rho(e) (R(e_t) - V(s_t)) grad log pi(a_t|s_t) ],   rho(e) = prod_t pi(a_t|s_t) / mu(a_t|s_t)

with Monte-Carlo returns R. Ratios are clipped (V-trace's rho and c), or left as they are with `clip_ratios = false`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.program import adaptation, minibatches, training, value_function
from purejaxrl_gae.program.estimators import BUILT_IN, check_estimator, estimate, estimator_of
from purejaxrl_gae.program.networks import require_own_value_params
from purejaxrl_gae.program.optimizers import ActorCriticConfig, check_descent, init_learner, make_optimizer
from purejaxrl_gae.program.schedules import scheduled
from purejaxrl_gae.program.types import Algorithm, Experience, Hyperparameters, Learner, Metrics, Params, Setup
from purejaxrl_gae.program.value_function import ValueSamples
from purejaxrl_gae.settings.config import MOST_LOOPS, Traced, require, require_between, require_part
from purejaxrl_gae.settings.errors import UserError

LARGEST_LOG_RATIO = 20.0  # unclipped ratios stay numbers: e^20 is 5e8


def vtrace(rewards, values, next_values, log_ratios, terminated, truncated, gamma, gae_lambda, rho_clip, c_clip):
    """Returns V-trace's advantages and value targets; see `kernels.vtrace`."""
    ends, clips = (terminated, truncated), {"rho_clip": rho_clip, "c_clip": c_clip}
    targets, advantages, _ = kernels.vtrace(
        rewards, values, next_values, log_ratios, *ends, gamma=gamma, gae_lambda=gae_lambda, **clips
    )
    return advantages, targets


ESTIMATORS = {**BUILT_IN, "vtrace": vtrace}
del ESTIMATORS["n_step"]


@dataclass(frozen=True)
class OffPolicyConfig(ActorCriticConfig):
    """Off-policy actor-critic and off-policy policy gradient."""

    algorithm: ClassVar[str] = "off_policy"

    method: Literal["actor_critic", "policy_gradient"] = "actor_critic"
    """weight each step by its own ratio, or by its whole trajectory's"""
    advantage: Any = "vtrace"
    """estimator of method = actor_critic: vtrace, gae, td_residual, monte_carlo, or MODULE:FUNCTION of your own, with
    the kernels' argument names, log_ratios, rho_clip and c_clip among them"""
    update_epochs: int = 4
    """times that each rollout is learned from, K"""
    num_minibatches: int = 1
    """gradient steps per epoch, each on its share of the environments' trajectories"""
    clip_ratios: bool = True
    """bound the importance ratios"""
    rho_clip: Traced = 1.0
    """largest weight of a step, or of a trajectory"""
    c_clip: Traced = 1.0
    """largest weight along V-trace's trace"""
    learning_rate: Traced = 7e-4
    """the optimizer's step size"""
    anneal_lr: bool = True
    """lower the learning rate linearly to 0 over the run"""
    norm_adv: bool = True
    """shift and scale the advantages of each minibatch to mean 0 and deviation 1"""

    def validate(self) -> None:
        """See TrainingConfig.validate."""
        super().validate()
        require_part(self, "advantage", ESTIMATORS)
        require_between(self, 1, MOST_LOOPS, "update_epochs")
        require_between(self, 1, self.num_envs, "num_minibatches")
        for name in ("rho_clip", "c_clip"):
            require(self, name, getattr(self, name) > 0.0, "greater than 0")
        if self.num_envs % self.num_minibatches:
            raise UserError(
                f"num_minibatches is {self.num_minibatches}, which does not divide num_envs = {self.num_envs}; "
                f"a minibatch is whole trajectories"
            )

    def notes(self) -> list[str]:
        """Returns notes on values that are valid but surely surprising."""
        if not self.clip_ratios:
            return ["clip_ratios is false: importance ratios are unbounded, and so is the gradient's variance"]
        return []


OffPolicyHyperparameters: Any = training.hyperparameters_of(OffPolicyConfig)


class Targets(NamedTuple):
    """Targets from one look at the trajectories, `[T, n]` each, all constants.

    Attributes:
      log_ratios: unclipped; of steps or of whole trajectories.
      ratios: what steps are weighted by.
      advantages: of the actions taken.
      values: targets of the critic.
    """

    log_ratios: jax.Array
    ratios: jax.Array
    advantages: jax.Array
    values: jax.Array


def make_algorithm(config: OffPolicyConfig) -> Algorithm:
    """Makes the method: the pair of functions that the loop runs.

    Raises:
      UserError: a field is wrong, or the environment is; see `training.prepare`.
    """
    setup = training.prepare(config)
    if config.critic == "trust_region":
        require_own_value_params(setup, "critic = trust_region needs network = separate")
    given = {name: getattr(config, name) for name in ("gamma", "gae_lambda", "rho_clip", "c_clip")}
    check_estimator(config, ESTIMATORS, log_ratios=0.0, **given)
    hyperparameters = training.traced_hyperparameters(config)
    check_descent(setup, hyperparameters)
    return Algorithm(
        setup=setup,
        hyperparameters=hyperparameters,
        init_learner=partial(init_learner, setup),
        learn=partial(learn, setup),
        num_keys=config.update_epochs,
    )


def learn(
    setup: Setup,
    hyperparameters: Hyperparameters,
    learner: Learner,
    experience: Experience,
    keys: jax.Array,
    progress: jax.Array,
) -> tuple[Learner, Metrics]:
    """Runs K epochs on one rollout of the behaviour policy; see Algorithm.learn."""
    config = setup.config
    current = scheduled(config, adaptation.current(hyperparameters, learner), progress)
    of_steps = experience._replace(last_observations=None)

    def one_epoch(carry, key):
        order = kernels.permutation(key, config.num_envs).reshape(config.num_minibatches, -1)
        return jax.lax.scan(one_minibatch, carry, order)

    def one_minibatch(carry, environments):
        return step(setup, current, carry, of_steps.of_environments(environments))

    carry, metrics = jax.lax.scan(one_epoch, (learner.params, learner.optimizer_state), keys)
    largest_ratio = jnp.max(metrics.pop("largest_ratio"))
    metrics = jax.tree.map(jnp.mean, metrics) | {"largest_ratio": largest_ratio}
    learner = learner.replace(params=carry[0], optimizer_state=carry[1])
    learner, kl_metrics = adaptation.follow_kl(setup, hyperparameters, learner, experience)
    return learner, metrics | kl_metrics


def step(setup: Setup, hyperparameters: Hyperparameters, carry, experience: Experience):
    """Makes one gradient step on some trajectories: `((params, optimizer_state), metrics)`."""
    params, optimizer_state = carry
    targets = estimate_targets(setup, hyperparameters, params, experience)
    params, optimizer_state, metrics = minibatches.step(
        partial(loss, setup, hyperparameters, experience, targets),
        make_optimizer(setup.config, hyperparameters, params, max_grad_norm=hyperparameters.max_grad_norm),
        params,
        optimizer_state,
    )
    if setup.config.critic == "trust_region":
        samples = minibatches.flatten_time(ValueSamples(experience.inputs, experience.actions, targets.values))
        params, value_metrics = value_function.step_in_trust_region(
            setup.network, params, samples, trust_region=hyperparameters.value_trust_region
        )
        metrics |= value_metrics
    return (params, optimizer_state), metrics


def estimate_targets(setup: Setup, hyperparameters: Hyperparameters, params: Params, experience: Experience) -> Targets:
    """Estimates ratios, advantages and value targets of pi, from trajectories of mu.

    Values behind a time limit and behind the rollout's end are those from when the data was collected.
    """
    config, ends = setup.config, (experience.terminated, experience.truncated)
    policy = setup.network.policy(params, experience.inputs)
    log_ratios = policy.log_prob(experience.actions) - experience.log_probs
    values = setup.network.value(params, experience.inputs)
    following = jnp.concatenate([values[1:], experience.next_values[-1:]])
    next_values = jnp.where(experience.truncated, experience.next_values, following)
    rho_clip = hyperparameters.rho_clip if config.clip_ratios else jnp.inf
    if config.method == "actor_critic":
        log_ratios = jnp.minimum(log_ratios, LARGEST_LOG_RATIO)
        revalued = experience._replace(values=values, next_values=next_values)
        advantages, value_targets = estimate(
            estimator_of(config, ESTIMATORS),
            revalued,
            log_ratios=log_ratios,
            gamma=hyperparameters.gamma,
            gae_lambda=hyperparameters.gae_lambda,
            rho_clip=rho_clip,
            c_clip=hyperparameters.c_clip if config.clip_ratios else jnp.inf,
        )
        ratios = jnp.minimum(rho_clip, jnp.exp(log_ratios))
    else:
        log_ratios = jnp.minimum(kernels.trajectory_log_ratios(log_ratios, *ends), LARGEST_LOG_RATIO)
        ratios = jnp.minimum(rho_clip, jnp.exp(log_ratios))
        value_targets = kernels.discounted_returns(experience.rewards, next_values, *ends, gamma=hyperparameters.gamma)
        advantages = value_targets - values
    if config.norm_adv:
        advantages = kernels.normalize_advantages(advantages)
    return Targets(log_ratios, ratios, advantages, value_targets)


def loss(
    setup: Setup,
    hyperparameters: Hyperparameters,
    experience: Experience,
    targets: Targets,
    params: Params,
) -> tuple[jax.Array, Metrics]:
    """Computes -E[rho A log pi] + c1 critic - c2 entropy, to be minimised, and what it is made of."""
    policy = setup.network.policy(params, experience.inputs)
    log_probs = policy.log_prob(experience.actions)
    policy_loss = kernels.policy_gradient_loss(log_probs, targets.ratios * targets.advantages)
    entropy = jnp.mean(policy.entropy())
    values = setup.network.value(params, experience.inputs)
    metrics = {
        "policy_loss": policy_loss,
        "entropy": entropy,
        "approx_kl": kernels.approximate_kl(log_probs, experience.log_probs),
        "effective_sample_size": kernels.effective_sample_size(targets.log_ratios),
        "largest_ratio": jnp.exp(jnp.max(targets.log_ratios)),
        "explained_variance": kernels.explained_variance(values, targets.values),
    }
    total = policy_loss - hyperparameters.ent_coef * entropy
    if setup.config.critic == "trust_region":
        return total, metrics
    if setup.config.method == "policy_gradient":  # the returns are mu's; weighted, they are pi's
        value_loss = 0.5 * jnp.mean(targets.ratios * (values - targets.values) ** 2)
    else:
        value_loss = kernels.value_loss(values, targets.values)
    return total + hyperparameters.vf_coef * value_loss, {**metrics, "value_loss": value_loss}


if __name__ == "__main__":
    from purejaxrl_gae.cli import main

    main("off_policy")
