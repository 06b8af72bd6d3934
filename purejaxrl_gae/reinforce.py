"""REINFORCE, the Monte-Carlo policy gradient (Williams 1992), with any of the GAE paper's six choices of Psi.

One update: collect T steps in N environments, then one step of gradient ascent along (Schulman et al. 2016, eq. 1)

    g = E[ sum_t Psi_t grad log pi(a_t|s_t) ]

with Psi_t one of

    total_reward   R(e) = r_1 + gamma r_2 + ...     1  the whole trajectory's
    reward_to_go   R(e_t) = r_t + gamma r_{t+1} ... 2  what followed the action
    monte_carlo    R(e_t) - V(s_t)                  3
    q              Q(s_t, a_t)                      4  of a learned function of states and actions
    gae            GAE(gamma, lambda)               5
    td_residual    r_t + gamma V(s_{t+1}) - V(s_t)  6

V, or Q, is fitted to the same Monte-Carlo returns, after it has been used.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.program import adaptation, minibatches, training, value_function
from purejaxrl_gae.program.estimators import BUILT_IN, check_estimator, estimate, estimator_of, notes_of
from purejaxrl_gae.program.networks import require_own_value_params
from purejaxrl_gae.program.optimizers import DescentConfig, check_descent, make_optimizer
from purejaxrl_gae.program.schedules import scheduled
from purejaxrl_gae.program.types import Algorithm, Experience, Hyperparameters, Learner, Metrics, Params, Setup
from purejaxrl_gae.program.value_function import ValueSamples
from purejaxrl_gae.settings.config import (
    MOST_LOOPS,
    Traced,
    require,
    require_between,
    require_non_negative,
    require_part,
)
from purejaxrl_gae.settings.errors import UserError

WITHOUT_VALUES = ("total_reward", "reward_to_go")


def total_reward(rewards, next_values, terminated, truncated, gamma):
    """Returns the discounted return of the whole trajectory, at each of its steps."""
    return kernels.trajectory_returns(rewards, next_values, terminated, truncated, gamma=gamma)


def reward_to_go(rewards, next_values, terminated, truncated, gamma):
    """Returns what followed each action, discounted."""
    return kernels.discounted_returns(rewards, next_values, terminated, truncated, gamma=gamma)


def q(fitted):
    """Returns Q(s, a), as it has been learned so far."""
    return fitted


ESTIMATORS = {
    **{"total_reward": total_reward, "reward_to_go": reward_to_go, "monte_carlo": BUILT_IN["monte_carlo"], "q": q},
    **{"gae": kernels.gae, "td_residual": kernels.td_residuals},
    **{"baseline": BUILT_IN["monte_carlo"], "advantage": kernels.gae},  # names until 0.1
}


@dataclass(frozen=True)
class ReinforceConfig(DescentConfig):
    """Monte-Carlo policy gradient."""

    algorithm: ClassVar[str] = "reinforce"

    advantage: Any = "monte_carlo"
    """Psi, what the gradient of each action's log-probability is weighted by: total_reward, reward_to_go, monte_carlo
    (R - V), q, gae, td_residual, or MODULE:FUNCTION of your own with the kernels' argument names"""
    episodes: Literal["continued", "whole"] = "continued"
    """go on across updates, where what is cut off is worth its value; or start N anew each time and learn from each to
    its end, where steps beyond it are counted but not learned from"""
    anneal_lr: bool = False
    """lower the learning rate linearly to 0 over the run"""
    desired_kl: Traced = 0.01
    """KL of an update that schedule = kl_adaptive aims at"""
    norm_adv: bool = True
    """shift and scale Psi to mean 0 and deviation 1 over each rollout; the shift is a baseline by itself"""
    max_grad_norm: Traced = 0.5
    """gradients longer than this are shortened to it"""
    value_learning_rate: Traced = 1e-3
    """the optimizer's step size for V or Q, the same over the run"""
    n_critic_updates: int = 5
    """passes over each rollout to fit V or Q"""
    batch_size: int = 0
    """samples of a minibatch there; 0: all at once"""

    def validate(self) -> None:
        """See TrainingConfig.validate."""
        super().validate()
        require_part(self, "advantage", ESTIMATORS)
        require_non_negative(self, "value_learning_rate", "desired_kl")
        require(self, "max_grad_norm", self.max_grad_norm > 0.0, "greater than 0")
        require_between(self, 1, MOST_LOOPS, "n_critic_updates")
        require_between(self, 0, self.steps_per_update, "batch_size")

    def notes(self) -> list[str]:
        """See TrainingConfig.notes."""
        return [*super().notes(), *notes_of(self)]


ReinforceHyperparameters: Any = training.hyperparameters_of(ReinforceConfig)


def make_algorithm(config: ReinforceConfig) -> Algorithm:
    """Makes REINFORCE: the pair of functions that the loop runs.

    Raises:
      UserError: a field is wrong, or the environment is; see `training.prepare`.
    """
    setup = training.prepare(config, action_values=config.advantage == "q")
    require_own_value_params(setup, "reinforce fits the value function apart and needs separate networks")
    limit = setup.environment.max_episode_steps
    if config.episodes == "whole":
        training.require_pure(setup.environment, "episodes = whole")
    if config.episodes == "whole" and (limit is None or config.num_steps < limit):
        steps = "without limit" if limit is None else f"up to {limit} steps"
        raise UserError(
            f"num_steps is {config.num_steps}, but an episode of {setup.environment.name} takes {steps}; "
            f"episodes = whole needs num_steps to hold it"
        )
    check_estimator(config, ESTIMATORS, gamma=config.gamma, gae_lambda=config.gae_lambda, fitted=0.0)
    hyperparameters = training.traced_hyperparameters(config)
    check_descent(setup, hyperparameters, "policy", "value")
    return Algorithm(
        setup=setup,
        hyperparameters=hyperparameters,
        init_learner=partial(init_learner, setup),
        learn=partial(learn, setup),
        num_keys=config.n_critic_updates,
        starts_anew=config.episodes == "whole",
    )


def _optimizers(config: ReinforceConfig, hyperparameters: Hyperparameters, params: Params):
    longest = {"policy": hyperparameters.max_grad_norm, "value": jnp.array(jnp.inf)}
    rates = {"policy": "learning_rate", "value": "value_learning_rate"}
    return {
        name: make_optimizer(config, hyperparameters, params[name], rate=rate, max_grad_norm=longest[name])
        for name, rate in rates.items()
    }


def init_learner(setup: Setup, key: jax.Array, hyperparameters: Hyperparameters) -> Learner:
    """Draws fresh parameters and begins two optimizers."""
    params = setup.network.init(key)
    optimizers = _optimizers(setup.config, hyperparameters, params)
    states = {name: each.init(ravel_pytree(params[name])[0]) for name, each in optimizers.items()}
    return Learner(params, states, adaptation.begin(setup.config, hyperparameters))


def learn(
    setup: Setup,
    hyperparameters: Hyperparameters,
    learner: Learner,
    experience: Experience,
    keys: jax.Array,
    progress: jax.Array,
) -> tuple[Learner, Metrics]:
    """Makes one step of the policy and one refit of the value function; see Algorithm.learn."""
    config = setup.config
    hyperparameters = scheduled(config, adaptation.current(hyperparameters, learner), progress)
    used = learned_from(config, experience)
    counts = used / jnp.mean(used.astype(jnp.float32))  # a mean weighted by them is one over the steps used
    psi, returns, fitted = estimate_weights(setup, hyperparameters, learner.params, experience)
    learner, metrics = ascend(setup, hyperparameters, learner, experience, counts * psi, counts)
    samples = minibatches.flatten_time(ValueSamples(experience.inputs, experience.actions, returns, counts))
    params, value_state, value_metrics = value_function.descend(
        setup.network,
        learner.params,
        _optimizers(config, hyperparameters, learner.params)["value"],
        learner.optimizer_state["value"],
        samples,
        keys,
        minibatch_size=config.batch_size or config.steps_per_update,
    )
    metrics |= value_metrics | {"explained_variance": kernels.explained_variance(fitted, returns, where=used)}
    learner = learner.replace(params=params, optimizer_state={**learner.optimizer_state, "value": value_state})
    learner, kl_metrics = adaptation.follow_kl(setup, hyperparameters, learner, experience)
    return learner, metrics | kl_metrics


def learned_from(config: ReinforceConfig, experience: Experience) -> jax.Array:
    """Returns `[T, N]` bool: every step, or those of each environment's first episode."""
    if config.episodes == "continued":
        return jnp.ones_like(experience.terminated)
    return kernels.in_first_episode(experience.terminated, experience.truncated)


def estimate_weights(
    setup: Setup, hyperparameters: Hyperparameters, params: Params, experience: Experience
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns `(Psi, returns, fitted)`, each `[T, N]`; fitted is what V or Q said of the returns before its refit."""
    config = setup.config
    rewards, next_values = experience.rewards, experience.next_values
    ends = (experience.terminated, experience.truncated)
    if config.episodes == "whole" and config.advantage in WITHOUT_VALUES:
        next_values = jnp.zeros_like(next_values)  # what was received and nothing else
    gamma = hyperparameters.gamma
    returns = kernels.discounted_returns(rewards, next_values, *ends, gamma=gamma)
    fitted = setup.network.prediction(params, experience.inputs, experience.actions)
    psi, _ = estimate(
        estimator_of(config, ESTIMATORS),
        experience._replace(next_values=next_values),
        gamma=gamma,
        gae_lambda=hyperparameters.gae_lambda,
        fitted=fitted,
    )
    if config.norm_adv:
        psi = kernels.normalize_advantages(psi, where=learned_from(config, experience))
    return psi, returns, fitted


def ascend(
    setup: Setup,
    hyperparameters: Hyperparameters,
    learner: Learner,
    experience: Experience,
    weights: jax.Array,
    counts: jax.Array,
) -> tuple[Learner, Metrics]:
    """Makes one step of the policy along g, by Psi as weighted, and by the entropy of the steps that count."""

    def loss(policy_params):
        policy = setup.network.policy({**learner.params, "policy": policy_params}, experience.inputs)
        policy_loss = kernels.policy_gradient_loss(policy.log_prob(experience.actions), weights)
        entropy = jnp.mean(counts * policy.entropy())
        return policy_loss - hyperparameters.ent_coef * entropy, {"policy_loss": policy_loss, "entropy": entropy}

    optimizer = _optimizers(setup.config, hyperparameters, learner.params)["policy"]
    params, optimizer_state, metrics = minibatches.step(
        loss, optimizer, learner.params["policy"], learner.optimizer_state["policy"]
    )
    learner = learner.replace(
        params={**learner.params, "policy": params},
        optimizer_state={**learner.optimizer_state, "policy": optimizer_state},
    )
    return learner, metrics


if __name__ == "__main__":
    from purejaxrl_gae.cli import main

    main("reinforce")
