"""Minibatches as rows of one packed array, so that drawing one is a single gather.

Gathering six fields row by row costs three times what gathering one array does. The columns of a batch are laid side
by side in float32 and taken apart again behind the gather, where XLA fuses the slices into whatever reads them.

A sample is a step; in a batch that holds a Sequence, of a network with memory, it is a whole trajectory of one
environment, and the batch stays `[T, B, ...]`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.parallel import sharding, storing
from purejaxrl_gae.program.types import Sequence


def pack(batch: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """Lays the leaves of a batch side by side.

    Args:
      batch: pytree of `[B, ...]` float32, bool or integer arrays, or `[T, B, ...]`, see the module; integers must lie
        within +-2^24.

    Returns:
      `(rows, unpack)`: `[B, F]` float32, and the function that takes any `[M, F]` rows apart into the batch's
      structure, shapes `[M, ...]`, or `[T, M, ...]`, and types.
    """
    axes = sample_axes(batch)
    batch = jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, axis, 0), batch, axes)
    leaves, structure = jax.tree.flatten(batch)
    shapes_and_types = [(leaf.shape[1:], leaf.dtype) for leaf in leaves]
    rows = jnp.concatenate([leaf.reshape(leaf.shape[0], -1).astype(jnp.float32) for leaf in leaves], axis=1)
    rows = sharding.everywhere(rows)  # so that any device may gather any row

    def unpack(some_rows):
        fields, start = [], 0
        some_rows = sharding.divided(some_rows)
        for shape, dtype in shapes_and_types:
            size = math.prod(shape)
            field = some_rows[:, start : start + size]
            fields.append(field.reshape(some_rows.shape[0], *shape).astype(dtype))
            start += size
        some = jax.tree.unflatten(structure, fields)
        return jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, 0, axis), some, axes)

    return rows, unpack


def sample_axes(batch: Any) -> Any:
    """Returns the axis of each leaf along which samples lie: the first, or of trajectories the second."""
    if not any(map(_is_sequence, jax.tree.leaves(batch, is_leaf=_is_sequence))):
        return jax.tree.map(lambda _: 0, batch)

    def axes_of(part):
        axes = jax.tree.map(lambda _: 1, part)
        return axes._replace(memory=jax.tree.map(lambda _: 0, part.memory)) if _is_sequence(part) else axes

    return jax.tree.map(axes_of, batch, is_leaf=_is_sequence)


def _is_sequence(part: Any) -> bool:
    return isinstance(part, Sequence)


def steps_of_sample(batch: Any) -> int:
    """Returns how many steps a sample is: one, or of trajectories T."""
    sequences = [part for part in jax.tree.leaves(batch, is_leaf=_is_sequence) if _is_sequence(part)]
    return sequences[0].starts.shape[0] if sequences else 1


def take(batch: Any, chosen: jax.Array) -> Any:
    """Returns the samples of a batch with these indices."""
    return jax.tree.map(lambda leaf, axis: leaf[(slice(None),) * axis + (chosen,)], batch, sample_axes(batch))


def flatten_time(trajectory: Any) -> Any:
    """Makes samples of a rollout: of a pytree of `[T, N, ...]` one of `[T * N, ...]`; with a Sequence, the same."""
    axes = sample_axes(trajectory)
    if any(jax.tree.leaves(axes)):
        return jax.tree.map(sharding.divided, trajectory, axes)
    # Said twice, so that devices exchange samples here and not in the loop that a leaf comes from.
    trajectory = sharding.divided(trajectory, axis=1)
    return sharding.divided(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trajectory))


def shuffled_indices(key: jax.Array, batch_size: int, minibatch_size: int) -> jax.Array:
    """Draws `[batch_size // minibatch_size, minibatch_size]` int32: each sample at most once, in random order.

    Where the size does not divide the batch, a few random samples are left out.
    """
    num_minibatches = batch_size // minibatch_size
    return kernels.permutation(key, batch_size)[: num_minibatches * minibatch_size].reshape(num_minibatches, -1)


def trajectory_indices(key: jax.Array, num_steps: int, num_envs: int, num_trajectories: int) -> jax.Array:
    """Draws all steps of that many environments without replacement, `[1, num_steps * num_trajectories]` int32.

    Indices are into a `[T, N]` batch flattened time first.
    """
    chosen = kernels.permutation(key, num_envs)[:num_trajectories]
    return (jnp.arange(num_steps, dtype=jnp.int32)[:, None] * num_envs + chosen).reshape(1, -1)


def descend(
    loss: Callable[[Any, Any], tuple[jax.Array, Any]],
    optimizer: optax.GradientTransformation,
    unravel: Callable[[jax.Array], Any],
    carry: tuple[jax.Array, Any],
    samples: tuple[jax.Array, Callable[..., Any]],
    indices: jax.Array,
    *,
    more: tuple[jax.Array, ...] = (),
    chunk_size: int = 0,
) -> tuple[tuple[jax.Array, Any], Any]:
    """Makes one gradient step for each minibatch.

    The optimizer works on all parameters as one vector: one kernel instead of a dozen, in each of many steps.

    Args:
      loss: `(params, minibatch) -> (scalar, metrics)`.
      optimizer: of the flat vector; one with extra arguments is handed the metrics' `kl` too.
      unravel: from the flat vector to the parameters' pytree.
      carry: `(flat parameters, optimizer state)`.
      samples: rows and unpack, as from `pack`.
      indices: `[K, M]` rows of each minibatch.
      more: `[K, ...]` each, handed to `unpack` behind the rows.
      chunk_size: see `mean_gradient`.

    Returns:
      `(carry, metrics)` after all of them; metrics are means over the minibatches.
    """
    rows, unpack = samples
    update = optax.with_extra_args_support(optimizer).update  # which drops what this optimizer does not ask for

    @jax.named_scope("gradient_step")  # for profilers, and benchmarks.accelerators
    def one_minibatch(carry, chosen):
        (flat_params, optimizer_state), (minibatch_indices, own) = carry, chosen
        minibatch = unpack(rows[minibatch_indices], *own)
        gradient, metrics = mean_gradient(loss, unravel(flat_params), minibatch, chunk_size)
        gradient = ravel_pytree(gradient)[0]
        changes, optimizer_state = update(gradient, optimizer_state, flat_params, kl=metrics.get("kl"))
        return (flat_params + changes, optimizer_state), metrics

    carry, metrics = storing.scan(one_minibatch, carry, (indices, more))
    return carry, jax.tree.map(jnp.mean, metrics)


def step(
    loss: Callable[[Any], tuple[jax.Array, Any]],
    optimizer: optax.GradientTransformation,
    params: Any,
    optimizer_state: Any,
) -> tuple[Any, Any, Any]:
    """Makes one gradient step on everything at once.

    Args:
      loss: `params -> (scalar, metrics)`.
      optimizer: of the flat vector of the parameters.
      params: pytree.
      optimizer_state: the optimizer's.

    Returns:
      `(params, optimizer_state, metrics)`.
    """
    gradient, metrics = jax.grad(loss, has_aux=True)(params)
    flat_params, unravel = ravel_pytree(params)
    changes, optimizer_state = optimizer.update(ravel_pytree(gradient)[0], optimizer_state, flat_params)
    return unravel(flat_params + changes), optimizer_state, metrics


def passes(
    loss: Callable[[Any, Any], tuple[jax.Array, Any]],
    optimizer: optax.GradientTransformation,
    params: Any,
    optimizer_state: Any,
    samples: Any,
    keys: jax.Array,
    *,
    minibatch_size: int,
) -> tuple[Any, Any, Any]:
    """Passes over a batch by gradient descent, each time in minibatches shuffled anew.

    Args:
      loss: `(params, minibatch) -> (scalar, metrics)`.
      optimizer: of the flat vector of the parameters.
      params: pytree.
      optimizer_state: the optimizer's.
      samples: pytree of `[B, ...]`.
      keys: one for each pass.
      minibatch_size: steps of a minibatch.

    Returns:
      `(params, optimizer_state, metrics)`; metrics are means over all minibatches.
    """
    flat_params, unravel = ravel_pytree(params)
    rows, unpack = pack(samples)

    def one_pass(carry, key):
        indices = shuffled_indices(key, rows.shape[0], minibatch_size // steps_of_sample(samples))
        return descend(loss, optimizer, unravel, carry, (rows, unpack), indices)

    (flat_params, optimizer_state), metrics = jax.lax.scan(one_pass, (flat_params, optimizer_state), keys)
    return unravel(flat_params), optimizer_state, jax.tree.map(jnp.mean, metrics)


def mean_gradient(
    loss: Callable[[Any, Any], tuple[jax.Array, Any]], params: Any, minibatch: Any, chunk_size: int
) -> tuple[Any, Any]:
    """Computes gradient and metrics of a mean loss, accumulated over chunks small enough to stay in cache.

    Args:
      loss: `(params, minibatch) -> (scalar, metrics)`, both means over the minibatch.
      params: what to differentiate by.
      minibatch: pytree of `[M, ...]`, or `[T, M, ...]` where it holds a Sequence.
      chunk_size: samples per chunk; one chunk where it is 0 or does not divide M.

    Returns:
      `(gradient, metrics)`, equal to those of the whole minibatch up to rounding.
    """
    gradient = jax.grad(loss, has_aux=True)
    axes = sample_axes(minibatch)
    size = jax.tree.leaves(jax.tree.map(lambda leaf, axis: leaf.shape[axis], minibatch, axes))[0]
    if chunk_size <= 0 or chunk_size >= size or size % chunk_size:
        return gradient(params, minibatch)
    num_chunks = size // chunk_size
    rows = jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, axis, 0), minibatch, axes)
    chunks = jax.tree.map(lambda leaf: leaf.reshape(num_chunks, chunk_size, *leaf.shape[1:]), rows)
    chunks = jax.tree.map(lambda leaf, axis: jnp.moveaxis(leaf, 1, 1 + axis), chunks, axes)

    def add_chunk(total, chunk):
        return jax.tree.map(jnp.add, total, gradient(params, chunk)), None

    first = jax.tree.map(lambda leaf: leaf[0], chunks)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradient, params, first))
    total, _ = jax.lax.scan(add_chunk, zeros, chunks)
    return jax.tree.map(lambda leaf: leaf / num_chunks, total)
