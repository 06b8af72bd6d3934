"""Simple policy optimization's loss (Xie et al. 2024), for the suite `mattered`."""

import jax
import jax.numpy as jnp


def spo(log_probs: jax.Array, old_log_probs: jax.Array, advantages: jax.Array, clip_coef: jax.Array) -> jax.Array:
    """Computes the mean of -(r A - |A| / (2 eps) (r - 1)^2), which pulls ratios back where clipping lets them go."""
    ratios = jnp.exp(log_probs - old_log_probs)
    return -jnp.mean(ratios * advantages - jnp.abs(advantages) / (2.0 * clip_coef) * (ratios - 1.0) ** 2)
