"""Categorical and diagonal Gaussian against SciPy and Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from purejaxrl_gae.kernels import Categorical, DiagonalGaussian, SquashedGaussian

MANY = 200_000


def gaussians(seed=0, shape=(5, 3)):
    rng = np.random.default_rng(seed)
    return DiagonalGaussian(*(jnp.asarray(rng.normal(size=shape) * 0.5, jnp.float32) for _ in range(2)))


def categoricals(seed=0, shape=(5, 4)):
    return Categorical(jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32))


def probabilities(distribution):
    logits = np.asarray(distribution.logits, np.float64)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def test_gaussian_log_prob_is_the_sum_over_action_dimensions():
    distribution, actions = gaussians(), np.random.default_rng(1).normal(size=(5, 3))
    expected = scipy.stats.norm.logpdf(actions, distribution.mean, np.exp(distribution.log_std)).sum(-1)
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(actions, jnp.float32)), expected, rtol=1e-4)
    assert distribution.log_prob(distribution.mean).shape == (5,)


def test_gaussian_entropy_is_scipys():
    distribution = gaussians()
    expected = scipy.stats.norm.entropy(distribution.mean, np.exp(distribution.log_std)).sum(-1)
    np.testing.assert_allclose(distribution.entropy(), expected, rtol=1e-5)


def test_categorical_log_prob_and_entropy_are_scipys():
    distribution, actions = categoricals(), jnp.array([0, 1, 2, 3, 0])
    p = probabilities(distribution)
    np.testing.assert_allclose(distribution.log_prob(actions), np.log(p[np.arange(5), actions]), rtol=1e-5)
    np.testing.assert_allclose(distribution.entropy(), scipy.stats.entropy(p, axis=-1), rtol=1e-5)


def test_categorical_kl_is_scipys():
    p, q = categoricals(0), categoricals(1)
    expected = scipy.stats.entropy(probabilities(p), probabilities(q), axis=-1)
    np.testing.assert_allclose(p.kl_divergence(q), expected, rtol=1e-4)


@pytest.mark.parametrize("make", [gaussians, categoricals])
def test_kl_is_the_mean_log_ratio_of_samples(make):
    p, q = make(0, (1, 3)), make(1, (1, 3))
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (MANY, 3)), p)
    actions = many.sample(jax.random.key(0))
    log_p = many.log_prob(actions)
    log_q = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (MANY, 3)), q).log_prob(actions)
    np.testing.assert_allclose(jnp.mean(log_p - log_q), p.kl_divergence(q)[0], rtol=0.05)
    np.testing.assert_allclose(-jnp.mean(log_p), p.entropy()[0], rtol=0.02)


@pytest.mark.parametrize("make", [gaussians, categoricals])
def test_kl_is_zero_for_equals_and_positive_otherwise(make):
    p, q = make(0), make(1)
    np.testing.assert_allclose(p.kl_divergence(p), 0.0, atol=1e-6)
    assert np.all(p.kl_divergence(q) > 0.0)


def test_kl_is_not_symmetric():
    narrow = DiagonalGaussian(jnp.zeros(1), jnp.full(1, -1.0))
    wide = DiagonalGaussian(jnp.zeros(1), jnp.zeros(1))
    # log(s2/s1) + s1^2 / (2 s2^2) - 1/2
    np.testing.assert_allclose(narrow.kl_divergence(wide), 1.0 + 0.5 * np.exp(-2.0) - 0.5, rtol=1e-6)
    np.testing.assert_allclose(wide.kl_divergence(narrow), -1.0 + 0.5 * np.exp(2.0) - 0.5, rtol=1e-6)


def test_gaussian_samples_have_the_right_moments():
    distribution = DiagonalGaussian(jnp.full((MANY, 2), 3.0), jnp.log(jnp.array([0.5, 2.0])))
    samples = distribution.sample(jax.random.key(0))
    np.testing.assert_allclose(samples.mean(0), 3.0, atol=0.02)
    np.testing.assert_allclose(samples.std(0), [0.5, 2.0], rtol=0.01)
    assert abs(np.corrcoef(np.asarray(samples).T)[0, 1]) < 0.01


def test_categorical_samples_have_the_right_frequencies():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    samples = Categorical(jnp.broadcast_to(jnp.log(p), (MANY, 4))).sample(jax.random.key(0))
    counts = np.bincount(np.asarray(samples), minlength=4)
    assert scipy.stats.chisquare(counts, p * MANY).pvalue > 1e-3
    assert samples.dtype == np.int32


@pytest.mark.parametrize("make, shape", [(gaussians, (5, 3)), (categoricals, (5, 4))])
def test_a_sample_is_its_noise_transformed(make, shape):
    distribution, key = make(), jax.random.key(3)
    np.testing.assert_array_equal(
        distribution.sample(key), distribution.from_noise(distribution.draw_noise(key, shape))
    )


def test_modes():
    np.testing.assert_array_equal(gaussians().mode(), gaussians().mean)
    np.testing.assert_array_equal(categoricals().mode(), np.argmax(categoricals().logits, -1))


def test_an_impossible_action_is_no_source_of_nan():
    def total(logits):
        distribution, other = Categorical(logits), Categorical(jnp.array([0.0, 0.5, -jnp.inf]))
        return distribution.entropy() + distribution.kl_divergence(other) + distribution.log_prob(jnp.int32(0))

    logits = jnp.array([0.3, -0.2, -jnp.inf])
    value, gradient = jax.value_and_grad(total)(logits)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_extreme_logits_stay_finite():
    distribution = Categorical(jnp.array([1e4, -1e4, 0.0]))
    np.testing.assert_allclose(distribution.entropy(), 0.0, atol=1e-6)
    np.testing.assert_allclose(distribution.log_prob(jnp.int32(0)), 0.0, atol=1e-6)


def test_actions_of_another_shape_are_refused():
    with pytest.raises(AssertionError):
        gaussians().log_prob(jnp.zeros(5))
    with pytest.raises(AssertionError):
        categoricals().log_prob(jnp.zeros((5, 1), jnp.int32))


@pytest.mark.parametrize("make", [gaussians, categoricals])
def test_distributions_pass_through_transformations(make):
    distribution = make()
    entropy = jax.jit(jax.vmap(lambda one: one.entropy()))(distribution)
    np.testing.assert_allclose(entropy, distribution.entropy(), rtol=1e-5)


def squashed(mean, std):
    return SquashedGaussian(jnp.asarray([mean], jnp.float32), jnp.log(jnp.asarray([std], jnp.float32)))


def integrate(function, mean, std):
    """Of a function of u over twelve deviations to either side."""
    u = np.linspace(mean - 12.0 * std, mean + 12.0 * std, 400_001)
    return np.trapezoid(function(u), u)


def log_slope(u):
    return 2.0 * (np.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))


@pytest.mark.parametrize("mean, std", [(0.0, 0.5), (0.8, 1.0), (-2.0, 0.3)])
def test_the_squashed_density_is_one_over_the_actions(mean, std):
    actions = np.linspace(-1.0, 1.0, 200_003)[1:-1]
    u = jnp.asarray(np.arctanh(actions), jnp.float32)[:, None]
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(actions), 1)), squashed(mean, std))
    density = np.exp(np.asarray(many.log_prob(u), np.float64))
    np.testing.assert_allclose(np.trapezoid(density, actions), 1.0, rtol=2e-3)


def test_squashed_log_prob_is_the_gaussians_less_the_slope_and_finite_far_out():
    distribution = SquashedGaussian(*jax.tree.leaves(gaussians()))
    u = np.random.default_rng(1).normal(size=(5, 3)) * 3.0
    expected = scipy.stats.norm.logpdf(u, distribution.mean, np.exp(distribution.log_std)) - log_slope(u)
    np.testing.assert_allclose(
        distribution.log_prob(jnp.asarray(u, jnp.float32)), expected.sum(-1), rtol=1e-4, atol=1e-4
    )
    far = squashed(0.0, 1.0)
    value, slope = jax.value_and_grad(lambda u: far.log_prob(jnp.full(1, u)))(jnp.float32(60.0))
    np.testing.assert_allclose(value, scipy.stats.norm.logpdf(60.0) - log_slope(60.0), rtol=1e-5)
    assert np.isfinite(slope)


@pytest.mark.parametrize("mean", [0.0, -1.0, 3.0])
@pytest.mark.parametrize("std, tolerance", [(0.05, 1e-5), (0.5, 1e-5), (1.0, 1e-5), (2.0, 5e-4), (3.0, 5e-3)])
def test_squashed_entropy_is_the_integral_of_minus_p_log_p(mean, std, tolerance):
    def integrand(u):
        log_p = scipy.stats.norm.logpdf(u, mean, std)
        return -np.exp(log_p) * (log_p - log_slope(u))

    np.testing.assert_allclose(
        squashed(mean, std).entropy(), integrate(integrand, mean, std), atol=tolerance, rtol=1e-5
    )


def test_the_gradient_of_squashed_entropy_is_that_of_the_integral():
    def entropy(mean, std):
        def integrand(u):
            log_p = scipy.stats.norm.logpdf(u, mean, std)
            return -np.exp(log_p) * (log_p - log_slope(u))

        return integrate(integrand, mean, std)

    by_mean, by_log_std = jax.grad(lambda m, s: SquashedGaussian(m[None], s[None]).entropy(), (0, 1))(
        jnp.float32(0.7), jnp.log(jnp.float32(0.9))
    )
    np.testing.assert_allclose(by_mean, (entropy(0.701, 0.9) - entropy(0.699, 0.9)) / 0.002, rtol=1e-3)
    np.testing.assert_allclose(by_log_std, 0.9 * (entropy(0.7, 0.901) - entropy(0.7, 0.899)) / 0.002, rtol=1e-3)


def test_squashed_kl_is_the_gaussians_and_the_mean_log_ratio():
    p, q = (SquashedGaussian(*jax.tree.leaves(gaussians(seed, (1, 3)))) for seed in (0, 1))
    np.testing.assert_array_equal(p.kl_divergence(q), gaussians(0, (1, 3)).kl_divergence(gaussians(1, (1, 3))))
    many_p, many_q = (jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (MANY, 3)), one) for one in (p, q))
    u = many_p.sample(jax.random.key(0))
    ratios = many_p.log_prob(u) - many_q.log_prob(u)
    np.testing.assert_allclose(jnp.mean(ratios), p.kl_divergence(q)[0], rtol=0.05)
    np.testing.assert_allclose(-jnp.mean(many_p.log_prob(u)), p.entropy()[0], rtol=0.02)
