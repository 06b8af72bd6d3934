"""Writing the policy of a run into a file, which `purejaxrl_gae.load_policy` reads."""

import dataclasses
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.environments import ActionSpace, BoxActions, DiscreteActions, JointActions, MultiDiscreteActions
from purejaxrl_gae.environments.structures import is_structured, leaf_names
from purejaxrl_gae.program.actor_critic import MLP, ActorCritic
from purejaxrl_gae.program.heads import num_deviations
from purejaxrl_gae.program.observed import Observed
from purejaxrl_gae.program.types import Learner, Params, Setup
from purejaxrl_gae.runs.folder import rescue
from purejaxrl_gae.runs.numpy_policy import FORMAT
from purejaxrl_gae.runs.programs import agent_of
from purejaxrl_gae.runs.run_folder import RunFolder
from purejaxrl_gae.settings import trust
from purejaxrl_gae.settings.config import ENVIRONMENT_FIELDS, to_plain
from purejaxrl_gae.settings.errors import UserError

WITHOUT_STRUCTURES = 3  # the format of a policy that older versions read too


def make_policy_writer(setup: Setup, learner: Learner) -> tuple[str, Callable[[Learner], bytes]]:
    """Returns the name of a policy's file, and what makes its contents of any learner.

    It is a policy.npz of our own layers, from which NumPy acts, and a policy.stablehlo of any other network.

    Args:
      setup: static parts.
      learner: one of those it will be of, or its shapes and types.

    Raises:
      UserError: the network is one that was handed in, and cannot be exported.
    """
    if isinstance(setup.network, ActorCritic):
        return "policy.npz", lambda learner: _contents(setup, _layers(setup, setup.network, learner))
    try:
        from purejaxrl_gae.runs.program_export import exported

        program = exported(setup, learner)
    except ImportError as error:
        raise UserError(f"policy.stablehlo needs a package that is missing: {error}") from error
    return "policy.stablehlo", lambda learner: _contents(setup, _program(setup, learner, program))


def write_policies(
    folder: RunFolder, setup: Setup, learners: Learner, seeds: np.ndarray, complain: Callable[[str], None]
) -> tuple[Path | None, str]:
    """Writes the policy's file, or one in the folder of each of several seeds.

    Args:
      folder: of the run.
      setup: static parts.
      learners: `[S]`.
      seeds: `[S]`.
      complain: is told where the network has no form as a file.

    Returns:
      `(path, rescued)`: the first file; and where one could not be written, a part of a sentence that says where it is
      instead.
    """
    each = [agent_of(learners, index) for index in range(len(seeds))]
    try:
        file_name, contents = make_policy_writer(setup, each[0])
    except UserError as error:
        complain(f"note: the policy has no file of its own: {error}")
        return None, ""
    names = [file_name] if len(seeds) == 1 else [f"seed_{seed}/{file_name}" for seed in seeds]
    homeless: dict[str, bytes] = {}
    for name, learner in zip(names, each, strict=True):
        policy = contents(learner)
        if not folder.write_file(name, policy):
            homeless[name.replace("/", "_")] = policy
    if not homeless:
        return folder.path / names[0], ""
    refuge = rescue(folder.path.resolve().name, homeless)
    return None, f"; the policy is in {refuge}" if refuge else "; no other place took the policy either"


def _contents(setup: Setup, policy: dict[str, Any]) -> bytes:
    """Makes a policy's file: its arrays, and where it was trained."""
    plain = to_plain(setup.config)
    environment = trust.signed({name: plain[name] for name in ENVIRONMENT_FIELDS})
    signature = environment.pop(trust.SIGNATURE, None)
    arrays = policy | {"environment": np.str_(json.dumps(environment))}
    if signature is not None:
        arrays["signature"] = np.str_(signature)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _program(setup: Setup, learner: Learner, program: Any) -> dict[str, Any]:
    """Returns the arrays of a policy.stablehlo: the program, its weights, and what it takes and gives."""
    from purejaxrl_gae.runs.program_export import program_arrays

    described = {"seen": list(_leaves(setup.environment, None).values()), "mask": None}
    return program_arrays(setup, learner, program) | {
        "observations": np.str_(json.dumps(described)),
        "actions": np.str_(json.dumps(actions_in_json(setup.environment.actions))),
    }


def _layers(setup: Setup, network: ActorCritic, learner: Learner) -> dict[str, Any]:
    """Returns the arrays of a policy.npz: weights, normaliser and action bounds."""
    layers: list[tuple[np.ndarray, np.ndarray, bool]] = []
    trunk_params, cell_params = network.trunk_of_policy(learner.params)
    if network.trunk is not None:
        layers += _dense_layers(network.trunk, trunk_params)
    layers_before_cell = len(layers)
    policy_params = learner.params["policy"]
    layers += _dense_layers(network.policy_network.mlp, policy_params["mlp"])

    arrays: dict[str, Any] = {
        "activation": np.str_(network.policy_network.mlp.activation),
        "activated": np.asarray([activated for *_, activated in layers]),
        **_observations(setup, learner),
        **_actions(setup, policy_params),
    }
    # Whatever an older version could read says so, so that it still can.
    is_new = bool({"observations", "actions"} & arrays.keys() or cell_params)
    arrays["format"] = np.int64(FORMAT if is_new else WITHOUT_STRUCTURES)
    for index, (kernel, bias, _) in enumerate(layers):
        arrays[f"kernel_{index}"], arrays[f"bias_{index}"] = kernel, bias
    if cell_params:
        arrays |= {"cell": np.str_(setup.config.memory), "layers_before_cell": np.int64(layers_before_cell)}
        arrays |= {f"cell_{name}": np.asarray(leaf) for name, leaf in cell_params.items()}
    return arrays | _convolutions(network, learner.params)


def _observations(setup: Setup, learner: Learner) -> dict[str, Any]:
    """Returns the arrays that say what the policy sees, and how it is normalised."""
    environment, seen, moments = setup.environment, setup.network.observed["policy"], learner.normalizers.observations
    one_hot = environment.one_hot
    if not is_structured(environment.observations):
        arrays: dict[str, Any] = {"observation_shape": np.asarray(environment.observation_shape, np.int64)}
        if one_hot is not None:
            numbers = {name: np.asarray(getattr(one_hot, name), np.int64) for name in ("shape", "sizes", "starts")}
            arrays |= {f"one_hot_{name}": array for name, array in numbers.items()}
        if moments is not None:
            arrays["observation_mean"] = np.asarray(jax.device_get(moments.mean), np.float32)
            arrays["observation_variance"] = np.asarray(jax.device_get(moments.variance), np.float32)
        return arrays
    leaves = _leaves(environment, moments)
    described = {"seen": [leaves[name] for name in seen.names], "mask": leaves.get(setup.network.mask)}
    arrays = {"observations": np.str_(json.dumps(described))}
    if moments is not None:
        arrays |= _moments_of(environment, seen, moments)
    return arrays


def _leaves(environment: Any, moments: Any) -> dict[str, Any]:
    """Returns what JSON says of each array of an observation, by name."""
    paths, structure = jax.tree_util.tree_flatten_with_path(environment.observations)
    form: Any = structure
    own_moments = [None] * len(paths) if moments is None else form.flatten_up_to(moments)
    one_hot = environment.one_hot
    encodings = [None] * len(paths) if one_hot is None else getattr(one_hot, "leaves", [one_hot])
    described = [
        {
            "path": [getattr(key, "key", getattr(key, "idx", None)) for key in path],
            "shape": list(leaf.shape),
            "normalized": own is not None,
            "one_hot": None if encoding is None else dataclasses.asdict(encoding),
        }
        for (path, leaf), own, encoding in zip(paths, own_moments, encodings, strict=True)
    ]
    return dict(zip(leaf_names(environment.observations), described, strict=True))


def _moments_of(environment: Any, seen: Observed, moments: Any) -> dict[str, np.ndarray]:
    """Returns mean and variance of the numbers that the policy sees; 0 and 1 of those that are not normalised."""
    structure: Any = jax.tree.structure(environment.observations)
    by_name = dict(zip(leaf_names(environment.observations), structure.flatten_up_to(moments), strict=True))
    arrays = {}
    for name, default in (("mean", 0.0), ("variance", 1.0)):
        each = [
            np.full(math.prod(shape), default) if by_name[leaf] is None else np.ravel(getattr(by_name[leaf], name))
            for leaf, shape in seen.shapes.items()
        ]
        arrays[f"observation_{name}"] = np.concatenate(each).astype(np.float32)
    return arrays


def _actions(setup: Setup, policy_params: Params) -> dict[str, Any]:
    """Returns the arrays that say what the outputs stand for."""
    network, actions = setup.network, setup.environment.actions
    arrays: dict[str, Any] = {"discrete": np.bool_(isinstance(actions, DiscreteActions))}
    size = num_deviations(actions)
    if size:
        offset = policy_params.get("log_std_offset", np.zeros(size, np.float32))
        arrays["log_std"] = np.asarray(network.policy_network.log_std_init + np.asarray(offset), np.float32)
        arrays["action_bounds"] = np.str_(setup.config.action_bounds)
    if isinstance(actions, BoxActions):
        arrays["action_shape"] = np.asarray(actions.shape, np.int64)
        arrays["action_low"] = np.asarray(actions.low, np.float32)
        arrays["action_high"] = np.asarray(actions.high, np.float32)
    elif not isinstance(actions, DiscreteActions):
        arrays["actions"] = np.str_(json.dumps(actions_in_json(actions)))
    return arrays


def actions_in_json(space: ActionSpace) -> dict[str, Any]:
    """Returns what JSON says of an action space."""
    if isinstance(space, JointActions):
        return {"kind": "joint", "parts": [actions_in_json(part) for part in space.spaces], "names": space.names}
    if isinstance(space, DiscreteActions):
        return {"kind": "discrete", "sizes": [space.n]}
    if isinstance(space, MultiDiscreteActions):
        return {"kind": "multi_discrete", "sizes": space.sizes, "shape": space.shape}
    if isinstance(space, BoxActions):
        return {"kind": "box", "shape": space.shape, "low": space.low, "high": space.high}
    return {"kind": "binary", "shape": space.shape}


def _convolutions(network: ActorCritic, params: Params) -> dict[str, Any]:
    """Returns the arrays of the convolutions before the dense layers; none where there are none."""
    mlp, mlp_params = network.policy_network.mlp, params["policy"]["mlp"]
    if network.trunk is not None:
        mlp, mlp_params = network.trunk, network.trunk_of_policy(params)[0]
    if mlp.convolutions is None:
        return {}
    arrays: dict[str, Any] = {
        "convolution_strides": np.asarray([layer.stride for layer in mlp.convolutions.layers], np.int64),
        "observation_scale": np.float64(mlp.convolutions.scale),
        "stack_first": np.bool_(mlp.convolutions.stack_first),
    }
    if is_structured(network.observed["policy"].types):
        arrays["image_shape"] = np.asarray(mlp.convolutions.image_shape, np.int64)
        arrays["image_start"] = np.int64(mlp.convolutions.start)
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
