"""The losses at the points where their values and gradients are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import kernels

ADVANTAGES = jnp.array([1.0, -2.0, 0.5, 3.0])
OLD = jnp.log(jnp.array([0.2, 0.4, 0.6, 0.8]))


def test_before_any_step_every_surrogate_is_minus_the_mean_advantage():
    expected = -ADVANTAGES.mean()
    np.testing.assert_allclose(kernels.unclipped_loss(OLD, OLD, ADVANTAGES), expected)
    np.testing.assert_allclose(kernels.ppo_clip_loss(OLD, OLD, ADVANTAGES, clip_coef=0.2), expected)
    penalised = kernels.kl_penalty_loss(OLD, OLD, ADVANTAGES, jnp.zeros(4), kl_coef=3.0)
    np.testing.assert_allclose(penalised, expected)


@pytest.mark.parametrize("loss", [kernels.unclipped_loss, lambda *a: kernels.ppo_clip_loss(*a, clip_coef=0.2)])
def test_the_gradient_there_is_the_policy_gradient(loss):
    gradient = jax.grad(loss)(OLD, OLD, ADVANTAGES)
    np.testing.assert_allclose(gradient, -ADVANTAGES / 4, rtol=1e-6)


@pytest.mark.parametrize(
    "log_ratio, advantage, flows",
    [
        (0.5, 1.0, False),
        (0.5, -1.0, True),
        (-0.5, 1.0, True),
        (-0.5, -1.0, False),
        (0.1, 1.0, True),
        (-0.1, -1.0, True),
    ],
)
def test_clipping_stops_the_gradient_only_where_the_step_has_gone_far_enough(log_ratio, advantage, flows):
    gradient = jax.grad(kernels.ppo_clip_loss)(
        jnp.array([log_ratio]), jnp.zeros(1), jnp.array([advantage]), clip_coef=0.2
    )
    assert (gradient[0] != 0.0) == flows


def test_the_clipped_loss_is_the_pessimistic_one():
    log_probs = jnp.log(jnp.array([1.5, 0.5, 1.5, 0.5]))
    advantages = jnp.array([1.0, 1.0, -1.0, -1.0])
    # min(r A, clip(r) A) sample by sample, eps = 0.2
    expected = -np.mean([1.2, 0.5, -1.5, -0.8])
    np.testing.assert_allclose(
        kernels.ppo_clip_loss(log_probs, jnp.zeros(4), advantages, clip_coef=0.2), expected, rtol=1e-6
    )


def test_the_penalty_is_beta_times_the_mean_kl():
    kl = jnp.array([0.1, 0.2, 0.3, 0.4])
    bare = kernels.unclipped_loss(OLD, OLD + 0.1, ADVANTAGES)
    np.testing.assert_allclose(
        kernels.kl_penalty_loss(OLD, OLD + 0.1, ADVANTAGES, kl, kl_coef=2.0), bare + 2.0 * 0.25, rtol=1e-6
    )


@pytest.mark.parametrize("kl, factor", [(0.0151, 2.0), (0.0149, 1.0), (0.01, 1.0), (0.0067, 1.0), (0.0066, 0.5)])
def test_beta_is_doubled_above_and_halved_below_the_band(kl, factor):
    np.testing.assert_allclose(kernels.adapt_kl_coefficient(1.0, kl, 0.01), factor)


def test_beta_stays_where_it_can_come_back_and_ignores_nan():
    np.testing.assert_allclose(kernels.adapt_kl_coefficient(1e6, 1.0, 0.01), 1e6)
    np.testing.assert_allclose(kernels.adapt_kl_coefficient(1e-6, 0.0, 0.01), 1e-6)
    np.testing.assert_allclose(kernels.adapt_kl_coefficient(3.0, jnp.nan, 0.01), 3.0)


def test_the_value_loss_is_half_the_mean_squared_error():
    np.testing.assert_allclose(kernels.value_loss(jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0])), 0.5 * 2.5)


def test_a_value_of_no_weight_has_no_part_in_the_loss():
    values, targets, weights = jnp.array([1.0, 2.0, 9.0]), jnp.array([0.0, 4.0, 0.0]), jnp.array([1.5, 1.5, 0.0])
    np.testing.assert_allclose(kernels.value_loss(values, targets, weights=weights), 0.5 * 2.5)
    counted = kernels.explained_variance(values, targets, where=weights > 0.0)
    np.testing.assert_allclose(counted, kernels.explained_variance(values[:2], targets[:2]))


def test_the_clipped_value_loss_takes_the_larger_error():
    values, old, targets = jnp.array([1.0, 1.0]), jnp.array([0.0, 0.9]), jnp.array([1.0, 2.0])
    # first: moved by 1, allowed 0.2: error of 0.2 counts; second: within the range
    np.testing.assert_allclose(
        kernels.clipped_value_loss(values, old, targets, clip_coef=0.2), 0.5 * (0.64 + 1.0) / 2, rtol=1e-6
    )


def test_the_kl_estimate_is_never_negative_and_second_order_exact():
    rng = np.random.default_rng(0)
    difference = jnp.asarray(rng.normal(size=1000) * 1e-2, jnp.float32)
    estimate = kernels.approximate_kl(difference, jnp.zeros(1000))
    assert estimate >= 0.0
    np.testing.assert_allclose(estimate, 0.5 * jnp.mean(difference**2), rtol=0.02)


def test_the_clipped_share_is_counted():
    log_probs = jnp.log(jnp.array([1.0, 1.19, 1.21, 0.5]))
    np.testing.assert_allclose(kernels.clip_fraction(log_probs, jnp.zeros(4), clip_coef=0.2), 0.5)


def test_explained_variance_is_one_for_perfect_and_zero_for_constant_values():
    targets = jnp.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(kernels.explained_variance(targets, targets), 1.0)
    np.testing.assert_allclose(kernels.explained_variance(jnp.full(3, 7.0), targets), 0.0, atol=1e-6)
    np.testing.assert_allclose(kernels.explained_variance(targets, jnp.ones(3)), 0.0)


@pytest.mark.parametrize("ddof", [0, 1])
def test_advantages_are_normalised(ddof):
    normalised = np.asarray(kernels.normalize_advantages(ADVANTAGES, ddof=ddof))
    np.testing.assert_allclose(normalised.mean(), 0.0, atol=1e-6)
    np.testing.assert_allclose(normalised.std(ddof=ddof), 1.0, rtol=1e-5)


def test_equal_advantages_become_zeros():
    np.testing.assert_array_equal(kernels.normalize_advantages(jnp.full(8, 2.5)), 0.0)


@pytest.mark.parametrize("loss", [kernels.unclipped_loss, lambda *a: kernels.ppo_clip_loss(*a, clip_coef=0.2)])
def test_a_trailing_axis_is_refused_instead_of_broadcast(loss):
    with pytest.raises(AssertionError):
        loss(OLD[:, None], OLD, ADVANTAGES)
    with pytest.raises(AssertionError):
        kernels.value_loss(OLD[:, None], OLD)


@pytest.mark.parametrize(
    "rate, kl, following",
    [
        (3e-4, 0.021, 2e-4),
        (3e-4, 0.0049, 4.5e-4),
        (3e-4, 0.02, 3e-4),
        (3e-4, 0.005, 3e-4),
        (1.2e-5, 1.0, 1e-5),
        (9e-3, 1e-4, 1e-2),
        (9e-3, 0.0, 9e-3),
        (3e-4, float("nan"), 3e-4),
    ],
)
def test_the_learning_rate_follows_the_kl_within_bounds(rate, kl, following):
    np.testing.assert_allclose(kernels.adapt_learning_rate(rate, kl, 0.01), following, rtol=1e-6)
