"""Proximal policy optimization (Schulman et al. 2017), in all the paper's objectives.

One update: collect T steps in N environments; estimate advantages by GAE; then for K epochs of shuffled minibatches
descend (eq. 9)

    L(theta) = E[ L_policy(theta) + c1 (V(s) - V_target)^2 / 2 - c2 H[pi(.|s)] ]

with L_policy one of

    clip          -min(r A, clip(r, 1 - eps, 1 + eps) A)           eq. 7
    none          -r A                                             eq. 6
    kl_fixed      -r A + beta KL(pi_old || pi)                      eq. 8, beta constant
    kl_adaptive   the same, beta doubled or halved after every update to keep the KL near d_targ
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.program import adaptation, minibatches, training, value_function
from purejaxrl_gae.program.epochs import Samples, require_minibatches, run_epochs
from purejaxrl_gae.program.estimators import BUILT_IN as ESTIMATORS
from purejaxrl_gae.program.estimators import check_estimator, estimate, estimator_of, revalued
from purejaxrl_gae.program.networks import require_own_value_params
from purejaxrl_gae.program.objectives import BUILT_IN as OBJECTIVES
from purejaxrl_gae.program.objectives import check_objective, needs_old_policy, objective_of, policy_loss
from purejaxrl_gae.program.optimizers import ActorCriticConfig, annealed, check_descent, init_learner, make_optimizer
from purejaxrl_gae.program.schedules import scheduled
from purejaxrl_gae.program.side_by_side import policy_and_value
from purejaxrl_gae.program.types import Algorithm, Experience, Hyperparameters, Learner, Metrics, Params, Setup
from purejaxrl_gae.program.value_function import ValueSamples
from purejaxrl_gae.settings.config import (
    MOST_STEPS_PER_UPDATE,
    Traced,
    require,
    require_between,
    require_non_negative,
    require_part,
)


@dataclass(frozen=True)
class PPOConfig(ActorCriticConfig):
    """Proximal policy optimization. Defaults are for any task and budget (docs/defaults.md); presets know better."""

    algorithm: ClassVar[str] = "ppo"

    num_envs: int = 4
    """environments stepped side by side"""
    num_steps: int = 512
    """steps in each environment between two updates, T"""
    objective: Any = "clip"
    """policy loss: clip, none (bare ratio), kl_fixed or kl_adaptive (penalty with constant or adapted coefficient), or
    MODULE:FUNCTION of your own; see `program.objectives.policy_loss` for what it may name"""
    advantage: Any = "gae"
    """estimator: gae, td_residual, n_step, monte_carlo, or MODULE:FUNCTION of your own, with the kernels' argument
    names"""
    n_steps: int = 0
    """rewards before the bootstrap for advantage = n_step; 0: as many as the rollout holds"""
    learning_rate: Traced = 3e-4
    """the optimizer's step size"""
    anneal_lr: bool = False
    """lower the learning rate linearly to 0 over the run"""
    num_minibatches: int = 32
    """minibatches per epoch; num_envs * num_steps must be a multiple"""
    update_epochs: int = 10
    """passes over each rollout, K"""
    norm_adv: bool = True
    """shift and scale the advantages of each minibatch to mean 0 and deviation 1"""
    clip_coef: Traced = 0.2
    """epsilon of the clipped objective"""
    anneal_clip: bool = False
    """lower the clipping range linearly to 0 over the run, as in the paper's Atari setting"""
    clip_vloss: bool = False
    """keep values within the clipping range of their old prediction"""
    pg_coef: Traced = 1.0
    """weight of the policy loss"""
    target_kl: Traced | None = None
    """stop an update's epochs once one's mean approximate KL exceeds this; none: never"""
    kl_coef: Traced = 1.0
    """beta of the KL objectives; the initial one where it is adapted"""
    value_target: Literal["lambda_return", "td"] = "lambda_return"
    """what the value function is fitted to: advantages + values, or r + gamma V(s')"""
    recompute_advantages: bool = False
    """estimate advantages and value targets anew before each epoch, with the value function as it is by then; values
    behind time limits stay those of the rollout (Andrychowicz et al. 2021, section 3.5)"""
    minibatch_sampling: Literal["epochs", "trajectories"] = "epochs"
    """each sample once per epoch; or, per epoch, one minibatch of whole trajectories drawn at random"""
    gradient_chunk: int = 0
    """accumulate each minibatch's gradient over chunks of this many samples; 0: all at once"""

    def validate(self) -> None:
        """See TrainingConfig.validate."""
        super().validate()
        require_part(self, "objective", OBJECTIVES)
        require_part(self, "advantage", ESTIMATORS)
        require_minibatches(self)
        require_non_negative(self, "clip_coef", "pg_coef", "kl_coef")
        require(self, "target_kl", self.target_kl is None or self.target_kl > 0.0, "greater than 0, or none")
        require_between(self, 0, MOST_STEPS_PER_UPDATE, "gradient_chunk", "n_steps")

    def notes(self) -> list[str]:
        """Returns notes on values that are valid but surely surprising."""
        if self.objective == "clip" and self.clip_coef >= 1.0:
            return [f"clip_coef is {self.clip_coef}: from 1 on hardly any ratio is clipped, as with objective = none"]
        return []


PPOHyperparameters: Any = training.hyperparameters_of(PPOConfig)


def make_algorithm(config: PPOConfig) -> Algorithm:
    """Makes PPO: the pair of functions that the loop runs.

    Raises:
      UserError: a field is wrong, or the environment is; see `training.prepare`.
    """
    setup = training.prepare(config)
    if config.critic == "trust_region":
        require_own_value_params(setup, "critic = trust_region needs network = separate")
    hyperparameters = training.traced_hyperparameters(config)
    check_descent(setup, hyperparameters)
    check_objective(setup, hyperparameters, Samples)
    check_estimator(config, **_for_estimators(config, hyperparameters))
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
    """Runs K epochs on one rollout; see Algorithm.learn."""
    advantages, targets = estimate_advantages(setup.config, hyperparameters, experience)
    samples = minibatches.flatten_time(
        Samples(
            observations=experience.inputs,
            actions=experience.actions,
            log_probs=experience.log_probs,
            values=experience.values,
            advantages=advantages,
            targets=targets,
            distribution=experience.distribution if _needs_old_policy(setup.config) else None,
        )
    )
    current = _of_this_update(setup.config, adaptation.current(hyperparameters, learner), progress)
    reestimate = None
    if setup.config.recompute_advantages:
        reestimate = partial(_reestimate, setup, hyperparameters, experience)
    learner, metrics = _run_epochs(setup, current, learner, samples, keys, reestimate)
    if setup.config.critic == "trust_region":
        params, value_metrics = value_function.step_in_trust_region(
            setup.network,
            learner.params,
            ValueSamples(samples.observations, None, samples.targets),
            trust_region=hyperparameters.value_trust_region,
        )
        learner, metrics = learner.replace(params=params), metrics | value_metrics
    learner, kl_metrics = adaptation.follow_kl(setup, hyperparameters, learner, experience, moved=("learning_rate",))
    metrics |= kl_metrics | {
        "explained_variance": kernels.explained_variance(experience.values, targets),
        "learning_rate": learner.extra.get("learning_rate", current.learning_rate),
    }
    return learner, metrics


def _run_epochs(
    setup: Setup,
    hyperparameters: Hyperparameters,
    learner: Learner,
    samples: Samples,
    keys: jax.Array,
    reestimate: Callable[[Params, Samples], Samples] | None,
) -> tuple[Learner, Metrics]:
    """Runs the epochs at the learning rate of this update, or at one that each minibatch's KL moves."""

    def make(rate):
        at_rate = hyperparameters.replace(learning_rate=rate)
        return make_optimizer(setup.config, at_rate, learner.params, max_grad_norm=hyperparameters.max_grad_norm)

    rate = hyperparameters.learning_rate
    run = partial(run_epochs, setup.config, partial(loss, setup, hyperparameters))
    data = (samples, keys, hyperparameters.target_kl, reestimate)
    if not _rate_follows_kl(setup.config):
        return run(make(rate), learner, *data)
    optimizer = adaptation.rate_by_minibatch(make, rate, hyperparameters.desired_kl)
    begun = learner.replace(optimizer_state=(learner.optimizer_state, rate))
    learned, metrics = run(optimizer, begun, *data)
    optimizer_state, rate = learned.optimizer_state
    extra = {**learned.extra, "learning_rate": rate}
    return learned.replace(optimizer_state=optimizer_state, extra=extra), metrics


def _rate_follows_kl(config: PPOConfig) -> bool:
    return isinstance(config.schedule, str) and config.schedule == "kl_adaptive"


def _needs_old_policy(config: PPOConfig) -> bool:
    return _rate_follows_kl(config) or needs_old_policy(objective_of(config))


def estimate_advantages(
    config: PPOConfig, hyperparameters: Hyperparameters, experience: Experience
) -> tuple[jax.Array, jax.Array]:
    """Returns `(advantages, targets)`, both `[T, N]`."""
    available = _for_estimators(config, hyperparameters)
    advantages, targets = estimate(estimator_of(config), experience, **available)
    if config.value_target == "td":
        targets = estimate(kernels.td_residuals, experience, **available)[1]
    return advantages, targets


def _for_estimators(config: PPOConfig, hyperparameters: Hyperparameters) -> dict[str, Any]:
    """Names what an estimator may ask for besides the rollout."""
    steps = config.n_steps or config.num_steps
    return {"gamma": hyperparameters.gamma, "gae_lambda": hyperparameters.gae_lambda, "k": steps}


def _reestimate(
    setup: Setup,
    hyperparameters: Hyperparameters,
    experience: Experience,
    params: Params,
    samples: Samples,
) -> Samples:
    """Returns the samples with advantages and targets by the value function of these parameters."""
    estimated = estimate_advantages(setup.config, hyperparameters, revalued(setup.network, params, experience))
    _, advantages, targets = minibatches.flatten_time((experience.inputs, *estimated))
    return samples._replace(advantages=advantages, targets=targets)


def _of_this_update(config: PPOConfig, hyperparameters: Hyperparameters, progress: jax.Array) -> Hyperparameters:
    """Lowers the learning rate by its schedule, and the clipping range by the paper's alpha, from 1 to 0."""
    hyperparameters = scheduled(config, hyperparameters, progress)
    if not config.anneal_clip:
        return hyperparameters
    return hyperparameters.replace(clip_coef=annealed(hyperparameters.clip_coef, progress))


def loss(
    setup: Setup, hyperparameters: Hyperparameters, params: Params, minibatch: Samples
) -> tuple[jax.Array, Metrics]:
    """Computes L(theta) of eq. 9, to be minimised, and what it is made of."""
    policy, values = policy_and_value(setup.network, params, minibatch.observations)
    log_probs = policy.log_prob(minibatch.actions)
    entropy = jnp.mean(policy.entropy())
    surrogate = policy_loss(objective_of(setup.config), hyperparameters, policy, log_probs, minibatch)
    value_loss = (
        kernels.clipped_value_loss(values, minibatch.values, minibatch.targets, clip_coef=hyperparameters.clip_coef)
        if setup.config.clip_vloss
        else kernels.value_loss(values, minibatch.targets)
    )
    # eq. 9; a value function that is fitted apart has no part in it
    vf_coef = hyperparameters.vf_coef if setup.config.critic == "joint" else 0.0
    total = hyperparameters.pg_coef * surrogate + vf_coef * value_loss - hyperparameters.ent_coef * entropy
    old, measured = minibatch.distribution, {}
    if old is not None and _rate_follows_kl(setup.config):
        measured["kl"] = jnp.mean(old.kl_divergence(policy))
    return total, measured | {
        "policy_loss": surrogate,
        "value_loss": value_loss,
        "entropy": entropy,
        "approx_kl": kernels.approximate_kl(log_probs, minibatch.log_probs),
        "clip_fraction": kernels.clip_fraction(log_probs, minibatch.log_probs, clip_coef=hyperparameters.clip_coef),
    }


if __name__ == "__main__":
    from purejaxrl_gae.cli import main

    main("ppo")
