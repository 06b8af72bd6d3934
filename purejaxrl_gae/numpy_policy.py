"""A trained policy that acts from NumPy alone: no JAX, no flax, nothing compiled.

    from purejaxrl_gae.numpy_policy import load_policy
    policy = load_policy("runs/.../policy.npz")
    action = policy.act(observation)

The file holds plain arrays, so any language that reads .npz can do the same; `NumpyPolicy` says how.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any, BinaryIO

import numpy as np

FORMAT = 2  # 1 had no convolutions and clipped all real actions
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


@dataclass(frozen=True)
class NumpyConvolutions:
    """Convolutions without padding, each followed by the activation.

    Attributes:
      layers: `(kernel [size, size, channels, filters], bias [filters], stride)` in order.
      scale: multiplies observations.
      stack_first: observations are `[C, H, W]`; otherwise `[H, W, C]`.
    """

    layers: list[tuple[np.ndarray, np.ndarray, int]]
    scale: float
    stack_first: bool

    def features(self, images: np.ndarray, activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """`[B, *observation_shape] -> [B, features]`."""
        images = images * self.scale
        if self.stack_first:
            images = np.moveaxis(images, 1, -1)
        for kernel, bias, stride in self.layers:
            windows = np.lib.stride_tricks.sliding_window_view(images, kernel.shape[:2], axis=(1, 2))
            windows = np.moveaxis(windows[:, ::stride, ::stride], 3, -1)  # [B, H', W', size, size, channels]
            rows = windows.reshape(*windows.shape[:3], -1)
            images = activation(rows @ kernel.reshape(-1, kernel.shape[-1]) + bias)
        return images.reshape(images.shape[0], -1)


@dataclass(frozen=True)
class NumpyPolicy:
    """Dense layers and what surrounds them; computed in float64.

    Attributes:
      environment: what it was trained in, as arguments of `environments.make_environment`; empty where unknown.
      observation_shape: of one observation.
      mean: `[*observation_shape]` subtracted from observations, or None where they are not normalised.
      variance: divides them, as a standard deviation.
      clip: bound of normalised observations.
      layers: `(kernel [inputs, outputs], bias [outputs], activated)` in order.
      convolutions: before the layers, or None.
      activation: name of the activation.
      discrete: actions are indices; otherwise real vectors.
      log_std: `[A]`, or None where discrete.
      action_shape: of one real action.
      low: `[A]` lower bounds of real actions.
      high: `[A]` upper bounds.
      action_bounds: how real actions get there: `clip`; `scale` from -1 and 1; or `tanh`, then scale.
    """

    environment: dict[str, Any]
    observation_shape: tuple[int, ...]
    mean: np.ndarray | None
    variance: np.ndarray | None
    clip: float
    layers: list[tuple[np.ndarray, np.ndarray, bool]]
    convolutions: NumpyConvolutions | None
    activation: str
    discrete: bool
    log_std: np.ndarray | None
    action_shape: tuple[int, ...]
    low: np.ndarray | None
    high: np.ndarray | None
    action_bounds: str = "clip"

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """Logits `[..., n]` or means `[..., A]` of `[..., *observation_shape]` observations."""
        observations = np.asarray(observations, np.float64)
        batch_shape = observations.shape[: observations.ndim - len(self.observation_shape)]
        if observations.shape[len(batch_shape) :] != self.observation_shape:
            raise ValueError(f"observations have shape {observations.shape}; they must end in {self.observation_shape}")
        if self.mean is not None and self.variance is not None:
            standardized = (observations - self.mean) / np.sqrt(self.variance + 1e-8)
            observations = np.clip(standardized, -self.clip, self.clip)
        activation = ACTIVATIONS[self.activation]
        if self.convolutions is not None:
            images = observations.reshape(-1, *self.observation_shape)
            observations = self.convolutions.features(images, activation)
        features = observations.reshape(*batch_shape, -1)
        for kernel, bias, activated in self.layers:
            features = features @ kernel + bias
            if activated:
                features = activation(features)
        return features

    def act(self, observations: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Actions for one observation or a batch, within the bounds.

        Args:
          observations: `[..., *observation_shape]`.
          rng: sample with it; the most probable action without it.
        """
        outputs = self.outputs(observations)
        if self.discrete:
            if rng is not None:
                outputs = outputs + rng.gumbel(size=outputs.shape)
            return np.argmax(outputs, axis=-1)
        if rng is not None and self.log_std is not None:
            outputs = outputs + np.exp(self.log_std) * rng.standard_normal(outputs.shape)
        if self.action_bounds != "clip" and self.low is not None and self.high is not None:
            within_one = np.tanh(outputs) if self.action_bounds == "tanh" else np.clip(outputs, -1.0, 1.0)
            outputs = self.low + 0.5 * (within_one + 1.0) * (self.high - self.low)
        return np.clip(outputs, self.low, self.high).reshape(*outputs.shape[:-1], *self.action_shape)


def load_policy(path: str | PathLike[str] | BinaryIO) -> NumpyPolicy:
    """Reads a policy.npz, from a path or an open file.

    Raises:
      ValueError: it is of a newer format, or not a policy.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in getattr(file, "files", ())}
    if "format" not in arrays or int(arrays["format"]) > FORMAT:
        raise ValueError(f"{path} is not a policy of format {FORMAT} or older")
    layers = [
        (arrays[f"kernel_{index}"].astype(np.float64), arrays[f"bias_{index}"].astype(np.float64), bool(activated))
        for index, activated in enumerate(arrays["activated"])
    ]
    return NumpyPolicy(
        environment=json.loads(str(arrays["environment"])) if "environment" in arrays else {},
        observation_shape=tuple(int(size) for size in arrays["observation_shape"]),
        mean=arrays.get("observation_mean"),
        variance=arrays.get("observation_variance"),
        clip=10.0,
        layers=layers,
        convolutions=_convolutions(arrays),
        activation=str(arrays["activation"]),
        discrete=bool(arrays["discrete"]),
        log_std=arrays.get("log_std"),
        action_shape=tuple(int(size) for size in arrays.get("action_shape", ())),
        low=arrays.get("action_low"),
        high=arrays.get("action_high"),
        action_bounds=str(arrays.get("action_bounds", "clip")),
    )


def _convolutions(arrays: dict[str, np.ndarray]) -> NumpyConvolutions | None:
    if "convolution_strides" not in arrays:
        return None
    layers = [
        (arrays[f"convolution_kernel_{i}"].astype(float), arrays[f"convolution_bias_{i}"].astype(float), int(stride))
        for i, stride in enumerate(arrays["convolution_strides"])
    ]
    return NumpyConvolutions(layers, float(arrays["observation_scale"]), bool(arrays["stack_first"]))
