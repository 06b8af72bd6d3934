"""TRPO's policy step: within a trust region by the natural gradient, or with the constraint turned into a penalty."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.program import minibatches
from purejaxrl_gae.program.optimizers import make_optimizer
from purejaxrl_gae.program.policy_curvature import make_policy_fisher_product
from purejaxrl_gae.program.types import Distribution, Hyperparameters, Learner, Metrics, Setup


class Samples(NamedTuple):
    """The rollout as the policy's update needs it, `[B, ...]` each; with memory `[T, N, ...]`.

    Attributes:
      observations: as the networks see them, with memory a Sequence.
      actions: as sampled.
      log_probs: log pi_old(a|s).
      distribution: pi_old(.|s).
      advantages: normalised where that is on.
    """

    observations: jax.Array
    actions: jax.Array
    log_probs: jax.Array
    distribution: Distribution
    advantages: jax.Array


def step_in_trust_region(
    setup: Setup, hyperparameters: Hyperparameters, learner: Learner, samples: Samples, keys: jax.Array
) -> tuple[Learner, Metrics]:
    """Makes the natural-gradient step of the policy; everything else of the learner stays as it is."""
    config = setup.config
    flat_params, unravel = ravel_pytree(learner.params["policy"])

    def policy(flat, observations):
        return setup.network.policy({**learner.params, "policy": unravel(flat)}, observations)

    def surrogate_and_kl(flat):
        new = policy(flat, samples.observations)
        surrogate = -kernels.unclipped_loss(new.log_prob(samples.actions), samples.log_probs, samples.advantages)
        surrogate += hyperparameters.ent_coef * jnp.mean(new.entropy())
        return surrogate, jnp.mean(samples.distribution.kl_divergence(new))

    (objective, _), gradient = jax.value_and_grad(surrogate_and_kl, has_aux=True)(flat_params)
    observations = samples.observations
    if config.fisher_subsampling > 1:
        size = samples.advantages.size // minibatches.steps_of_sample(samples)
        chosen = kernels.permutation(keys[0], size)[: size // config.fisher_subsampling]
        observations = minibatches.take(observations, chosen)
    fisher = make_policy_fisher_product(setup.network, learner.params, observations, damping=hyperparameters.cg_damping)
    step = kernels.natural_gradient_step(
        surrogate_and_kl,
        fisher,
        flat_params,
        gradient,
        objective=objective,
        max_divergence=hyperparameters.target_kl,
        cg_max_steps=config.cg_max_steps,
        cg_tolerance=hyperparameters.cg_tolerance,
        shrinking_factor=hyperparameters.line_search_shrinking_factor,
        max_steps=config.line_search_max_iter,
        acceptance_ratio=hyperparameters.acceptance_ratio,
        compound_expectation=config.compound_expectation,
    )
    params = {**learner.params, "policy": unravel(step.search.params)}
    return learner.replace(params=params), {"policy_loss": -objective, **_metrics_of(step)}


def _metrics_of(step: kernels.NaturalGradientResult) -> Metrics:
    """Returns what a natural-gradient step did, scalars."""
    search = step.search
    promised = step.expected_improvement * search.step_fraction
    return {
        "kl": search.divergence,
        "expected_improvement": promised,
        "actual_improvement": search.improvement,
        "improvement_ratio": jnp.where(
            promised > 0.0, search.improvement / jnp.where(promised > 0.0, promised, 1.0), 0.0
        ),
        "step_fraction": search.step_fraction,
        "cg_residual": step.residual,
        "cg_iterations": step.iterations.astype(jnp.float32),
        "xhx": step.curvature,
        "line_search_failed": step.failed.astype(jnp.float32),
    }


def descend_penalised(
    setup: Setup, hyperparameters: Hyperparameters, learner: Learner, samples: Samples, keys: jax.Array
) -> tuple[Learner, Metrics]:
    """Passes the optimizer over E[-r A + beta KL(pi_old || pi)], the constraint turned into a penalty."""

    def loss(policy_params, minibatch):
        new = setup.network.policy({**learner.params, "policy": policy_params}, minibatch.observations)
        log_probs, kl = new.log_prob(minibatch.actions), minibatch.distribution.kl_divergence(new)
        penalised = kernels.kl_penalty_loss(
            log_probs, minibatch.log_probs, minibatch.advantages, kl, kl_coef=hyperparameters.kl_coef
        )
        penalised -= hyperparameters.ent_coef * jnp.mean(new.entropy())
        return penalised, {"policy_loss": penalised, "kl": jnp.mean(kl)}

    policy_params = learner.params["policy"]
    optimizer = make_optimizer(setup.config, hyperparameters, policy_params, rate="policy_learning_rate")
    params, optimizer_state, metrics = minibatches.passes(
        loss,
        optimizer,
        policy_params,
        learner.optimizer_state["policy"],
        samples,
        keys[1:],
        minibatch_size=setup.config.batch_size or samples.advantages.size,
    )
    optimizer_state = {**learner.optimizer_state, "policy": optimizer_state}
    return learner.replace(params={**learner.params, "policy": params}, optimizer_state=optimizer_state), metrics
