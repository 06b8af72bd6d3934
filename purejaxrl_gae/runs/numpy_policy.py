"""A trained policy that acts from NumPy alone: no JAX, no flax, nothing compiled.

    from purejaxrl_gae import load_policy
    policy = load_policy("runs/.../policy.npz")
    action = policy.act(observation)

and a policy with memory, from the memory of an episode that begins:

    memory = policy.initial_memory()
    action, memory = policy.act(observation, memory)

The file holds plain arrays, so any language that reads .npz can do the same; `NumpyPolicy` says how.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from purejaxrl_gae.runs.npz import StoredArrays
from purejaxrl_gae.runs.numpy_cells import NumpyCell
from purejaxrl_gae.runs.numpy_convolutions import NumpyConvolutions
from purejaxrl_gae.runs.numpy_spaces import IMPOSSIBLE, NumpyActions, NumpyLeaf, NumpyLeaves, read_actions, read_leaves
from purejaxrl_gae.runs.numpy_spaces import NumpyOneHot as NumpyOneHot

FORMAT = 4  # 1 had no convolutions and clipped all real actions, 2 took no whole numbers, 3 no structures or memory
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "elu": lambda x: np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0))),
    "silu": lambda x: x / (1.0 + np.exp(-x)),
}


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
        return self._masked(self._through(self.layers, self._features(observations)), observations)

    def _features(self, observations: Any) -> np.ndarray:
        """Returns what the dense layers take of observations as `act` takes them, `[..., F]`."""
        numbers = self.observations.flatten(observations)
        if self.mean is not None and self.variance is not None:
            standardized = np.clip((numbers - self.mean) / np.sqrt(self.variance + 1e-8), -self.clip, self.clip)
            numbers = np.where(self.observations.normalized, standardized, numbers)
        activation = ACTIVATIONS[self.activation]
        if self.convolutions is not None:
            features = self.convolutions.features(numbers.reshape(-1, numbers.shape[-1]), activation)
            numbers = features.reshape(*numbers.shape[:-1], -1)
        return numbers

    def _through(self, layers: list[tuple[np.ndarray, np.ndarray, bool]], numbers: np.ndarray) -> np.ndarray:
        """Applies dense layers to features `[..., F]`."""
        for kernel, bias, activated in layers:
            numbers = numbers @ kernel + bias
            if activated:
                numbers = ACTIVATIONS[self.activation](numbers)
        return numbers

    def _masked(self, outputs: np.ndarray, observations: Any) -> np.ndarray:
        """Returns the outputs with those of actions that the observations' mask forbids out of reach."""
        allowed = self.observations.allowed(observations)
        return outputs if allowed is None else np.where(allowed, outputs, IMPOSSIBLE)

    def act(self, observations: Any, rng: np.random.Generator | None = None) -> Any:
        """Chooses actions for one observation or a batch, within the bounds.

        Args:
          observations: `[..., *shape]`, or a dictionary or tuple of such arrays; where the environment gives whole
            numbers also those.
          rng: sample with it; the most probable action without it.
        """
        return self.actions.act(self.outputs(observations), self.log_std, self.action_bounds, rng)


@dataclass(frozen=True)
class NumpyRecurrentPolicy(NumpyPolicy):
    """A policy that remembers: a memory cell stands between its layers.

    Attributes:
      cell: the memory cell.
    """

    cell: NumpyCell = field(kw_only=True)

    def initial_memory(self, *batch_shape: int) -> np.ndarray:
        """Returns what is remembered where an episode begins: zeros `[*batch_shape, parts, units]`."""
        return self.cell.initial_memory(batch_shape)

    def outputs(self, observations: Any, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[override]
        """Computes logits or means, and what is remembered behind this step; see `act`."""
        before, behind = self.layers[: self.cell.layers_before], self.layers[self.cell.layers_before :]
        shown, memory = self.cell.step(self._through(before, self._features(observations)), memory)
        return self._masked(self._through(behind, shown), observations), memory

    def act(  # type: ignore[override]
        self, observations: Any, memory: np.ndarray, rng: np.random.Generator | None = None
    ) -> tuple[Any, np.ndarray]:
        """Chooses actions, and says what is remembered behind this step: `(actions, memory)`.

        Args:
          observations: as of NumpyPolicy.
          memory: of as many, what the last step returned, or `initial_memory` where an episode begins.
          rng: sample with it; the most probable action without it.
        """
        outputs, memory = self.outputs(observations, memory)
        return self.actions.act(outputs, self.log_std, self.action_bounds, rng), memory


def read_layers(arrays: StoredArrays, environment: dict[str, Any]) -> NumpyPolicy:
    """Reads the layers of anyone's policy, which are checked and not run.

    Args:
      arrays: of the file.
      environment: that it says it was trained in.

    Raises:
      ValueError: they are of a newer format, or do not fit together.
    """
    found = arrays.scalar("format")
    if not 1 <= int(found) <= FORMAT:
        raise ValueError(f"it is of format {found}; this version reads 1 to {FORMAT}")
    layers = [
        (_weights(arrays, f"kernel_{index}"), _weights(arrays, f"bias_{index}"), bool(activated))
        for index, activated in enumerate(arrays["activated"])
    ]
    mean, variance = (arrays.get(f"observation_{name}") for name in ("mean", "variance"))
    observations = _observations(arrays, normalized=mean is not None)
    fields: dict[str, Any] = dict(
        environment=environment,
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
    if "cell" not in arrays:
        policy = NumpyPolicy(**fields)
        _check_shapes(policy)
        return policy
    names = arrays.names()
    weights = {name.removeprefix("cell_"): _weights(arrays, name) for name in names if name.startswith("cell_")}
    cell = NumpyCell(str(arrays.scalar("cell")), int(arrays.scalar("layers_before_cell")), weights)
    recurrent = NumpyRecurrentPolicy(**fields, cell=cell)
    _check_shapes(recurrent)
    return recurrent


def _weights(arrays: StoredArrays, name: str) -> np.ndarray:
    """Returns weights in double precision.

    Raises:
      ValueError: they are not all finite numbers, which no training leaves behind.
    """
    weights = arrays[name]
    if weights.dtype.kind not in "fiu" or not np.isfinite(weights).all():
        raise ValueError(f"its {name} is not of finite numbers")
    return weights.astype(np.float64)


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


def _convolutions(arrays: StoredArrays, observations: NumpyLeaves) -> NumpyConvolutions | None:
    if "convolution_strides" not in arrays:
        return None
    layers = [
        (_weights(arrays, f"convolution_kernel_{i}"), _weights(arrays, f"convolution_bias_{i}"), int(stride))
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
    cell = policy.cell if isinstance(policy, NumpyRecurrentPolicy) else None
    fits &= cell is None or (cell.check() and 0 <= cell.layers_before < len(policy.layers))
    for index, (kernel, bias, _) in enumerate(policy.layers):
        if fits and cell is not None and cell.layers_before == index:
            fits &= width == cell.inputs
            width = cell.size
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
