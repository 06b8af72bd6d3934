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
from purejaxrl_gae.runs.numpy_spaces import IMPOSSIBLE, NumpyActions, NumpyLeaf, NumpyLeaves, read_actions, read_leaves
from purejaxrl_gae.runs.numpy_spaces import NumpyOneHot as NumpyOneHot
from purejaxrl_gae.settings import trust

FORMAT = 4  # 1 had no convolutions and clipped all real actions, 2 took no whole numbers, 3 no structures and masks
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
      image_shape: of the observation, or of the part of it that is the image.
      start: where that begins among the numbers of an observation.
    """

    layers: list[tuple[np.ndarray, np.ndarray, int]]
    scale: float
    stack_first: bool
    image_shape: tuple[int, ...]
    start: int = 0

    def width(self, size: int) -> int:
        """Returns how many features there are of one observation of that many numbers.

        Raises:
          ValueError: observations of that shape do not fit, or need more memory than any policy.
        """
        shape = self.image_shape
        if len(shape) != 3 or not 0 <= self.start <= size - math.prod(shape):
            raise ValueError("it is not a policy.npz: its convolutions do not fit its observations")
        channels, *sides = shape if self.stack_first else (shape[-1], *shape[:-1])
        for kernel, bias, stride in self.layers:
            height, width, inputs, filters = kernel.shape
            sides = [(side - size) // stride + 1 for side, size in zip(sides, (height, width), strict=True)]
            if inputs != channels or bias.shape != (filters,) or min(sides) < 1:
                raise ValueError("it is not a policy.npz: its convolutions do not fit its observations")
            if math.prod(sides) * height * width * channels > LARGEST // 8:
                raise ValueError(f"one observation would need more than {LARGEST:,} bytes")
            channels = filters
        return math.prod(sides) * channels + size - math.prod(shape)

    def features(self, inputs: np.ndarray, activation: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Maps `[B, size]` to `[B, features + numbers that are no image]`."""
        end = self.start + math.prod(self.image_shape)
        images = inputs[:, self.start : end].reshape(-1, *self.image_shape) * self.scale
        if self.stack_first:
            images = np.moveaxis(images, 1, -1)
        for kernel, bias, stride in self.layers:
            windows = np.lib.stride_tricks.sliding_window_view(images, kernel.shape[:2], axis=(1, 2))
            windows = np.moveaxis(windows[:, ::stride, ::stride], 3, -1)  # [B, H', W', size, size, channels]
            rows = windows.reshape(*windows.shape[:3], -1)
            images = activation(rows @ kernel.reshape(-1, kernel.shape[-1]) + bias)
        return np.concatenate([images.reshape(len(images), -1), inputs[:, : self.start], inputs[:, end:]], axis=1)


@dataclass(frozen=True)
class NumpyPolicy:
    """Dense layers and what surrounds them; computed in float64.

    Attributes:
      environment: what it was trained in, as arguments of `environments.make_environment`; empty where unknown.
      observations: the arrays of an observation that it sees; of one array, that.
      mean: `[size]` subtracted from their numbers, or None where none are normalised.
      variance: divides them, as a standard deviation.
      clip: bound of normalised numbers.
      layers: `(kernel [inputs, outputs], bias [outputs], activated)` in order.
      convolutions: before the layers, or None.
      activation: name of the activation.
      actions: what the outputs stand for.
      log_std: `[A]` of all real actions.
      action_bounds: how those get within their bounds: `clip`; `scale` from -1 and 1; or `tanh`, then scale.
    """

    environment: dict[str, Any]
    observations: NumpyLeaves
    mean: np.ndarray | None
    variance: np.ndarray | None
    clip: float
    layers: list[tuple[np.ndarray, np.ndarray, bool]]
    convolutions: NumpyConvolutions | None
    activation: str
    actions: NumpyActions
    log_std: np.ndarray
    action_bounds: str = "clip"

    def outputs(self, observations: Any) -> np.ndarray:
        """Computes logits, log-odds and means `[..., outputs]` of observations as `act` takes them."""
        numbers = self.observations.flatten(observations)
        if self.mean is not None and self.variance is not None:
            standardized = np.clip((numbers - self.mean) / np.sqrt(self.variance + 1e-8), -self.clip, self.clip)
            numbers = np.where(self.observations.normalized, standardized, numbers)
        activation = ACTIVATIONS[self.activation]
        if self.convolutions is not None:
            features = self.convolutions.features(numbers.reshape(-1, numbers.shape[-1]), activation)
            numbers = features.reshape(*numbers.shape[:-1], -1)
        for kernel, bias, activated in self.layers:
            numbers = numbers @ kernel + bias
            if activated:
                numbers = activation(numbers)
        allowed = self.observations.allowed(observations)
        return numbers if allowed is None else np.where(allowed, numbers, IMPOSSIBLE)

    def act(self, observations: Any, rng: np.random.Generator | None = None) -> Any:
        """Chooses actions for one observation or a batch, within the bounds.

        Args:
          observations: `[..., *shape]`, or a dictionary or tuple of such arrays; where the environment gives whole
            numbers also those.
          rng: sample with it; the most probable action without it.
        """
        return self.actions.act(self.outputs(observations), self.log_std, self.action_bounds, rng)


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
    mean, variance = (arrays.get(f"observation_{name}") for name in ("mean", "variance"))
    observations = _observations(arrays, normalized=mean is not None)
    return NumpyPolicy(
        environment=_environment(arrays),
        observations=observations,
        mean=None if mean is None else mean.reshape(-1),
        variance=None if variance is None else variance.reshape(-1),
        clip=10.0,
        layers=layers,
        convolutions=_convolutions(arrays, observations),
        activation=str(arrays.scalar("activation")),
        actions=_actions(arrays, num_outputs=layers[-1][1].size),
        log_std=arrays.get("log_std", np.zeros(0)),
        action_bounds=str(arrays.scalar("action_bounds", "clip")),
    )


def _observations(arrays: StoredArrays, *, normalized: bool) -> NumpyLeaves:
    """Returns the arrays of an observation: as the file says, or one, which is all that older formats know."""
    if "observations" in arrays:
        return read_leaves(json.loads(str(arrays.scalar("observations"))))
    shape = tuple(int(size) for size in arrays["observation_shape"])
    return NumpyLeaves((NumpyLeaf((), shape, normalized, _one_hot(arrays)),), None)


def _actions(arrays: StoredArrays, num_outputs: int) -> NumpyActions:
    """Returns the action space: as the file says, or discrete or real, which is all that older formats know."""
    if "actions" in arrays:
        return read_actions(json.loads(str(arrays.scalar("actions"))))
    if bool(arrays.scalar("discrete")):
        return NumpyActions("discrete", sizes=(num_outputs,))
    shape = tuple(int(size) for size in arrays.get("action_shape", ()))
    return NumpyActions("box", shape, low=arrays["action_low"], high=arrays["action_high"])


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


def _convolutions(arrays: StoredArrays, observations: NumpyLeaves) -> NumpyConvolutions | None:
    if "convolution_strides" not in arrays:
        return None
    layers = [
        (arrays[f"convolution_kernel_{i}"].astype(float), arrays[f"convolution_bias_{i}"].astype(float), int(stride))
        for i, stride in enumerate(arrays["convolution_strides"])
    ]
    start, shape = int(arrays.scalar("image_start", 0)), observations.seen[0].shape
    if "image_shape" in arrays:
        shape = tuple(int(size) for size in arrays["image_shape"])
    return NumpyConvolutions(
        layers, arrays.scalar("observation_scale"), bool(arrays.scalar("stack_first")), shape, start
    )


def _check_shapes(policy: NumpyPolicy) -> None:
    """Requires that the parts of a policy fit together, without computing anything.

    Raises:
      ValueError: they do not.
    """
    seen, actions = policy.observations.seen, policy.actions
    width = sum(math.prod(leaf.shape) for leaf in seen)
    fits = policy.activation in ACTIVATIONS and policy.action_bounds in ("clip", "scale", "tanh")
    fits &= all(part is None or part.shape == (width,) for part in (policy.mean, policy.variance))
    if policy.convolutions is not None:
        width = policy.convolutions.width(width)
    for kernel, bias, _ in policy.layers:
        fits &= kernel.shape == (width, *bias.shape)
        width = bias.size
    for one_hot, shape in ((leaf.one_hot, leaf.shape) for leaf in seen if leaf.one_hot is not None):
        fits &= one_hot.sizes.shape == one_hot.starts.shape == (math.prod(one_hot.shape),)
        fits &= shape == (one_hot.sizes.sum(),) and bool(np.all(one_hot.sizes >= 1))
    fits &= actions.num_outputs == width and policy.log_std.shape == (actions.num_deviations,)
    if actions.low is not None and actions.high is not None:
        fits &= actions.low.shape == actions.high.shape == policy.log_std.shape
    fits &= policy.observations.mask is None or math.prod(policy.observations.mask.shape) == width
    if not fits:
        raise ValueError("it is not a policy.npz: its arrays do not fit together")
