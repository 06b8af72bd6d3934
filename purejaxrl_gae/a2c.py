"""Advantage actor-critic (Mnih et al. 2016, in its synchronous form).

One update: collect L steps in each of N environments (one is enough), then one step of gradient descent on

    L(theta) = c1 L_critic - E[ A_t log pi(a_t|s_t) ] - c2 H[pi(.|s_t)],    L_critic = E[ (target_t - V(s_t))^2 ] / 2

with A_t taken as a constant and one of

    td        r_t + gamma V(s_{t+1}) - V(s_t)
    n_step    r_t + ... + gamma^{n-1} r_{t+n-1} + gamma^n V(s_{t+n}) - V(s_t)
    gae       sum_l (gamma lambda)^l delta_{t+l}
    q         Q(s_t, a_t) - sum_b pi(b|s_t) Q(s_t, b)

and target_t = A_t + V(s_t), except with q, where it is r_t + gamma V(s_{t+1}). In the action-value form Q is learned
in place of V: V(s) = sum_b pi(b|s) Q(s, b) wherever V stands above, and Q(s_t, a_t) in the critic's loss.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.program import adaptation, minibatches, training, value_function
from purejaxrl_gae.program.estimators import BUILT_IN, check_estimator, estimate, estimator_of, notes_of
from purejaxrl_gae.program.networks import require_own_value_params
from purejaxrl_gae.program.optimizers import ActorCriticConfig, check_descent, init_learner, make_optimizer
from purejaxrl_gae.program.schedules import scheduled
from purejaxrl_gae.program.types import Algorithm, Experience, Hyperparameters, Learner, Metrics, Params, Setup
from purejaxrl_gae.program.value_function import ValueSamples
from purejaxrl_gae.settings.config import MOST_STEPS_PER_UPDATE, Traced, require_between, require_part
from purejaxrl_gae.settings.errors import UserError

ESTIMATORS = {**BUILT_IN, "q": kernels.td_residuals, "td": kernels.td_residuals}  # td: its name until 0.1


@dataclass(frozen=True)
class A2CConfig(ActorCriticConfig):
    """Advantage actor-critic."""

    algorithm: ClassVar[str] = "a2c"

    num_steps: int = 16
    """steps in each environment between two updates, L"""
    advantage: Any = "gae"
    """how far it looks: td_residual one step, n_step n_steps, gae a mixture of all, monte_carlo to the end; q
    needs action values; or MODULE:FUNCTION of your own with the kernels' argument names"""
    n_steps: int = 0
    """rewards before the bootstrap for advantage = n_step; 0: as many as the rollout holds"""
    critic_form: Literal["state_value", "action_value"] = "state_value"
    """learn V(s), or Q(s, a) of discrete actions"""
    optimizer: Any = "rmsprop"
    """of the loss: adam, adamw, rmsprop, muon, or MODULE:FUNCTION of your own, from a traced learning_rate (and
    adam_eps, if it names that) to an optax transformation of the parameters"""
    learning_rate: Traced = 7e-4
    """its step size"""
    anneal_lr: bool = False
    """lower the learning rate linearly to 0 over the run"""
    norm_adv: bool = False
    """shift and scale the advantages of each rollout to mean 0 and deviation 1"""

    def validate(self) -> None:
        """See TrainingConfig.validate."""
        super().validate()
        require_part(self, "advantage", ESTIMATORS)
        require_between(self, 0, MOST_STEPS_PER_UPDATE, "n_steps")
        if self.advantage == "q" and self.critic_form != "action_value":
            raise UserError("advantage is q, which needs critic_form = action_value; critic_form is state_value")

    def notes(self) -> list[str]:
        """See TrainingConfig.notes."""
        return [*super().notes(), *notes_of(self)]


A2CHyperparameters: Any = training.hyperparameters_of(A2CConfig)


class Samples(NamedTuple):
    """The rollout as the loss needs it, `[T, N, ...]` each.

    Attributes:
      observations: as the networks see them, with memory a Sequence.
      actions: as sampled.
      advantages: A_t.
      targets: of the critic.
    """

    observations: jax.Array
    actions: jax.Array
    advantages: jax.Array
    targets: jax.Array


def make_algorithm(config: A2CConfig) -> Algorithm:
    """Makes A2C: the pair of functions that the loop runs.

    Raises:
      UserError: a field is wrong, or the environment is; see `training.prepare`.
    """
    setup = training.prepare(config, action_values=config.critic_form == "action_value")
    if config.critic == "trust_region":
        require_own_value_params(setup, "critic = trust_region needs network = separate")
    check_estimator(config, ESTIMATORS, gamma=config.gamma, gae_lambda=config.gae_lambda, k=config.n_steps)
    hyperparameters = training.traced_hyperparameters(config)
    check_descent(setup, hyperparameters)
    return Algorithm(
        setup=setup,
        hyperparameters=hyperparameters,
        init_learner=partial(init_learner, setup),
        learn=partial(learn, setup),
    )


def learn(
    setup: Setup,
    hyperparameters: Hyperparameters,
    learner: Learner,
    experience: Experience,
    keys: jax.Array,
    progress: jax.Array,
) -> tuple[Learner, Metrics]:
    """Makes one gradient step; see Algorithm.learn."""
    config = setup.config
    current = scheduled(config, adaptation.current(hyperparameters, learner), progress)
    advantages, targets = estimate_advantages(setup, hyperparameters, learner.params, experience)
    samples = Samples(experience.inputs, experience.actions, advantages, targets)
    params, optimizer_state, metrics = minibatches.step(
        partial(loss, setup, hyperparameters, samples),
        make_optimizer(config, current, learner.params, max_grad_norm=hyperparameters.max_grad_norm),
        learner.params,
        learner.optimizer_state,
    )
    if config.critic == "trust_region":
        value_samples = minibatches.flatten_time(ValueSamples(samples.observations, samples.actions, targets))
        params, value_metrics = value_function.step_in_trust_region(
            setup.network, params, value_samples, trust_region=hyperparameters.value_trust_region
        )
        metrics |= value_metrics
    metrics["explained_variance"] = kernels.explained_variance(experience.values, targets)
    learner = learner.replace(params=params, optimizer_state=optimizer_state)
    learner, kl_metrics = adaptation.follow_kl(setup, hyperparameters, learner, experience)
    return learner, metrics | kl_metrics


def estimate_advantages(
    setup: Setup, hyperparameters: Hyperparameters, params: Params, experience: Experience
) -> tuple[jax.Array, jax.Array]:
    """Estimates `(advantages, targets)`, both `[T, N]`."""
    config, gamma, values = setup.config, hyperparameters.gamma, experience.values
    steps = config.n_steps or config.num_steps
    estimator = estimator_of(config, ESTIMATORS)
    advantages, targets = estimate(estimator, experience, gamma=gamma, gae_lambda=hyperparameters.gae_lambda, k=steps)
    if config.advantage == "q":
        advantages = setup.network.prediction(params, experience.inputs, experience.actions) - values
    if config.norm_adv:
        advantages = kernels.normalize_advantages(advantages)
    return advantages, targets


def loss(setup: Setup, hyperparameters: Hyperparameters, samples: Samples, params: Params) -> tuple[jax.Array, Metrics]:
    """Computes L(theta), to be minimised, and what it is made of."""
    policy = setup.network.policy(params, samples.observations)
    policy_loss = kernels.policy_gradient_loss(policy.log_prob(samples.actions), samples.advantages)
    entropy = jnp.mean(policy.entropy())
    total = policy_loss - hyperparameters.ent_coef * entropy
    metrics = {"policy_loss": policy_loss, "entropy": entropy}
    if setup.config.critic == "trust_region":
        return total, metrics
    predicted = setup.network.prediction(params, samples.observations, samples.actions)
    value_loss = kernels.value_loss(predicted, samples.targets)
    return total + hyperparameters.vf_coef * value_loss, {**metrics, "value_loss": value_loss}


if __name__ == "__main__":
    from purejaxrl_gae.cli import main

    main("a2c")
