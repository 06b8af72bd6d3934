"""A policy file as JSON, for whatever reads no NumPy files; `docs/policy_player/policy.js` acts from it.

One object: `format`, `environment` (its name, or null), `observation_shape`, `activation`, `layers` (each `kernel`
`[inputs][outputs]`, `bias` `[outputs]`, `activated`), `discrete`, `action_shape`, `action_bounds`, `clip` (bound of
normalised numbers) and, null where there is none, `mean` and `deviation` of observations, `log_std`, `low`, `high`.
Numbers are float32 in the shortest form that names them: round what is read to float32, then compute in float64.
"""

import json
from typing import Any

import numpy as np

from purejaxrl_gae.runs.numpy_policy import NumpyPolicy, NumpyRecurrentPolicy
from purejaxrl_gae.settings.errors import UserError

FORMAT = 1


def policy_json(policy: NumpyPolicy) -> str:
    """Returns a policy of dense layers, from one real array to discrete or real actions, as JSON.

    Raises:
      UserError: it has other parts.
    """
    _refuse_other_parts(policy)
    (leaf,) = policy.observations.seen
    actions, is_real = policy.actions, policy.actions.kind == "box"
    deviation = None if policy.variance is None else np.sqrt(policy.variance + 1e-8)
    values = {
        "format": FORMAT,
        "environment": policy.environment.get("env"),
        "observation_shape": list(leaf.shape),
        "mean": _numbers(policy.mean) if leaf.normalized else None,
        "deviation": _numbers(deviation) if leaf.normalized else None,
        "clip": policy.clip,
        "activation": policy.activation,
        "layers": [
            {"kernel": _numbers(kernel), "bias": _numbers(bias), "activated": activated}
            for kernel, bias, activated in policy.layers
        ],
        "discrete": not is_real,
        "log_std": _numbers(policy.log_std) if is_real else None,
        "action_shape": list(actions.shape),
        "low": _numbers(actions.low),
        "high": _numbers(actions.high),
        "action_bounds": policy.action_bounds,
    }
    return json.dumps(values, allow_nan=False, separators=(",", ":"))


def _refuse_other_parts(policy: NumpyPolicy) -> None:
    """Raises a UserError that names the first part that JSON has no place for."""
    seen = policy.observations.seen
    others = {
        "convolutions": policy.convolutions is not None,
        "memory": isinstance(policy, NumpyRecurrentPolicy),
        "observations of several arrays": len(seen) != 1 or bool(seen[0].path),
        "observations that are whole numbers": any(leaf.one_hot is not None for leaf in seen),
        "masks of actions": policy.observations.mask is not None,
        f"{policy.actions.kind} actions": policy.actions.kind not in ("discrete", "box"),
    }
    for part in (name for name, is_there in others.items() if is_there):
        form = "as JSON it has dense layers alone, from one real array to discrete or real actions"
        raise UserError(f"policy has {part}; {form}")


def _numbers(array: np.ndarray | None) -> Any:
    """Returns nested lists of the shortest numbers that round to the array's float32 ones."""
    if array is None:
        return None
    shortest = [float(str(number)) for number in np.asarray(array, np.float32).ravel()]
    return np.reshape(shortest, np.shape(array)).tolist()
