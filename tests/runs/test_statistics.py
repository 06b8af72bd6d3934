"""Aggregates over runs, against SciPy and the definitions of Agarwal et al. (2021)."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from purejaxrl_gae.runs import statistics

SCORES = arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(-1e3, 1e3))


@given(SCORES)
def test_iqm_is_the_trimmed_mean_of_all_scores(scores):
    # rliable's aggregate_iqm: scipy.stats.trim_mean(scores, proportiontocut=0.25, axis=None)
    expected = scipy.stats.trim_mean(scores, proportiontocut=0.25, axis=None)
    np.testing.assert_allclose(statistics.interquartile_mean(scores), expected, rtol=1e-9, atol=1e-9)


@given(SCORES)
def test_the_mean_is_over_task_means(scores):
    # rliable's aggregate_mean: of np.mean(scores, axis=0)
    np.testing.assert_allclose(statistics.mean_of_task_means(scores), np.mean(np.mean(scores, axis=0)), atol=1e-9)


def test_statistics_work_on_stacks_of_resamples():
    stack = np.random.default_rng(0).normal(size=(7, 9, 3))
    for statistic in (statistics.interquartile_mean, statistics.mean_of_task_means, statistics.median):
        np.testing.assert_allclose(statistic(stack), [statistic(scores) for scores in stack])


def test_the_interval_is_scipys_percentile_bootstrap():
    scores = np.random.default_rng(1).gamma(2.0, size=(20, 1))
    ours = statistics.with_interval(scores, statistics.interquartile_mean, resamples=20_000)
    theirs = scipy.stats.bootstrap(
        (scores[:, 0],),
        lambda sample, axis: scipy.stats.trim_mean(sample, 0.25, axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(2),
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_runs_are_redrawn_within_their_task():
    # Each task's runs agree, so stratified resampling cannot change anything; redrawing across tasks would.
    scores = np.tile([[0.0, 10.0, 100.0]], (5, 1))
    result = statistics.with_interval(scores, statistics.mean_of_task_means)
    assert (result.low, result.value, result.high) == pytest.approx((110 / 3, 110 / 3, 110 / 3))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator, covered = np.random.default_rng(3), 0
    for trial in range(200):
        sample = generator.normal(size=30)
        result = statistics.with_interval(sample, statistics.mean_of_task_means, resamples=500, seed=trial)
        covered += result.low <= 0.0 <= result.high
    assert 0.88 <= covered / 200 <= 0.99


def test_one_run_has_an_interval_of_no_width_and_nan_stays_nan():
    assert statistics.with_interval(np.array([3.0])) == (3.0, 3.0, 3.0)
    assert all(np.isnan(statistics.with_interval(np.array([3.0, np.nan]))))


def test_a_performance_profile_counts_what_is_above():
    scores = np.array([[1.0, 5.0], [3.0, 7.0]])
    np.testing.assert_allclose(
        statistics.performance_profile(scores, np.array([0.0, 1.0, 4.0, 7.0])), [1.0, 0.75, 0.5, 0.0]
    )
