"""A policy file as JSON, for whatever reads no NumPy files; `docs/policy_player/policy.js` acts from it.

One object: `format`, `environment` (its name, or null), `observation_shape`, `activation`, `layers` (each `kernel`
`[inputs][outputs]`, `bias` `[outputs]`, `activated`), `discrete`, `action_shape`, `action_bounds`, `clip` (bound of
normalised observations) and, null where there is none, `mean` and `deviation` of observations, `log_std`, `low`, `high`.
Numbers are float32 in the shortest form that names them: round what is read to float32, then compute in float64.
"""

import json
from typing import Any

import numpy as np

from purejaxrl_gae.runs.numpy_policy import NumpyPolicy
from purejaxrl_gae.settings.errors import UserError

FORMAT = 1


def policy_json(policy: NumpyPolicy) -> str:
    """Returns a policy of dense layers on real observations as JSON.

    Raises:
      UserError: it has other parts.
    """
    if policy.convolutions is not None or policy.one_hot is not None:
        part = "observations that are whole numbers" if policy.convolutions is None else "convolutions"
        raise UserError(f"policy has {part}; as JSON it must have dense layers on real observations alone")
    deviation = None if policy.variance is None else np.sqrt(policy.variance + 1e-8)
    values = {
        "format": FORMAT,
        "environment": policy.environment.get("env"),
        "observation_shape": list(policy.observation_shape),
        "mean": _numbers(policy.mean),
        "deviation": _numbers(deviation),
        "clip": policy.clip,
        "activation": policy.activation,
        "layers": [
            {"kernel": _numbers(kernel), "bias": _numbers(bias), "activated": activated}
            for kernel, bias, activated in policy.layers
        ],
        "discrete": policy.discrete,
        "log_std": _numbers(policy.log_std),
        "action_shape": list(policy.action_shape),
        "low": _numbers(policy.low),
        "high": _numbers(policy.high),
        "action_bounds": policy.action_bounds,
    }
    return json.dumps(values, allow_nan=False, separators=(",", ":"))


def _numbers(array: np.ndarray | None) -> Any:
    """Returns nested lists of the shortest numbers that round to the array's float32 ones."""
    if array is None:
        return None
    shortest = [float(str(number)) for number in np.asarray(array, np.float32).ravel()]
    return np.reshape(shortest, np.shape(array)).tolist()
