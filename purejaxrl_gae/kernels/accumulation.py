"""A_t = delta_t + decay_t * A_{t+1} without walking through time step by step."""

import jax
import jax.numpy as jnp

BLOCKS = 8


def accumulate_associatively(deltas: jax.Array, decays: jax.Array) -> jax.Array:
    """Composes the steps as affine maps; deltas and decays are `[T, ...]`."""

    def compose(later, earlier):
        later_decay, later_delta = later
        decay, delta = earlier
        # A finite sum times a zero decay is a cut trace; a non-finite one must not leak through it.
        return decay * later_decay, delta + jnp.where(decay == 0.0, 0.0, decay * later_delta)

    return jax.lax.associative_scan(compose, (decays, deltas), reverse=True)[1]


def accumulate_in_blocks(deltas: jax.Array, decays: jax.Array) -> jax.Array:
    """Walks through eight stretches of time at once, then joins them; deltas and decays are `[T, ...]`."""
    num_steps = deltas.shape[0]
    length = -(-num_steps // BLOCKS)
    padding = [(0, BLOCKS * length - num_steps)] + [(0, 0)] * (deltas.ndim - 1)

    def in_blocks(leaf):  # [T, ...] -> [length, BLOCKS, ...]
        return jnp.pad(leaf, padding).reshape(BLOCKS, length, *leaf.shape[1:]).swapaxes(0, 1)

    def within(carry, inputs):
        (advantage, reach), (delta, decay) = carry, inputs
        # A finite sum times a zero decay is a cut trace; a non-finite one must not leak through it.
        advantage, reach = delta + jnp.where(decay == 0.0, 0.0, decay * advantage), decay * reach
        return (advantage, reach), (advantage, reach)

    def across(beyond, first_of_block):
        advantage, reach = first_of_block
        return advantage + jnp.where(reach == 0.0, 0.0, reach * beyond), beyond

    zeros = jnp.zeros((BLOCKS, *deltas.shape[1:]), deltas.dtype)
    inputs = (in_blocks(deltas), in_blocks(decays))
    firsts, (advantages, reaches) = jax.lax.scan(within, (zeros, zeros + 1), inputs, reverse=True)
    _, beyond = jax.lax.scan(across, jnp.zeros(deltas.shape[1:], deltas.dtype), firsts, reverse=True)
    advantages = advantages + jnp.where(reaches == 0.0, 0.0, reaches * beyond)
    return advantages.swapaxes(0, 1).reshape(-1, *deltas.shape[1:])[:num_steps]
