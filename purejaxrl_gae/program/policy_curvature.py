"""The Fisher matrix of a policy network, by whichever product is cheaper for it."""

from typing import Any

import jax
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.environments import BoxActions, DiscreteActions
from purejaxrl_gae.kernels.dense_fisher import dense_factors, dense_fisher_product
from purejaxrl_gae.kernels.fisher import MatrixVectorProduct
from purejaxrl_gae.program.actor_critic import ActorCritic
from purejaxrl_gae.program.encoders import ACTIVATIONS
from purejaxrl_gae.program.types import Inputs, Network, Params

MOST_OUTPUTS = 1  # with more, passes over `[outputs, B, width]` cost more on a CPU than the matrix products they save


def make_policy_fisher_product(
    network: Network, params: Params, inputs: Inputs, *, damping: float | jax.Array
) -> MatrixVectorProduct:
    """Makes v -> F v + damping v for the policy's parameters as one vector; see `kernels.make_fisher_vector_product`.

    Args:
      network: with a policy of its own.
      params: of all networks.
      inputs: observations `[B, *shape]`, or a Sequence.
      damping: c of F + c I.
    """
    flat, unravel = ravel_pytree(params["policy"])
    if not (isinstance(network, ActorCritic) and uses_dense_product(network)):

        def policy(flat, inputs):
            return network.policy({**params, "policy": unravel(flat)}, inputs)

        return kernels.make_fisher_vector_product(policy, flat, inputs, damping=damping)

    mlp = network.policy_network.mlp
    names = [f"Dense_{index}" for index in range(len(mlp.hidden_sizes) + 1)]

    def layers_of(tree: Any) -> list[tuple[jax.Array, jax.Array]]:
        return [(tree["mlp"][name]["kernel"], tree["mlp"][name]["bias"]) for name in names]

    flat_inputs = network.observed["policy"].flatten(inputs)
    _, factors = dense_factors(layers_of(params["policy"]), ACTIVATIONS[mlp.activation], flat_inputs)
    distribution: Any = network.policy(params, inputs)

    def product(vector):
        tree = unravel(vector)
        layers, log_std = dense_fisher_product(factors, distribution, layers_of(tree), tree.get("log_std_offset"))
        curved: dict[str, Any] = {
            "mlp": {name: {"kernel": k, "bias": b} for name, (k, b) in zip(names, layers, strict=True)}
        }
        if log_std is not None:
            curved["log_std_offset"] = log_std
        return ravel_pytree(curved)[0] + damping * vector

    return product


def uses_dense_product(network: Network) -> bool:
    """Says whether the policy is the built-in dense layers of its own, with one output, or few enough."""
    if not isinstance(network, ActorCritic):
        return False
    mlp, actions = network.policy_network.mlp, network.policy_network.actions
    if not isinstance(actions, (DiscreteActions, BoxActions)):
        return False
    return network.trunk is None and mlp.convolutions is None and (mlp.output_size or 0) <= MOST_OUTPUTS
