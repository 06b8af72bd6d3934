"""Running moments against NumPy over everything seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purejaxrl_gae import kernels

update = jax.jit(kernels.update_moments)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.sampled_from([1, 2, 17]), min_size=1, max_size=6))
def test_moments_are_those_of_all_samples_together(seed, sizes):
    rng = np.random.default_rng(seed)
    batches = [rng.normal(rng.normal(), 2.0, size=(size, 3)) for size in sizes]
    moments = kernels.init_moments((3,))
    for batch in batches:
        moments = update(moments, jnp.asarray(batch, jnp.float32))
    everything = np.concatenate(batches)
    assert float(moments.count) == len(everything)
    np.testing.assert_allclose(moments.mean, everything.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.variance, everything.var(0), rtol=1e-3, atol=1e-5)


def test_leading_axes_are_all_samples():
    batch = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5, 3)), jnp.float32)
    one, flat = (update(kernels.init_moments((3,)), x) for x in (batch, batch.reshape(20, 3)))
    np.testing.assert_allclose(one.variance, flat.variance, rtol=1e-6)


def test_a_large_offset_costs_no_precision():
    rng = np.random.default_rng(0)
    moments = kernels.init_moments()
    for _ in range(100):
        moments = update(moments, jnp.asarray(10_000.0 + rng.normal(size=64), jnp.float32))
    np.testing.assert_allclose(moments.variance, 1.0, rtol=0.05)


@jax.jit
def updated_again_and_again(moments, batches, times):
    return jax.lax.fori_loop(0, times, lambda i, m: kernels.update_moments(m, batches[i % len(batches)]), moments)


def test_a_quarter_of_a_million_small_batches_leave_no_drift():
    batches = np.random.default_rng(0).normal(100.0, 3.0, size=(64, 40)).astype(np.float32)
    moments = updated_again_and_again(kernels.init_moments(), batches, 2**18)
    assert float(moments.count) == 2**18 * 40
    np.testing.assert_allclose(moments.mean, np.mean(batches, dtype=float), rtol=1e-7)
    np.testing.assert_allclose(moments.variance, np.var(batches, dtype=float), rtol=1e-6)


def test_ten_billion_samples_on_the_next_ones_still_count():
    """A step of 4e-9 of the way, far below the rounding of what it is added to, is not lost."""
    before, mean, variance, times = 10**10, 100.0, 9.0, 100_000
    moments = kernels.init_moments().replace(
        count=jnp.float32(before), mean=jnp.float32(mean), variance=jnp.float32(variance)
    )
    batches = np.random.default_rng(0).normal(110.0, 30.0, size=(50, 40)).astype(np.float32)
    moments = updated_again_and_again(moments, batches, times)

    share = times * 40 / (before + times * 40)
    new_mean, new_variance = np.mean(batches, dtype=float), np.var(batches, dtype=float)
    expected = (1 - share) * variance + share * new_variance + share * (1 - share) * (new_mean - mean) ** 2
    assert float(moments.count) + float(moments.count_rest) == before + times * 40
    np.testing.assert_allclose(moments.mean, (1 - share) * mean + share * new_mean, rtol=1e-7)
    np.testing.assert_allclose(moments.variance, expected, rtol=1e-6)
    assert float(moments.variance) - variance > 0.3


def test_moments_of_nothing_change_nothing():
    samples = jnp.array([[-3.0, 0.5]])
    np.testing.assert_allclose(kernels.normalize(samples, kernels.init_moments((2,))), samples, rtol=1e-6)


def test_normalised_samples_have_mean_zero_and_variance_one_and_bounds():
    batch = jnp.asarray(np.random.default_rng(0).normal(5.0, 3.0, size=(1000, 2)), jnp.float32)
    moments = update(kernels.init_moments((2,)), batch)
    normalised = kernels.normalize(batch, moments)
    np.testing.assert_allclose(normalised.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(normalised.std(0), 1.0, rtol=1e-4)
    assert np.all(np.abs(kernels.normalize(batch * 1e6, moments, clip=10.0)) <= 10.0)


def test_a_feature_that_never_varies_stays_finite():
    moments = update(kernels.init_moments((1,)), jnp.full((8, 1), 4.0))
    np.testing.assert_allclose(kernels.normalize(jnp.full((1, 1), 4.0), moments), 0.0, atol=1e-3)


def test_discounted_returns_of_the_past_restart_after_an_end():
    rewards = jnp.array([[1.0], [1.0], [1.0], [1.0]])
    ended = jnp.array([[False], [True], [False], [False]])
    returns, carried = kernels.running_discounted_returns(rewards, ended, jnp.array([8.0]), gamma=0.5)
    np.testing.assert_allclose(returns[:, 0], [5.0, 3.5, 1.0, 1.5])
    np.testing.assert_allclose(carried, [1.5])
    _, carried = kernels.running_discounted_returns(rewards[:2], ended[:2], jnp.array([8.0]), gamma=0.5)
    np.testing.assert_allclose(carried, [0.0])


def test_rewards_are_scaled_but_never_shifted():
    moments = update(kernels.init_moments(), jnp.asarray([0.0, 4.0, 8.0]))
    scaled = kernels.scale_rewards(jnp.array([0.0, 1.0, -1.0, 1e9]), moments)
    np.testing.assert_allclose(scaled, [0.0, 1 / np.sqrt(32 / 3), -1 / np.sqrt(32 / 3), 10.0], rtol=1e-5)


def test_samples_of_1e30_leave_finite_moments_and_are_bounded():
    rewards = jnp.array([1e30, -1e30, 1e30, 3.0])
    moments = update(kernels.init_moments(), rewards)
    assert np.isfinite(moments.mean) and np.isfinite(moments.variance)
    np.testing.assert_allclose(kernels.scale_rewards(rewards, moments)[:2], [10.0, -10.0])
    assert np.all(np.abs(kernels.normalize(rewards, moments)) <= 10.0)
    assert np.isfinite(update(moments, rewards).variance)


@pytest.mark.parametrize("sample", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_shows_in_the_moments(sample):
    moments = update(update(kernels.init_moments(), jnp.array([1.0, 2.0])), jnp.array([1.0, sample]))
    assert not np.isfinite(moments.mean)
