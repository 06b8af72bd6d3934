"""The keyed bijection is a bijection, and as random as a shuffle needs to be."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from purejaxrl_gae import kernels
from purejaxrl_gae.kernels import shuffle

FAST = shuffle.SORT_BELOW  # the smallest size that is not sorted


@functools.lru_cache(maxsize=4)  # several tests look at the same
def permutations(n, count, seed=0):
    return np.asarray(
        jax.jit(jax.vmap(lambda key: kernels.permutation(key, n)))(jax.random.split(jax.random.key(seed), count))
    )


@pytest.mark.parametrize("n", [1, 2, 8, 1023, 1024, 1025, 1031, 2048, 6561, 10_007, 65_536, 65_537, 99_991, 1_000_003])
def test_every_index_comes_once(n):
    result = np.asarray(kernels.permutation(jax.random.key(n), n))
    assert result.dtype == np.int32
    np.testing.assert_array_equal(np.sort(result), np.arange(n))


@pytest.mark.parametrize("n", [FAST, FAST + 7])
def test_keys_decide(n):
    first, second = permutations(n, 2)
    np.testing.assert_array_equal(first, permutations.__wrapped__(n, 2)[0])
    assert np.mean(first == second) < 0.02


@pytest.mark.parametrize("n", [8, FAST, 1031, 4096])
def test_every_index_goes_everywhere_equally_often(n):
    bins, count = 8, 8000
    results = permutations(n, count)
    for index in (0, 1, n // 3, n - 2, n - 1):
        landed = np.bincount(results[:, index] * bins // n, minlength=bins)
        assert scipy.stats.chisquare(landed, np.diff(np.ceil(np.arange(bins + 1) * n / bins)) / n * count).pvalue > 1e-4


@pytest.mark.parametrize("stride", [1, 2, 32, 64])
@pytest.mark.parametrize("n", [FAST, 1031, 4096])
def test_neighbours_part_as_if_drawn_independently(n, stride):
    results = permutations(n, 4000)
    for index in (0, n // 2):
        pair = results[:, [index, index + stride]] * 8 // n
        table = np.zeros((8, 8))
        np.add.at(table, (pair[:, 0], pair[:, 1]), 1)
        assert scipy.stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("n", [FAST, 1031, 65_536])
def test_nothing_of_the_order_is_left(n):
    results = permutations(n, 64).astype(float)
    correlations = [np.corrcoef(np.arange(n), row)[0, 1] for row in results]
    serial = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in results]
    for values in (correlations, serial):
        assert abs(np.mean(values)) < 4 / np.sqrt(64 * n)
        np.testing.assert_allclose(np.std(values), 1 / np.sqrt(n), rtol=0.5)


def test_fixed_points_are_poisson():
    fixed = np.sum(permutations(FAST, 8000) == np.arange(FAST), axis=1)
    observed = np.array([np.sum(fixed == k) for k in range(4)] + [np.sum(fixed >= 4)])
    expected = scipy.stats.poisson.pmf(range(4), 1.0)
    assert scipy.stats.chisquare(observed, 8000 * np.append(expected, 1 - expected.sum())).pvalue > 1e-4


def test_minibatches_share_no_structure():
    """The first quarter of the samples is spread evenly over four minibatches, with hypergeometric variance."""
    n, count = 4096, 4000
    in_first = np.sum(permutations(n, count)[:, : n // 4] < n // 4, axis=1)
    law = scipy.stats.hypergeom(n, n // 4, n // 4)
    np.testing.assert_allclose(in_first.mean(), law.mean(), atol=4 * law.std() / np.sqrt(count))
    np.testing.assert_allclose(in_first.std(), law.std(), rtol=0.06)


@pytest.mark.parametrize("n", [1024, 1031, 65_537, 2**28 - 1])
def test_the_rectangle_covers_the_indices_closely(n):
    rows, columns = shuffle._rectangle(n)
    assert n <= rows * columns <= n + rows
    assert max(rows, columns) < 2**16


@pytest.mark.parametrize("n", [0, -1, 2**28])
def test_sizes_out_of_range_are_refused(n):
    with pytest.raises(ValueError, match=f"n is {n}"):
        kernels.permutation(jax.random.key(0), n)


def test_the_program_holds_no_sort():
    text = jax.jit(lambda key: kernels.permutation(key, 65_536)).lower(jax.random.key(0)).as_text()
    assert "sort" not in text
    assert jnp.int32(0) == 0
