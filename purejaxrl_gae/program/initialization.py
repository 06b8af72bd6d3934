"""Initial weights, orthogonal or uniform, from one draw of noise for all of a network."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def orthogonal(noise: jax.Array, gain: float) -> jax.Array:
    """Makes weights `[..., inputs, outputs]` with orthonormal rows or columns times `gain` of noise of that shape.

    The orthogonal factor of a Gaussian matrix's polar decomposition, which is uniformly distributed, by the
    Newton-Schulz iteration X <- X (3 I - X^T X) / 2. It needs matrix products only. (The usual QR decomposition is
    a LAPACK call; several batched ones at once, as `vmap` over agents makes them, block each other for ever on a CPU
    with few cores, seen with jaxlib 0.10.2.)
    """
    matrix = noise.reshape(-1, noise.shape[-1])
    wide = matrix.shape[0] < matrix.shape[1]
    tall = matrix.T if wide else matrix
    if tall.shape[1] == 1:
        return gain * (tall / jnp.linalg.norm(tall)).reshape(noise.shape)
    identity = jnp.eye(tall.shape[1], dtype=tall.dtype)

    def not_orthogonal(carry):
        _, error, step = carry
        return (error > 1e-4) & (step < 100)  # the step behind the last error squares it

    def newton_schulz(carry):
        x, _, step = carry
        gram = jnp.matmul(x.T, x, precision="highest")
        x_next = 1.5 * x - 0.5 * jnp.matmul(x, gram, precision="highest")
        return x_next, jnp.max(jnp.abs(gram - identity)), step + 1

    carry = (tall / jnp.linalg.norm(tall), jnp.array(jnp.inf, tall.dtype), 0)
    factor, *_ = jax.lax.while_loop(not_orthogonal, newton_schulz, carry)
    return gain * (factor.T if wide else factor).reshape(noise.shape)


def draw_orthogonal(key: jax.Array, shapes: Any, gain: Callable[[str], float]) -> Any:
    """Draws initial values for a pytree of parameter shapes: orthogonal kernels, everything else zero.

    Args:
      key: random key.
      shapes: pytree of nested dictionaries; a leaf called `kernel` sits in its layer's dictionary.
      gain: scale of a layer's kernel, by the layer's name.
    """

    def initial(layer, name, noise):
        return orthogonal(noise, gain(layer)) if name == "kernel" else jnp.zeros_like(noise)

    return _draw(jax.random.normal, key, shapes, initial)


def draw_uniform(key: jax.Array, shapes: Any) -> Any:
    """Draws initial values between -1 / sqrt(inputs) and 1 / sqrt(inputs) for the kernels and biases of layers.

    Args:
      key: random key.
      shapes: see `draw_orthogonal`. Parameters outside layers start at zero.
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(shapes)
    inputs = {path[-2].key: math.prod(leaf.shape[:-1]) for path, leaf in paths if path[-1].key == "kernel"}

    def initial(layer, _, noise):
        bound = 1.0 / math.sqrt(inputs[layer]) if layer in inputs else 0.0
        return bound * (2.0 * noise - 1.0)

    return _draw(jax.random.uniform, key, shapes, initial)


def _draw(distribution, key, shapes, initial):
    """Draws a tree of initial values, each `initial(layer name, parameter name, noise of its shape)`.

    All noise is drawn at once: a random draw of its own for each layer takes longer to compile than to run.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(shapes)
    sizes = [math.prod(leaf.shape) for _, leaf in paths]
    noise = distribution(key, (sum(sizes),), jnp.float32)
    leaves, start = [], 0
    for (path, leaf), size in zip(paths, sizes, strict=True):
        layer = path[-2].key if len(path) > 1 else ""
        leaves.append(initial(layer, path[-1].key, noise[start : start + size].reshape(leaf.shape)))
        start += size
    return jax.tree.unflatten(structure, leaves)
