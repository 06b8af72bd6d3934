"""Generalised advantage estimation as one hand-written GPU kernel, to see what `lax.scan` leaves on the table.

Each program of the grid takes a block of environments and walks backwards through time with the running sum in
registers: every number is read once and written once.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

BLOCK = 128  # environments of one program


def gae(
    rewards: jax.Array,
    values: jax.Array,
    next_values: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    *,
    gamma: float,
    gae_lambda: float,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Returns `(advantages, targets)`, `[T, N]` both, as `kernels.gae` does; N must be a multiple of 128.

    Args:
      rewards: `[T, N]`.
      values: `[T, N]`.
      next_values: `[T, N]` of the true successors.
      terminated: `[T, N]` bool.
      truncated: `[T, N]` bool.
      gamma: discount.
      gae_lambda: lambda.
      interpret: run it without a GPU, slowly.
    """
    num_steps, num_envs = rewards.shape

    def kernel(rewards, values, next_values, terminated, truncated, advantages, targets):
        def one_step(index, running):
            step = num_steps - 1 - index
            value, ended = values[step], terminated[step] | truncated[step]
            bootstrap = jnp.where(terminated[step], 0.0, next_values[step])
            delta = rewards[step] + gamma * bootstrap - value
            running = delta + jnp.where(ended, 0.0, gamma * gae_lambda * running)
            advantages[step], targets[step] = running, running + value
            return running

        jax.lax.fori_loop(0, num_steps, one_step, jnp.zeros(BLOCK, jnp.float32))

    block = pl.BlockSpec((num_steps, BLOCK), lambda column: (0, column))
    shape = jax.ShapeDtypeStruct((num_steps, num_envs), jnp.float32)
    call = pl.pallas_call(
        kernel,
        grid=(num_envs // BLOCK,),
        in_specs=[block] * 5,
        out_specs=[block] * 2,
        out_shape=[shape] * 2,
        compiler_params=triton.CompilerParams(num_warps=4),  # blocks stay in memory, of which a step reads one row
        interpret=interpret,
    )
    return call(rewards, values, next_values, terminated, truncated)
