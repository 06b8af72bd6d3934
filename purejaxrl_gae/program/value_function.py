"""Fitting the value function apart from the policy: by passes of gradient descent, or in a trust region of its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.program import minibatches
from purejaxrl_gae.program.types import Metrics, Network, Params


class ValueSamples(NamedTuple):
    """Samples to fit the value function to; with memory `[T, B]` each.

    Attributes:
      observations: `[B, ...]` as the network sees them, with memory a Sequence.
      actions: `[B, ...]`, or None for a function of the state alone; see `Network.prediction`.
      targets: `[B]`.
      weights: `[B]` what each sample's error counts, 1 on average; 0 leaves it out. None: all count the same.
    """

    observations: jax.Array
    actions: jax.Array | None
    targets: jax.Array
    weights: jax.Array | None = None


def descend(
    network: Network,
    params: Params,
    optimizer: optax.GradientTransformation,
    optimizer_state: Any,
    samples: ValueSamples,
    keys: jax.Array,
    *,
    minibatch_size: int,
) -> tuple[Params, Any, Metrics]:
    """Passes over the samples in shuffled minibatches, minimising E[w (V - V_target)^2] / 2.

    Args:
      network: whose value function is fitted.
      params: of all of it; only `params["value"]` changes.
      optimizer: of the flat vector of `params["value"]`.
      optimizer_state: its state.
      samples: B of them.
      keys: one for each pass.
      minibatch_size: steps of a minibatch.

    Returns:
      `(params, optimizer_state, metrics)`.
    """

    def loss(value_params, minibatch):
        predicted = network.prediction({**params, "value": value_params}, minibatch.observations, minibatch.actions)
        value_loss = kernels.value_loss(predicted, minibatch.targets, weights=minibatch.weights)
        return value_loss, {"value_loss": value_loss}

    value_params, optimizer_state, metrics = minibatches.passes(
        loss, optimizer, params["value"], optimizer_state, samples, keys, minibatch_size=minibatch_size
    )
    return {**params, "value": value_params}, optimizer_state, metrics


def step_in_trust_region(
    network: Network,
    params: Params,
    samples: ValueSamples,
    *,
    trust_region: jax.Array,
    damping: float | jax.Array = 0.1,
    cg_max_steps: int = 10,
    cg_tolerance: float | jax.Array = 1e-8,
    shrinking_factor: float | jax.Array = 0.8,
    max_steps: int = 10,
) -> tuple[Params, Metrics]:
    """Makes the value function's own trust-region step (Schulman et al. 2016, eq. 28-30).

    minimise E[(V - V_target)^2] subject to E[(V - V_old)^2] / (2 sigma^2) <= epsilon, sigma^2 = E[(V_old - V_target)^2]

    The constraint's curvature is the Gauss-Newton matrix of V over sigma^2; everything else is the policy's
    natural-gradient step.

    Args:
      network: whose value function is fitted.
      params: of all of it; only `params["value"]` changes.
      samples: B of them, all of one weight.
      trust_region: epsilon.
      damping: added to the Gauss-Newton matrix's diagonal.
      cg_max_steps: conjugate gradient steps, static.
      cg_tolerance: residual, relative to the gradient, at which they stop early.
      shrinking_factor: by which a refused step is shortened.
      max_steps: lengths to try, static.

    Returns:
      `(params, metrics)`: value_loss before the step, value_distance of the step, value_step_failed.
    """
    assert samples.weights is None, "the trust region's step weighs all samples the same"
    flat_params, unravel = ravel_pytree(params["value"])

    def values(flat):
        return network.prediction({**params, "value": unravel(flat)}, samples.observations, samples.actions)

    def gain_and_distance(flat):
        new = values(flat)
        return -kernels.value_loss(new, samples.targets), jnp.mean((new - old) ** 2) / (2.0 * variance)

    old = values(flat_params)
    variance = jnp.mean((old - samples.targets) ** 2) + 1e-8  # sigma^2
    (objective, _), gradient = jax.value_and_grad(gain_and_distance, has_aux=True)(flat_params)
    step = kernels.natural_gradient_step(
        gain_and_distance,
        kernels.make_gauss_newton_product(values, flat_params, scale=1.0 / variance, damping=damping / variance),
        flat_params,
        gradient,
        objective=objective,
        max_divergence=trust_region,
        cg_max_steps=cg_max_steps,
        cg_tolerance=cg_tolerance,
        shrinking_factor=shrinking_factor,
        max_steps=max_steps,
    )
    metrics = {
        "value_loss": -objective,
        "value_distance": step.search.divergence,
        "value_step_failed": step.failed.astype(jnp.float32),
    }
    return {**params, "value": unravel(step.search.params)}, metrics
