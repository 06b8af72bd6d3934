"""Counts at the end of what an int32 holds."""

import jax.numpy as jnp
import pytest

from purejaxrl_gae import kernels

MOST = 2**31 - 1


@pytest.mark.parametrize(
    "count, more, total", [(0, 0, 0), (3, 4, 7), (MOST - 4, 4, MOST), (MOST - 4, 5, MOST), (MOST, MOST, MOST)]
)
def test_a_count_adds_up_and_stops_at_the_largest(count, more, total):
    assert int(kernels.add_counts(jnp.int32(count), jnp.int32(more))) == total
