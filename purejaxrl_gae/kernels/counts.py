"""Counts that never turn negative, however long a run is."""

import jax
import jax.numpy as jnp


def add_counts(count: jax.Array, more: jax.Array) -> jax.Array:
    """Adds int32 counts of 0 or more; a sum beyond 2^31 - 1 stays there instead of wrapping to a negative one."""
    total = count + more
    return jnp.where(total < count, jnp.iinfo(jnp.int32).max, total)
