"""Scans whose many small outputs are stored by one kernel a step, where kernels are what a step costs."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.parallel.platform import takes_branches

MOST_BYTES = 2**20  # of a leaf that is not worth a kernel of its own


def scan(step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, inputs: Any) -> tuple[Any, Any]:
    """Returns what `lax.scan(step, carry, inputs)` does, to the bit.

    Each output of a loop's step is stored by a kernel of its own. On an accelerator the small ones of float32 and bool
    are laid behind one another, stored together and taken apart behind the loop.

    Args:
      step: `(carry, inputs of one step) -> (carry, outputs)`.
      carry: before the first step.
      inputs: pytree of `[T, ...]`.
    """
    if takes_branches():
        return jax.lax.scan(step, carry, inputs)
    first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs)
    types, structure = jax.tree.flatten(jax.eval_shape(step, carry, first)[1])
    small = [kind.dtype in (jnp.float32, jnp.bool_) and math.prod(kind.shape) * 4 <= MOST_BYTES for kind in types]

    def storing(carry, inputs):
        carry, outputs = step(carry, inputs)
        leaves = list(zip(jax.tree.leaves(outputs), small, strict=True))
        together = [leaf.astype(jnp.float32).ravel() for leaf, is_small in leaves if is_small]
        apart = [leaf for leaf, is_small in leaves if not is_small]
        return carry, (jnp.concatenate(together) if together else (), apart)

    carry, (together, apart) = jax.lax.scan(storing, carry, inputs)
    outputs, start = [], 0
    for kind, is_small in zip(types, small, strict=True):
        if not is_small:
            outputs.append(apart.pop(0))
            continue
        own = together[:, start : start + math.prod(kind.shape)]
        outputs.append(own.reshape(-1, *kind.shape).astype(kind.dtype))
        start += math.prod(kind.shape)
    return carry, jax.tree.unflatten(structure, outputs)
