"""Policies for tests: random ones, and what stands in a JSON file as a `NumpyPolicy`."""

import numpy as np

from purejaxrl_gae.runs.numpy_policy import NumpyPolicy


def random_policy(rng, *, discrete=True, normalized=True, **changes):
    """Three observations, two layers, two actions; numbers in float32 as training leaves them."""

    def numbers(*shape):
        return rng.normal(size=shape).astype(np.float32)

    shapes = ((3, 4), (4, 2))
    parts = {
        "environment": {"env": "Pendulum-v1"},
        "observation_shape": (3,),
        "mean": numbers(3) if normalized else None,
        "variance": numbers(3) ** 2 if normalized else None,
        "clip": 10.0,
        "layers": [
            (numbers(*shape).astype(np.float64), numbers(shape[1]).astype(np.float64), index == 0)
            for index, shape in enumerate(shapes)
        ],
        "convolutions": None,
        "activation": "tanh",
        "discrete": discrete,
        "log_std": None if discrete else numbers(2),
        "action_shape": () if discrete else (2,),
        "low": None if discrete else np.array([-0.7, -0.3], np.float32),
        "high": None if discrete else np.array([0.2, 1.1], np.float32),
    }
    return NumpyPolicy(**{**parts, **changes})


def from_json(values):
    """The policy that a JSON object holds; what `outputs` adds to a variance is taken off the deviation's square."""

    def array(numbers):
        return None if numbers is None else np.array(numbers, np.float32)

    deviation = array(values["deviation"])
    return NumpyPolicy(
        environment={"env": values["environment"]},
        observation_shape=tuple(values["observation_shape"]),
        mean=array(values["mean"]),
        variance=None if deviation is None else deviation.astype(np.float64) ** 2 - 1e-8,
        clip=values["clip"],
        layers=[
            (array(layer["kernel"]).astype(np.float64), array(layer["bias"]).astype(np.float64), layer["activated"])
            for layer in values["layers"]
        ],
        convolutions=None,
        activation=values["activation"],
        discrete=values["discrete"],
        log_std=array(values["log_std"]),
        action_shape=tuple(values["action_shape"]),
        low=array(values["low"]),
        high=array(values["high"]),
        action_bounds=values["action_bounds"],
    )
