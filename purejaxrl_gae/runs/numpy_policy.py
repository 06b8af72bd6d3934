"""A trained policy that acts from NumPy alone: no JAX, no flax, nothing compiled.

    from purejaxrl_gae.runs.numpy_policy import load_policy
    policy = load_policy("runs/.../policy.npz")
    action = policy.act(observation)

The file holds plain arrays, so any language that reads .npz can do the same; `NumpyPolicy` says how.
"""

import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any, BinaryIO

import numpy as np

from purejaxrl_gae.runs.npz import StoredArrays
from purejaxrl_gae.settings import trust

FORMAT = 3  # 1 had no convolutions and clipped all real actions, 2 took no whole numbers
LARGEST = 2**30  # bytes of all arrays that are read
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

    def width(self, shape: tuple[int, ...]) -> int:
        """Returns how many features there are of one observation.

        Raises:
          ValueError: observations of that shape do not fit, or need more memory than any policy.
        """
        channels, *sides = shape if self.stack_first else (shape[-1], *shape[:-1])
        for kernel, bias, stride in self.layers:
            height, width, inputs, filters = kernel.shape
            sides = [(side - size) // stride + 1 for side, size in zip(sides, (height, width), strict=True)]
            if inputs != channels or bias.shape != (filters,) or min(sides) < 1:
                raise ValueError("it is not a policy.npz: its convolutions do not fit its observations")
            if math.prod(sides) * height * width * channels > LARGEST // 8:
                raise ValueError(f"one observation would need more than {LARGEST:,} bytes")
            channels = filters
        return math.prod(sides) * channels

    def features(self, images: np.ndarray, activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Maps `[B, *observation_shape]` to `[B, features]`."""
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
class NumpyOneHot:
    """Whole numbers as zeros and ones: each number is as many of them as it has values, with a 1 at its own.

    Attributes:
      shape: of one observation's numbers; () of a single one.
      sizes: `[k]` how many values each number has.
      starts: `[k]` the lowest value of each.
    """

    shape: tuple[int, ...]
    sizes: np.ndarray
    starts: np.ndarray

    def encode(self, numbers: np.ndarray) -> np.ndarray:
        """Encodes `[..., *shape]` as `[..., sum of sizes]`."""
        batch_shape = numbers.shape[: numbers.ndim - len(self.shape)]
        if numbers.shape[len(batch_shape) :] != self.shape:
            raise ValueError(f"whole numbers have shape {numbers.shape}; they must end in {self.shape}")
        each = np.split(numbers.reshape(*batch_shape, -1), len(self.sizes), axis=-1)
        values = [start + np.arange(size) for start, size in zip(self.starts, self.sizes, strict=True)]
        return np.concatenate([one == own for one, own in zip(each, values, strict=True)], axis=-1).astype(np.float64)


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
      one_hot: how whole numbers become observations, where the environment gives such; None elsewhere.
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
    one_hot: NumpyOneHot | None = None

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """Computes logits `[..., n]` or means `[..., A]` of observations as `act` takes them."""
        observations = np.asarray(observations)
        if self.one_hot is not None and np.issubdtype(observations.dtype, np.integer):
            observations = self.one_hot.encode(observations)
        observations = observations.astype(np.float64)
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
        """Chooses actions for one observation or a batch, within the bounds.

        Args:
          observations: `[..., *observation_shape]`; of an environment that gives whole numbers also those.
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
    """Reads a policy.npz, from a path or an open file; nothing in it is run, whoever wrote it.

    Only the arrays of a policy are read, and none before its size has been checked.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is of a newer format, too large, or not a policy.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = StoredArrays(archive, LARGEST)
            found = arrays.scalar("format")
            if int(found) > FORMAT:
                raise ValueError(f"it is of format {found}; this version reads {FORMAT} and older")
            policy = _policy(arrays)
        _check_shapes(policy)
    except (OSError, ValueError):
        raise
    except Exception as error:  # of an archive, a header or a value that is wrong in one of many ways
        raise ValueError(f"it is not a policy.npz: {type(error).__name__}") from error
    return policy


def _policy(arrays: StoredArrays) -> NumpyPolicy:
    layers = [
        (arrays[f"kernel_{index}"].astype(np.float64), arrays[f"bias_{index}"].astype(np.float64), bool(activated))
        for index, activated in enumerate(arrays["activated"])
    ]
    return NumpyPolicy(
        environment=_environment(arrays),
        observation_shape=tuple(int(size) for size in arrays["observation_shape"]),
        mean=arrays.get("observation_mean"),
        variance=arrays.get("observation_variance"),
        clip=10.0,
        layers=layers,
        convolutions=_convolutions(arrays),
        activation=str(arrays.scalar("activation")),
        discrete=bool(arrays.scalar("discrete")),
        log_std=arrays.get("log_std"),
        action_shape=tuple(int(size) for size in arrays.get("action_shape", ())),
        low=arrays.get("action_low"),
        high=arrays.get("action_high"),
        action_bounds=str(arrays.scalar("action_bounds", "clip")),
        one_hot=_one_hot(arrays),
    )


def _one_hot(arrays: StoredArrays) -> NumpyOneHot | None:
    if "one_hot_sizes" not in arrays:
        return None
    shape = tuple(int(size) for size in arrays["one_hot_shape"])
    return NumpyOneHot(shape, arrays["one_hot_sizes"].astype(int), arrays["one_hot_starts"].astype(int))


def _environment(arrays: StoredArrays) -> dict[str, Any]:
    """Returns where the policy was trained; what that names is foreign unless the user's own signature is on it."""
    if "environment" not in arrays:
        return {}
    values = json.loads(str(arrays.scalar("environment")))
    if not isinstance(values, dict):
        raise ValueError("it is not a policy.npz: its environment is no mapping")
    values[trust.SIGNATURE] = str(arrays.scalar("signature", ""))
    return trust.of_file(values, "the policy", has_flag=True)


def _convolutions(arrays: StoredArrays) -> NumpyConvolutions | None:
    if "convolution_strides" not in arrays:
        return None
    layers = [
        (arrays[f"convolution_kernel_{i}"].astype(float), arrays[f"convolution_bias_{i}"].astype(float), int(stride))
        for i, stride in enumerate(arrays["convolution_strides"])
    ]
    return NumpyConvolutions(layers, arrays.scalar("observation_scale"), bool(arrays.scalar("stack_first")))


def _check_shapes(policy: NumpyPolicy) -> None:
    """Requires that the parts of a policy fit together, without computing anything.

    Raises:
      ValueError: they do not.
    """
    shape = policy.observation_shape
    fits = policy.activation in ACTIVATIONS and policy.action_bounds in ("clip", "scale", "tanh")
    fits &= all(part is None or part.shape == shape for part in (policy.mean, policy.variance))
    width = math.prod(shape) if policy.convolutions is None else policy.convolutions.width(shape)
    for kernel, bias, _ in policy.layers:
        fits &= kernel.shape == (width, *bias.shape)
        width = bias.size
    if policy.one_hot is not None:
        sizes, starts = policy.one_hot.sizes, policy.one_hot.starts
        fits &= sizes.shape == starts.shape == (math.prod(policy.one_hot.shape),) and shape == (sizes.sum(),)
        fits &= bool(np.all(sizes >= 1))
    if not policy.discrete:
        fits &= math.prod(policy.action_shape) == width
        fits &= all(part is None or part.shape == (width,) for part in (policy.low, policy.high, policy.log_std))
    if not fits:
        raise ValueError("it is not a policy.npz: its arrays do not fit together")
