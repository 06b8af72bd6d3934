"""Trust region policy optimization (Schulman et al. 2015), with GAE (Schulman et al. 2016) or Monte-Carlo advantages.

One update: collect T steps in N environments; estimate advantages with the value function as it is; then

    maximise    L(theta) = E[ r(theta) A ],  r(theta) = pi(a|s) / pi_old(a|s)         (2015, eq. 14)
    subject to  E[ KL(pi_old(.|s) || pi(.|s)) ] <= delta

by one natural-gradient step: solve (F + c I) x = g by conjugate gradients, go sqrt(2 delta / x^T (F + c I) x) along x,
and shrink the step until the KL is within delta and the surrogate has gained. The value function is refitted last.
`constraint = penalty` replaces the constraint by a KL penalty in the loss, descended by Adam.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.parallel.batching import one_agent_at_a_time
from purejaxrl_gae.program import minibatches, training, value_function
from purejaxrl_gae.program.estimators import BUILT_IN, check_estimator, estimate, estimator_of
from purejaxrl_gae.program.networks import require_own_value_params
from purejaxrl_gae.program.optimizers import DescentConfig, check_descent, make_optimizer
from purejaxrl_gae.program.policy_step import Samples, descend_penalised, step_in_trust_region
from purejaxrl_gae.program.schedules import linear, scheduled
from purejaxrl_gae.program.types import Algorithm, Experience, Hyperparameters, Learner, Metrics, Setup
from purejaxrl_gae.program.value_function import ValueSamples
from purejaxrl_gae.settings.config import (
    MOST_LOOPS,
    Traced,
    require,
    require_between,
    require_fraction,
    require_non_negative,
    require_part,
)
from purejaxrl_gae.settings.errors import UserError


@dataclass(frozen=True)
class TRPOConfig(DescentConfig):
    """Trust region policy optimization; option names as in sb3-contrib."""

    algorithm: ClassVar[str] = "trpo"

    advantage: Any = "gae"
    """estimator: gae; monte_carlo, discounted returns minus values; td_residual; or MODULE:FUNCTION of your own, with
    the kernels' argument names"""
    constraint: Literal["trust_region", "penalty"] = "trust_region"
    """bound the KL by a natural-gradient step with line search, or penalise it"""
    critic: Literal["adam", "trust_region"] = "adam"
    """fit the value function by the optimizer on minibatches, or by a Gauss-Newton step in its own trust region"""
    norm_adv: bool = True
    """shift and scale the advantages of each rollout to mean 0 and deviation 1"""
    target_kl: Traced = 0.01
    """delta, largest mean KL of an update"""
    anneal_kl: bool = False
    """let delta fall linearly to 0 over the run, so that the last policy is not one large step beside a good one"""
    cg_max_steps: int = 15
    """conjugate gradient steps"""
    cg_damping: Traced = 0.1
    """c, added to the Fisher matrix's diagonal"""
    cg_tolerance: Traced = 1e-8
    """residual, relative to the gradient, at which they stop early"""
    line_search_shrinking_factor: Traced = 0.8
    """alpha, by which a refused step is shortened"""
    line_search_max_iter: int = 10
    """lengths to try"""
    acceptance_ratio: Traced = 0.0
    """least share of the promised gain that a step must bring; 0: any gain"""
    fisher_subsampling: int = 1
    """take the Fisher matrix over one state in this many, drawn at random; 10 is the paper's 10%"""
    learning_rate: Traced = 1e-3
    """the optimizer's step size for the value function"""
    n_critic_updates: int = 10
    """passes over each rollout to fit the value function"""
    batch_size: int = 128
    """samples of a minibatch there; 0: all at once"""
    value_target: Literal["lambda_return", "return"] = "lambda_return"
    """what GAE's value function is fitted to: advantages + values, or discounted returns"""
    value_trust_region: Traced = 0.01
    """epsilon of the value function's trust region (2016, eq. 29)"""
    kl_coef: Traced = 1.0
    """beta, weight of the penalty"""
    policy_learning_rate: Traced = 3e-4
    """the optimizer's step size for the penalised policy"""
    n_policy_updates: int = 10
    """passes over each rollout for the penalised policy"""
    compound_expectation: bool = False
    """fault of the source documents: the line search's promise shrinks twice, so its test fades"""
    standardize_returns: bool = False
    """fault of the source documents: returns are standardised per rollout, then used as targets and in R - V"""
    advantage_ddof: int = 0
    """1 divides the advantages' variance by n - 1, as the source documents do"""
    drop_last_minibatch: bool = False
    """leave out the random few samples that do not fill a minibatch, as the source documents do"""

    @property
    def descended(self) -> dict[str, str]:
        """Names of the parameters that the optimizer fits, with the field that is its learning rate for each."""
        value = {"value": "learning_rate"} if self.critic == "adam" else {}
        return value | ({"policy": "policy_learning_rate"} if self.constraint == "penalty" else {})

    @property
    def scheduled_rates(self) -> tuple[str, ...]:
        """See DescentConfig.scheduled_rates."""
        return tuple(self.descended.values())

    def validate(self) -> None:
        """See TrainingConfig.validate."""
        super().validate()
        require_part(self, "advantage", BUILT_IN)
        require_fraction(self, "acceptance_ratio")
        require_between(self, 1, MOST_LOOPS, "cg_max_steps", "line_search_max_iter")
        require_between(self, 1, MOST_LOOPS, "n_critic_updates", "n_policy_updates")
        require_between(self, 1, self.steps_per_update, "fisher_subsampling")
        for name in ("target_kl", "value_trust_region"):
            require(self, name, getattr(self, name) > 0.0, "greater than 0")
        require_non_negative(self, "cg_damping", "cg_tolerance", "policy_learning_rate", "kl_coef")
        shrinks = 0.0 < self.line_search_shrinking_factor < 1.0
        require(self, "line_search_shrinking_factor", shrinks, "between 0 and 1")
        require(self, "advantage_ddof", self.advantage_ddof in (0, 1), "0 or 1")
        require_between(self, 0, self.steps_per_update, "batch_size")
        if self.batch_size and self.steps_per_update % self.batch_size and not self.drop_last_minibatch:
            raise UserError(
                f"batch_size is {self.batch_size}, which does not divide num_envs * num_steps = "
                f"{self.num_envs} * {self.num_steps} = {self.steps_per_update}"
            )


TRPOHyperparameters: Any = training.hyperparameters_of(TRPOConfig)


def make_algorithm(config: TRPOConfig) -> Algorithm:
    """Makes TRPO: the pair of functions that the loop runs.

    Raises:
      UserError: a field is wrong, or the environment is; see `training.prepare`.
    """
    setup = training.prepare(config)
    require_own_value_params(
        setup,
        "TRPO needs separate networks, or fitting the value function would move the policy out of its region",
    )
    check_estimator(config, gamma=config.gamma, gae_lambda=config.gae_lambda)
    hyperparameters = training.traced_hyperparameters(config)
    check_descent(setup, hyperparameters, *config.descended)
    return Algorithm(
        setup=setup,
        hyperparameters=hyperparameters,
        init_learner=partial(init_learner, setup),
        learn=partial(learn, setup),
        num_keys=1 + config.n_policy_updates + config.n_critic_updates,
    )


def init_learner(setup: Setup, key: jax.Array, hyperparameters: Hyperparameters) -> Learner:
    """Draws fresh parameters, and begins an optimizer for whatever it is to fit."""
    params = setup.network.init(key)
    states = {}
    for name, rate in setup.config.descended.items():
        optimizer = make_optimizer(setup.config, hyperparameters, params[name], rate=rate)
        states[name] = optimizer.init(ravel_pytree(params[name])[0])
    return Learner(params, states)


def learn(
    setup: Setup,
    hyperparameters: Hyperparameters,
    learner: Learner,
    experience: Experience,
    keys: jax.Array,
    progress: jax.Array,
) -> tuple[Learner, Metrics]:
    """Makes one policy step and one refit of the value function; see Algorithm.learn."""
    config = setup.config
    hyperparameters = scheduled(config, hyperparameters, progress)
    if config.anneal_kl:
        hyperparameters = hyperparameters.replace(target_kl=hyperparameters.target_kl * linear(progress))
    advantages, targets = estimate_advantages(config, hyperparameters, experience)
    samples = minibatches.flatten_time(
        Samples(experience.inputs, experience.actions, experience.log_probs, experience.distribution, advantages)
    )
    policy_keys, value_keys = keys[: 1 + config.n_policy_updates], keys[1 + config.n_policy_updates :]
    step_policy = step_in_trust_region if config.constraint == "trust_region" else descend_penalised
    update_policy = one_agent_at_a_time(partial(step_policy, setup))
    learner, metrics = update_policy(hyperparameters, learner, samples, policy_keys)
    value_samples = ValueSamples(samples.observations, None, targets.reshape(samples.advantages.shape))
    learner, value_metrics = fit_values(setup, hyperparameters, learner, value_samples, value_keys)
    metrics |= value_metrics | {
        "entropy": jnp.mean(experience.distribution.entropy()),
        "explained_variance": kernels.explained_variance(experience.values, targets),
    }
    return learner, metrics


def estimate_advantages(
    config: TRPOConfig, hyperparameters: Hyperparameters, experience: Experience
) -> tuple[jax.Array, jax.Array]:
    """Estimates `(advantages, targets)` `[T, N]` with the value function from before its refit."""
    gamma, gae_lambda = hyperparameters.gamma, hyperparameters.gae_lambda
    returns = kernels.discounted_returns(
        experience.rewards, experience.next_values, experience.terminated, experience.truncated, gamma=gamma
    )
    if config.standardize_returns:
        returns = kernels.normalize_advantages(returns, ddof=1)
    advantages, targets = returns - experience.values, returns
    if config.advantage != "monte_carlo":
        advantages, lambda_returns = estimate(estimator_of(config), experience, gamma=gamma, gae_lambda=gae_lambda)
        if config.value_target == "lambda_return":
            targets = lambda_returns
    if config.norm_adv:
        advantages = kernels.normalize_advantages(advantages, ddof=config.advantage_ddof)
    return advantages, targets


def fit_values(
    setup: Setup, hyperparameters: Hyperparameters, learner: Learner, samples: ValueSamples, keys: jax.Array
) -> tuple[Learner, Metrics]:
    """Refits the value function; everything else of the learner stays as it is."""
    config, network, params = setup.config, setup.network, learner.params
    if config.critic == "trust_region":
        params, metrics = value_function.step_in_trust_region(
            network,
            params,
            samples,
            trust_region=hyperparameters.value_trust_region,
            damping=hyperparameters.cg_damping,
            cg_max_steps=config.cg_max_steps,
            cg_tolerance=hyperparameters.cg_tolerance,
            shrinking_factor=hyperparameters.line_search_shrinking_factor,
            max_steps=config.line_search_max_iter,
        )
        return learner.replace(params=params), metrics
    optimizer = make_optimizer(config, hyperparameters, params["value"])
    optimizer_state, size = learner.optimizer_state["value"], config.batch_size or samples.targets.size
    params, optimizer_state, metrics = value_function.descend(
        network, params, optimizer, optimizer_state, samples, keys, minibatch_size=size
    )
    return learner.replace(
        params=params, optimizer_state={**learner.optimizer_state, "value": optimizer_state}
    ), metrics


if __name__ == "__main__":
    from purejaxrl_gae.cli import main

    main("trpo")
