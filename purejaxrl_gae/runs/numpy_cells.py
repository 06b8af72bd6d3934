"""Memory cells of a policy in NumPy alone: a gated recurrent unit, long short-term memory, a linear recurrent unit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class NumpyCell:
    """A memory cell and where it stands.

    Attributes:
      kind: gru, lstm or lru.
      layers_before: number of dense layers whose features it takes; those behind take its outputs.
      weights: by their names; `program.cells` says how they are used.
    """

    kind: str
    layers_before: int
    weights: Weights

    @property
    def inputs(self) -> int:
        """Returns how many features it takes."""
        return self.weights["kernel_inputs"].shape[0]

    @property
    def size(self) -> int:
        """Returns how many outputs it has, and units."""
        return self.weights["kernel_hidden"].shape[0 if self.kind != "lru" else 1]

    def initial_memory(self, batch_shape: tuple[int, ...]) -> np.ndarray:
        """Returns `[*batch_shape, parts, size]` zeros: h of gru, c and h of lstm, both parts of lru."""
        return np.zeros((*batch_shape, PARTS[self.kind], self.size))

    def step(self, features: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns outputs `[..., size]` and the memory behind this step, of features `[..., inputs]`."""
        return STEPS[self.kind](self.weights, features, memory)

    def check(self) -> bool:
        """Returns whether the weights fit each other."""
        if self.kind not in SHAPES or set(self.weights) != set(SHAPES[self.kind](1, 1)):
            return False
        expected = SHAPES[self.kind](self.inputs, self.size)
        return all(self.weights[name].shape == shape for name, shape in expected.items())


def _gru(weights: Weights, features: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hidden = memory[..., 0, :]
    into = np.split(features @ weights["kernel_inputs"] + weights["bias"], 3, axis=-1)
    kept = np.split(hidden @ weights["kernel_hidden"], 3, axis=-1)
    reset, update = _sigmoid(into[0] + kept[0]), _sigmoid(into[1] + kept[1])
    candidate = np.tanh(into[2] + reset * (kept[2] + weights["bias_hidden"]))
    hidden = (1.0 - update) * candidate + update * hidden
    return hidden, hidden[..., None, :]


def _lstm(weights: Weights, features: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cell, hidden = memory[..., 0, :], memory[..., 1, :]
    gates = features @ weights["kernel_inputs"] + weights["bias"] + hidden @ weights["kernel_hidden"]
    into, kept, candidate, shown = np.split(gates, 4, axis=-1)
    cell = _sigmoid(kept) * cell + _sigmoid(into) * np.tanh(candidate)
    hidden = _sigmoid(shown) * np.tanh(cell)
    return hidden, np.stack([cell, hidden], axis=-2)


def _lru(weights: Weights, features: np.ndarray, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    decay_rate = np.exp(weights["nu"])
    decays = np.exp(-decay_rate + 1j * np.exp(weights["theta"]))
    real, imaginary = np.split(features @ weights["kernel_inputs"], 2, axis=-1)
    inputs = np.sqrt(-np.expm1(-2.0 * decay_rate)) * (real + 1j * imaginary)
    hidden = decays * (memory[..., 0, :] + 1j * memory[..., 1, :]) + inputs
    shown = np.concatenate([hidden.real, hidden.imag], axis=-1) @ weights["kernel_hidden"]
    outputs = np.tanh(shown + features @ weights["kernel_skip"] + weights["bias"])
    return outputs, np.stack([hidden.real, hidden.imag], axis=-2)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _gates(inputs: int, size: int, number: int) -> dict[str, tuple[int, ...]]:
    return {"kernel_inputs": (inputs, number * size), "kernel_hidden": (size, number * size), "bias": (number * size,)}


PARTS = {"gru": 1, "lstm": 2, "lru": 2}
STEPS: dict[str, Callable[[Weights, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "gru": _gru,
    "lstm": _lstm,
    "lru": _lru,
}
SHAPES: dict[str, Callable[[int, int], dict[str, tuple[int, ...]]]] = {
    "gru": lambda inputs, size: {**_gates(inputs, size, 3), "bias_hidden": (size,)},
    "lstm": lambda inputs, size: _gates(inputs, size, 4),
    "lru": lambda inputs, size: {
        "nu": (size,),
        "theta": (size,),
        "kernel_inputs": (inputs, 2 * size),
        "kernel_hidden": (2 * size, size),
        "kernel_skip": (inputs, size),
        "bias": (size,),
    },
}
