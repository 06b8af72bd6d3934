"""Memory cells: what a policy remembers of an episode, as pure functions over stretches of time.

Of features `[T, B, F]` and the steps `[T, B]` at which episodes begin, a cell makes `[T, B, M]` outputs and the memory
behind the last step. What does not depend on the past is computed for all steps at once.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae import kernels
from purejaxrl_gae.parallel import sharding
from purejaxrl_gae.program.initialization import orthogonal
from purejaxrl_gae.program.types import Params


class Cell(NamedTuple):
    """A memory cell of M units.

    Attributes:
      size: M.
      init: `(key, inputs) -> params`, of the number of features.
      initial_memory: `n -> memory`, a pytree of `[n, ...]`, zero.
      apply: `(params, features [T, B, F], starts [T, B], memory) -> (outputs [T, B, M], memory)`.
    """

    size: int
    init: Callable[[jax.Array, int], Params]
    initial_memory: Callable[[int], Any]
    apply: Callable[[Params, jax.Array, jax.Array, Any], tuple[jax.Array, Any]]


def gru(size: int) -> Cell:
    """Makes a gated recurrent unit; see `kernels.gru_step`. Weights begin as flax's: LeCun normal, orthogonal, zero."""

    def init(key, inputs):
        return {**_gates(key, inputs, size, 3), "bias_hidden": jnp.zeros(size, jnp.float32)}

    def apply(params, features, starts, memory):
        kernel, bias = params["kernel_hidden"], params["bias_hidden"]
        projected = _projected(params, features)
        return kernels.recur(lambda h, inputs: kernels.gru_step(h, inputs, kernel, bias), projected, starts, memory)

    return Cell(size, init, lambda n: jnp.zeros((n, size), jnp.float32), apply)


def lstm(size: int) -> Cell:
    """Makes a long short-term memory; see `kernels.lstm_step`. Weights begin as flax's: LeCun normal, orthogonal, 0."""

    def init(key, inputs):
        return _gates(key, inputs, size, 4)

    def apply(params, features, starts, memory):
        kernel = params["kernel_hidden"]
        projected = _projected(params, features)
        (_, hidden), last = kernels.recur(
            lambda memory, inputs: kernels.lstm_step(memory, inputs, kernel), projected, starts, memory
        )
        return hidden, last

    return Cell(size, init, lambda n: (jnp.zeros((n, size), jnp.float32),) * 2, apply)


def lru(size: int) -> Cell:
    """Makes a linear recurrent unit of complex numbers (Orvieto et al. 2023), whose memory is `(real, imaginary)`.

    x_t = lambda x_{t-1} + sqrt(1 - |lambda|^2) B u_t,  lambda = exp(-exp(nu) + i exp(theta));
    y_t = tanh([Re x_t, Im x_t] C + u_t D + d)

    |lambda| begins between 0.9 and 0.999 and its phase below pi / 10: it remembers tens to a thousand steps.
    """

    def init(key, inputs):
        keys = jax.random.split(key, 5)
        squares = jax.random.uniform(keys[0], (size,), jnp.float32, minval=0.9**2, maxval=0.999**2)
        phases = jax.random.uniform(keys[1], (size,), jnp.float32, minval=1e-3, maxval=math.pi / 10.0)
        return {
            "nu": jnp.log(-0.5 * jnp.log(squares)),
            "theta": jnp.log(phases),
            "kernel_inputs": jax.random.normal(keys[2], (inputs, 2 * size), jnp.float32) / math.sqrt(2.0 * inputs),
            "kernel_hidden": jax.random.normal(keys[3], (2 * size, size), jnp.float32) / math.sqrt(2.0 * size),
            "kernel_skip": jax.random.normal(keys[4], (inputs, size), jnp.float32) / math.sqrt(inputs),
            "bias": jnp.zeros(size, jnp.float32),
        }

    def apply(params, features, starts, memory):
        decay_rate, phase = jnp.exp(params["nu"]), jnp.exp(params["theta"])
        decays = jnp.exp(jax.lax.complex(-decay_rate, phase))
        real, imaginary = jnp.split(_product(features, params["kernel_inputs"]), 2, axis=-1)
        scale = jnp.sqrt(-jnp.expm1(-2.0 * decay_rate))  # sqrt(1 - |lambda|^2)
        inputs = jax.lax.complex(scale * real, scale * imaginary)
        hidden = kernels.linear_recurrence(decays, inputs, starts, jax.lax.complex(*memory))
        shown = jnp.concatenate([hidden.real, hidden.imag], axis=-1)
        linear = _product(shown, params["kernel_hidden"]) + _product(features, params["kernel_skip"])
        outputs = jnp.tanh(linear + params["bias"])
        return outputs, (hidden[-1].real, hidden[-1].imag)

    return Cell(size, init, lambda n: (jnp.zeros((n, size), jnp.float32),) * 2, apply)


def of_steps(function: Callable[[jax.Array], Any], inputs: jax.Array) -> Any:
    """Returns `function(inputs)` of `[T, B, F]`, computed of `[T * B, F]`: a product's gradient takes half as long.

    Where devices divide one agent's environments it stays `[T, B, F]`: they would exchange steps.

    Args:
      function: of `[..., F]`, to a pytree of `[..., G]`.
      inputs: any.
    """
    if inputs.ndim != 3 or sharding.num_devices() > 1:
        return function(inputs)
    outputs = function(inputs.reshape(-1, inputs.shape[-1]))
    return jax.tree.map(lambda leaf: leaf.reshape(*inputs.shape[:2], *leaf.shape[1:]), outputs)


def _product(steps: jax.Array, kernel: jax.Array) -> jax.Array:
    return of_steps(lambda flat: flat @ kernel, steps)


def _projected(params: Params, features: jax.Array) -> jax.Array:
    return _product(features, params["kernel_inputs"]) + params["bias"]


def _gates(key: jax.Array, inputs: int, size: int, number: int) -> Params:
    """Makes the weights of several gates side by side."""
    inputs_key, hidden_key = jax.random.split(key)
    noise = jax.random.normal(hidden_key, (number, size, size), jnp.float32)
    into = jax.nn.initializers.lecun_normal()(inputs_key, (inputs, number * size), jnp.float32)
    return {
        "kernel_inputs": into,
        "kernel_hidden": jnp.concatenate([orthogonal(each, 1.0) for each in noise], axis=-1),
        "bias": jnp.zeros(number * size, jnp.float32),
    }


CELLS: dict[str, Callable[[int], Cell]] = {"gru": gru, "lstm": lstm, "lru": lru}
