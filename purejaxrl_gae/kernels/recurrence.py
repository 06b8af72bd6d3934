"""Recurrences over time that begin anew where an episode does: a linear one, a gated unit, and long short-term memory.

Each takes whole stretches `[T, B, ...]` with the steps at which episodes begin, and the memory `[B, M]` that the first
step finds. Memory is set to zero before a step at which an episode begins, so nothing leaks from one into the next.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp


def linear_recurrence(decays: jax.Array, inputs: jax.Array, starts: jax.Array, initial: jax.Array) -> jax.Array:
    """Computes a linear recurrence with resets by an associative scan, in O(log T) steps that depend on each other.

    x_t = a_t x_{t-1} + b_t, x_{t-1} = 0 where an episode begins at t        (Blelloch 1990; Martin & Cundy 2018)

    Args:
      decays: a, broadcast against the inputs; real or complex.
      inputs: `[T, B, M]` b.
      starts: `[T, B]` bool, an episode begins at t.
      initial: `[B, M]` x_{-1}.

    Returns:
      `[T, B, M]` x.
    """
    chex.assert_shape(starts, inputs.shape[:2])
    chex.assert_shape(initial, inputs.shape[1:])
    kept = jnp.where(starts[..., None], 0.0, jnp.broadcast_to(decays, inputs.shape))
    first = inputs[0] + kept[0] * initial

    def compose(earlier, later):
        return later[0] * earlier[0], later[0] * earlier[1] + later[1]

    return jax.lax.associative_scan(compose, (kept, inputs.at[0].set(first)))[1]


def recur(step: Callable[[Any, jax.Array], Any], inputs: jax.Array, starts: jax.Array, initial: Any) -> tuple[Any, Any]:
    """Scans a memory's step over time.

    Args:
      step: `(memory, inputs_t [B, F]) -> memory`.
      inputs: `[T, B, F]`.
      starts: `[T, B]` bool, an episode begins at t.
      initial: pytree of `[B, ...]`, the memory that the first step finds.

    Returns:
      `(memories, last)`: pytrees of `[T, B, ...]`, behind every step, and of `[B, ...]`, behind the last.
    """
    chex.assert_shape(starts, inputs.shape[:2])

    def one_step(memory, inputs_and_starts):
        inputs_t, starts_t = inputs_and_starts
        memory = step(forget(memory, starts_t), inputs_t)
        return memory, memory

    last, memories = jax.lax.scan(one_step, initial, (inputs, starts))
    return memories, last


def forget(memory: Any, starts: jax.Array) -> Any:
    """Sets a memory `[B, ...]` to zero where an episode begins, `[B]` bool."""

    def of_leaf(leaf):
        return jnp.where(starts.reshape(starts.shape + (1,) * (leaf.ndim - 1)), 0, leaf)

    return jax.tree.map(of_leaf, memory)


def gru_step(hidden: jax.Array, projected: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Computes one step of a gated recurrent unit (Cho et al. 2014, with the reset gate behind the product).

    r, z = sigmoid(i_r + h W_r), sigmoid(i_z + h W_z);  n = tanh(i_n + r (h W_n + b));  h' = (1 - z) n + z h

    Args:
      hidden: `[B, M]` h.
      projected: `[B, 3 M]` i_r, i_z and i_n, linear in the inputs, with their biases.
      kernel: `[M, 3 M]` W_r, W_z and W_n side by side.
      bias: `[M]` b.
    """
    input_r, input_z, input_n = jnp.split(projected, 3, axis=-1)
    hidden_r, hidden_z, hidden_n = jnp.split(hidden @ kernel, 3, axis=-1)
    reset, update = jax.nn.sigmoid(input_r + hidden_r), jax.nn.sigmoid(input_z + hidden_z)
    candidate = jnp.tanh(input_n + reset * (hidden_n + bias))
    return (1.0 - update) * candidate + update * hidden


def lstm_step(
    memory: tuple[jax.Array, jax.Array], projected: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Computes one step of long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i, f, o = sigmoid(...), g = tanh(...);  c' = f c + i g;  h' = o tanh(c')

    Args:
      memory: `(c, h)`, `[B, M]` each.
      projected: `[B, 4 M]` of i, f, g and o, linear in the inputs, with their biases.
      kernel: `[M, 4 M]` from h to the same.
    """
    cell, hidden = memory
    into, kept, candidate, shown = jnp.split(projected + hidden @ kernel, 4, axis=-1)
    cell = jax.nn.sigmoid(kept) * cell + jax.nn.sigmoid(into) * jnp.tanh(candidate)
    return cell, jax.nn.sigmoid(shown) * jnp.tanh(cell)
