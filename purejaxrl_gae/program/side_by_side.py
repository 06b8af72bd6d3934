"""Policy and value function of the same inputs: two networks of equal layers as one, where kernels are what they cost.

On an accelerator a small network takes as long as its kernels are many. The layers of two that are alike make one
batched product each, half the kernels forwards and backwards; on a CPU nothing is gained by it.
"""

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.kernels import in_float32
from purejaxrl_gae.parallel.platform import takes_branches
from purejaxrl_gae.program.actor_critic import ActorCritic
from purejaxrl_gae.program.encoders import ACTIVATIONS
from purejaxrl_gae.program.types import Distribution, Inputs, Network, Params

WIDEST = 256  # units of a layer whose product takes no longer than it takes to start it


def policy_and_value(network: Network, params: Params, inputs: Inputs) -> tuple[Distribution, jax.Array]:
    """Returns `(network.policy(params, inputs), network.value(params, inputs))`, up to rounding.

    Args:
      network: any; a built-in one of two equal parts without memory is computed as one.
      params: its parameters.
      inputs: `[..., *shape]` observations, or a Sequence of them.
    """
    if not isinstance(network, ActorCritic):
        return network.policy(params, inputs), network.value(params, inputs)
    if takes_branches() or not _are_alike(network):
        return network.policy_and_value(params, inputs)
    return _at_once(network, params, inputs)


def _are_alike(network: ActorCritic) -> bool:
    """Returns whether the hidden layers of both are the same but for the weights, and small."""
    mlps = [network.policy_network.mlp, network.value_network]
    return (
        network.trunk is None
        and network.mask is None
        and not network.has_action_values
        and network.observed["policy"] == network.observed["value"]
        and all(mlp.convolutions is None and 0 < max(mlp.hidden_sizes, default=0) <= WIDEST for mlp in mlps)
    )


@in_float32  # the policy's products are, and one product has one precision
def _at_once(network: ActorCritic, params: Params, inputs: Any) -> tuple[Distribution, jax.Array]:
    policy, value = network.policy_network, network.value_network
    weights = {"policy": params["policy"]["mlp"], "value": params["value"]}
    flat = network.observed["policy"].flatten(inputs)
    features = jnp.broadcast_to(flat, (2, *flat.shape))
    for index in range(len(value.hidden_sizes) + 1):
        if index:
            features = ACTIVATIONS[value.activation](features)
        layer = jax.tree.map(_stack, *(each[f"Dense_{index}"] for each in weights.values()))
        bias = jnp.expand_dims(layer["bias"], tuple(range(1, flat.ndim)))
        features = jnp.einsum("k...i,kij->k...j", features, layer["kernel"]) + bias
    head = policy.clone(mlp=policy.mlp.clone(hidden_sizes=(), output_size=None))
    own = {name: leaf for name, leaf in params["policy"].items() if name != "mlp"}
    distribution: Any = head.apply({"params": own}, features[0])
    return distribution, features[1, ..., 0]


def _stack(policy: jax.Array, value: jax.Array) -> jax.Array:
    """Stacks weights of a layer, the value's only output widened by zeros to as many as the policy has."""
    missing = policy.shape[-1] - value.shape[-1]
    return jnp.stack([policy, jnp.pad(value, [(0, 0)] * (value.ndim - 1) + [(0, missing)])])
