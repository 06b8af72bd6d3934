"""Writing policy.npz, which `purejaxrl_gae.runs.numpy_policy` acts from."""

import io
import json
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.environments import BoxActions
from purejaxrl_gae.program.actor_critic import MLP, ActorCritic
from purejaxrl_gae.program.types import Learner, Params, Setup
from purejaxrl_gae.runs.numpy_policy import FORMAT
from purejaxrl_gae.settings import parts, trust
from purejaxrl_gae.settings.config import ENVIRONMENT_FIELDS, to_plain
from purejaxrl_gae.settings.errors import UserError


def has_numpy_form(setup: Setup) -> bool:
    """Says whether the network is the built-in one, whose layers NumPy can act from."""
    return isinstance(setup.network, ActorCritic) and setup.network.cell is None


def policy_bytes(setup: Setup, learner: Learner) -> bytes:
    """Returns the contents of a policy.npz: weights, normaliser, action bounds, and what the environment was.

    Raises:
      UserError: the network is one that was handed in.
    """
    if not has_numpy_form(setup):
        name = parts.name_of(setup.config.network)
        raise UserError(f"network is {name}, from which NumPy cannot act; it must be separate or shared for that")
    network, actions, one_hot = setup.network, setup.environment.actions, setup.environment.one_hot
    plain = to_plain(setup.config)
    environment = trust.signed({name: plain[name] for name in ENVIRONMENT_FIELDS})
    signature = environment.pop(trust.SIGNATURE, None)
    layers: list[tuple[np.ndarray, np.ndarray, bool]] = []
    if network.trunk is not None:
        layers += _dense_layers(network.trunk, learner.params["encoder"])
    policy_params = learner.params["policy"]
    layers += _dense_layers(network.policy_network.mlp, policy_params["mlp"])

    arrays: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "environment": np.str_(json.dumps(environment)),
        "observation_shape": np.asarray(setup.environment.observation_shape, np.int64),
        "activation": np.str_(network.policy_network.mlp.activation),
        "activated": np.asarray([activated for *_, activated in layers]),
        "discrete": np.bool_(network.policy_network.discrete),
    }
    if signature is not None:
        arrays["signature"] = np.str_(signature)
    for index, (kernel, bias, _) in enumerate(layers):
        arrays[f"kernel_{index}"], arrays[f"bias_{index}"] = kernel, bias
    arrays |= _convolutions(network, learner.params)
    if one_hot is not None:
        arrays |= {
            "one_hot_shape": np.asarray(one_hot.shape, np.int64),
            "one_hot_sizes": np.asarray(one_hot.sizes, np.int64),
            "one_hot_starts": np.asarray(one_hot.starts, np.int64),
        }
    if isinstance(actions, BoxActions):
        offset = policy_params.get("log_std_offset", np.zeros(actions.size, np.float32))
        arrays["log_std"] = np.asarray(network.policy_network.log_std_init + np.asarray(offset), np.float32)
        arrays["action_shape"] = np.asarray(actions.shape, np.int64)
        arrays["action_low"] = np.asarray(actions.low, np.float32)
        arrays["action_high"] = np.asarray(actions.high, np.float32)
        arrays["action_bounds"] = np.str_(network.action_bounds)
    moments = learner.normalizers.observations
    if moments is not None:
        arrays["observation_mean"] = np.asarray(jax.device_get(moments.mean), np.float32)
        arrays["observation_variance"] = np.asarray(jax.device_get(moments.variance), np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _convolutions(network: ActorCritic, params: Params) -> dict[str, Any]:
    """Returns the arrays of the convolutions before the dense layers; none where there are none."""
    mlp, mlp_params = network.policy_network.mlp, params["policy"]["mlp"]
    if network.trunk is not None:
        mlp, mlp_params = network.trunk, params["encoder"]
    if mlp.convolutions is None:
        return {}
    arrays: dict[str, Any] = {
        "convolution_strides": np.asarray([layer.stride for layer in mlp.convolutions.layers], np.int64),
        "observation_scale": np.float64(mlp.convolutions.scale),
        "stack_first": np.bool_(mlp.convolutions.stack_first),
    }
    for index in range(len(mlp.convolutions.layers)):
        layer = mlp_params["convolutions"][f"Conv_{index}"]
        arrays[f"convolution_kernel_{index}"] = np.asarray(layer["kernel"])
        arrays[f"convolution_bias_{index}"] = np.asarray(layer["bias"])
    return arrays


def _dense_layers(mlp: MLP, params: Params) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Returns `(kernel, bias, activated)` of an MLP's layers, in order."""
    count = len(mlp.hidden_sizes) + (mlp.output_size is not None)
    layers = [params[f"Dense_{index}"] for index in range(count)]
    return [
        (np.asarray(layer["kernel"]), np.asarray(layer["bias"]), index < len(mlp.hidden_sizes))
        for index, layer in enumerate(layers)
    ]
