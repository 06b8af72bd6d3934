"""Policies for tests: random ones, and what stands in a JSON file as a `NumpyPolicy`."""

import numpy as np

from purejaxrl_gae.runs.numpy_policy import NumpyPolicy
from purejaxrl_gae.runs.numpy_spaces import NumpyActions, NumpyLeaf, NumpyLeaves

REAL_ACTIONS = NumpyActions(
    "box", (2,), low=np.array([-0.75, -0.25]), high=np.array([0.2, 1.1], np.float32).astype(float)
)


def one_array(shape, normalized, one_hot=None):
    return NumpyLeaves((NumpyLeaf((), shape, normalized, one_hot),), None)


def random_policy(rng, *, real_actions=False, normalized=True, **changes):
    """Three observations, two layers, two actions; numbers in float32 as training leaves them."""

    def numbers(*shape):
        return rng.normal(size=shape).astype(np.float32)

    layers = [(numbers(3, 4), numbers(4), True), (numbers(4, 2), numbers(2), False)]
    parts = {
        "environment": {"env": "Pendulum-v1"},
        "observations": one_array((3,), normalized),
        "mean": numbers(3) if normalized else None,
        "variance": numbers(3) ** 2 if normalized else None,
        "clip": 10.0,
        "layers": [(kernel.astype(float), bias.astype(float), activated) for kernel, bias, activated in layers],
        "convolutions": None,
        "activation": "tanh",
        "actions": REAL_ACTIONS if real_actions else NumpyActions("discrete", sizes=(2,)),
        "log_std": numbers(2).astype(float) if real_actions else np.zeros(0),
    }
    return NumpyPolicy(**{**parts, **changes})


def from_json(values):
    """The policy that a JSON object holds; what `outputs` adds to a variance is taken off the deviation's square."""

    def array(numbers):
        return None if numbers is None else np.array(numbers, np.float32).astype(float)

    deviation, num_outputs = array(values["deviation"]), len(values["layers"][-1]["bias"])
    low, high, shape = array(values["low"]), array(values["high"]), tuple(values["action_shape"])
    discrete = NumpyActions("discrete", sizes=(num_outputs,))
    return NumpyPolicy(
        environment={"env": values["environment"]},
        observations=one_array(tuple(values["observation_shape"]), deviation is not None),
        mean=array(values["mean"]),
        variance=None if deviation is None else deviation**2 - 1e-8,
        clip=values["clip"],
        layers=[(array(layer["kernel"]), array(layer["bias"]), layer["activated"]) for layer in values["layers"]],
        convolutions=None,
        activation=values["activation"],
        actions=discrete if values["discrete"] else NumpyActions("box", shape, low=low, high=high),
        log_std=np.zeros(0) if values["discrete"] else array(values["log_std"]),
        action_bounds=values["action_bounds"],
    )
