"""Random permutations of 0 .. n-1 in O(n), without a sort.

A sort of random bits costs O(n log n) and dominates PPO's epochs on CPU. Here every index is sent through a keyed
bijection of its own, a few rounds of a Feistel network on a rectangle `rows x columns` that just covers n: each
round shifts one coordinate by a hash of the other, which is undone by shifting back, so it is a bijection whatever
the hash does. Where the rectangle is larger than n, indices that land outside walk on until they are inside
(cycle-walking; Black and Rogaway 2002), which keeps it a bijection of 0 .. n-1.

`ROUNDS` is what the tests of uniformity ask for. Below `SORT_BELOW` a sort is as fast, and exactly uniform.
"""

import math

import jax
import jax.numpy as jnp

ROUNDS = 4
SORT_BELOW = 1024
LARGEST = 2**28 - 1  # both sides of the rectangle stay below 2^16, so a 32-bit product cannot overflow


def permutation(key: jax.Array, n: int) -> jax.Array:
    """Draws a random permutation of `0 .. n-1`.

    Args:
      key: random key.
      n: number of indices, static, at most 2^28 - 1.

    Returns:
      `[n]` int32, every index once.

    Raises:
      ValueError: n is not in 1 .. 2^28 - 1.
    """
    if not 1 <= n <= LARGEST:
        raise ValueError(f"n is {n}; it must lie in 1 .. {LARGEST}")
    if n < SORT_BELOW:
        return jax.random.permutation(key, n).astype(jnp.int32)
    round_keys = jax.random.bits(key, (ROUNDS, 2), jnp.uint32)
    rows, columns = _rectangle(n)
    indices = _feistel(jnp.arange(n, dtype=jnp.uint32), round_keys, rows, columns)
    if rows * columns > n:
        indices = _walk_inside(indices, round_keys, rows, columns, n)
    return indices.astype(jnp.int32)


def _rectangle(n: int) -> tuple[int, int]:
    """Finds rows and columns of the smallest near-square rectangle with n cells or, where n needs it, a few more."""
    root = math.isqrt(n)
    for rows in range(root, root // 4, -1):
        if n % rows == 0:
            return rows, n // rows
    rows = root if root * root == n else root + 1
    return rows, -(-n // rows)


def _mix(bits: jax.Array) -> jax.Array:
    """Hashes 32-bit integers with full avalanche (two multiply-xorshift rounds)."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


def _shift(coordinate: jax.Array, other: jax.Array, round_key: jax.Array, size: int) -> jax.Array:
    """Computes (coordinate + hash(other)) mod size; a product of the upper 16 bits with `size` replaces a division."""
    offset = ((_mix(other ^ round_key) >> 16) * jnp.uint32(size)) >> 16
    shifted = coordinate + offset
    return jnp.where(shifted >= size, shifted - jnp.uint32(size), shifted)


def _feistel(indices: jax.Array, round_keys: jax.Array, rows: int, columns: int) -> jax.Array:
    """Applies the keyed bijection of `0 .. rows * columns - 1`."""
    row, column = indices // jnp.uint32(columns), indices % jnp.uint32(columns)
    for row_key, column_key in round_keys:
        row = _shift(row, column, row_key, rows)
        column = _shift(column, row, column_key, columns)
    return row * jnp.uint32(columns) + column


def _walk_inside(indices: jax.Array, round_keys: jax.Array, rows: int, columns: int, n: int) -> jax.Array:
    """Applies the bijection again to every index outside `0 .. n-1` until none is left."""

    def outside(indices):
        return jnp.any(indices >= n)

    def again(indices):
        return jnp.where(indices >= n, _feistel(indices, round_keys, rows, columns), indices)

    return jax.lax.while_loop(outside, again, indices)
