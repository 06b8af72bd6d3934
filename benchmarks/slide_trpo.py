"""TRPO as a slide of document 000 has it: the line search takes returns for the new surrogate (fault 2).

The gradient and the old value are those of the advantages' surrogate, E[ r A ]; the new value is E[ r R ]. Normalised
advantages make the old one 0, so a step "gains" where the mean return is positive, and nowhere else. The listing at the
end of the document has advantages on both sides.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import TRPOConfig, kernels, trpo
from purejaxrl_gae.program import minibatches
from purejaxrl_gae.program.policy_step import Samples
from purejaxrl_gae.program.value_function import ValueSamples


@dataclass(frozen=True)
class SlideConfig(TRPOConfig):
    """TRPO's fields, for the algorithm of the slide."""

    algorithm: ClassVar[str] = "benchmarks.slide_trpo:SlideConfig"


def make_algorithm(config):
    """Makes TRPO with the slide's policy step."""
    algorithm = trpo.make_algorithm(config)
    return algorithm._replace(learn=partial(learn, algorithm.setup))


def learn(setup, hyperparameters, learner, experience, keys, progress):
    """Makes one policy step and one refit of the value function."""
    config, network = setup.config, setup.network
    advantages, returns = trpo.estimate_advantages(config, hyperparameters, experience)
    rows = Samples(experience.inputs, experience.actions, experience.log_probs, experience.distribution, advantages)
    samples, returns = minibatches.flatten_time((rows, returns))
    flat_params, unravel = ravel_pytree(learner.params["policy"])

    def policy(flat, observations):
        return network.policy({**learner.params, "policy": unravel(flat)}, observations)

    def surrogate_of(weights, flat):
        new = policy(flat, samples.observations)
        surrogate = -kernels.unclipped_loss(new.log_prob(samples.actions), samples.log_probs, weights)
        return surrogate, jnp.mean(samples.distribution.kl_divergence(new))

    (objective, _), gradient = jax.value_and_grad(partial(surrogate_of, samples.advantages), has_aux=True)(flat_params)
    step = kernels.natural_gradient_step(
        partial(surrogate_of, returns),  # the fault; of the advantages it would be TRPO
        kernels.make_fisher_vector_product(
            policy, flat_params, samples.observations, damping=hyperparameters.cg_damping
        ),
        flat_params,
        gradient,
        objective=objective,
        max_divergence=hyperparameters.target_kl,
        cg_max_steps=config.cg_max_steps,
        shrinking_factor=hyperparameters.line_search_shrinking_factor,
        max_steps=config.line_search_max_iter,
    )
    learner = learner.replace(params={**learner.params, "policy": unravel(step.search.params)})
    value_samples, value_keys = ValueSamples(samples.observations, None, returns), keys[1 + config.n_policy_updates :]
    learner, metrics = trpo.fit_values(setup, hyperparameters, learner, value_samples, value_keys)
    return learner, metrics | {"kl": step.search.divergence, "line_search_failed": step.failed.astype(jnp.float32)}
