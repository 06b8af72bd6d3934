"""Statistics of many runs: aggregates and their intervals as Agarwal et al. (2021, rliable) define them.

Scores are `[R, K]`: R runs (seeds) of each of K tasks. Everything is NumPy, in float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RESAMPLES = 2_000
CONFIDENCE = 0.95


class Aggregate(NamedTuple):
    """A statistic and the interval it lies in.

    Attributes:
      value: of the scores.
      low: lower end of its 95% stratified-bootstrap interval.
      high: upper end.
    """

    value: float
    low: float
    high: float


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Computes the mean of the middle half of all scores, runs and tasks together; over the last two axes.

    A quarter of the scores, rounded down, is left out at each end.

    Args:
      scores: `[..., R, K]`.
    """
    ordered = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = ordered.shape[-1] // 4
    return ordered[..., cut : ordered.shape[-1] - cut].mean(axis=-1)


def mean_of_task_means(scores: np.ndarray) -> np.ndarray:
    """Computes the mean over tasks of the mean over runs; over the last two axes."""
    return scores.mean(axis=(-2, -1))


def median(scores: np.ndarray) -> np.ndarray:
    """Computes the median of all scores, runs and tasks together; over the last two axes."""
    return np.median(scores.reshape(*scores.shape[:-2], -1), axis=-1)


def with_interval(
    scores: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray] = interquartile_mean,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Aggregate:
    """Computes a statistic with its percentile interval under the stratified bootstrap: runs redrawn within each task.

    Args:
      scores: `[R, K]`, or `[R]` for one task.
      statistic: `[..., R, K] -> [...]`.
      resamples: bootstrap samples.
      seed: of the redrawing.

    Returns:
      Value and 95% interval; all NaN where a score is.
    """
    scores = np.asarray(scores, np.float64)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if not np.all(np.isfinite(scores)):
        return Aggregate(float("nan"), float("nan"), float("nan"))
    runs, tasks = scores.shape
    drawn = np.random.default_rng(seed).integers(runs, size=(resamples, runs, tasks))
    resampled = statistic(scores[drawn, np.arange(tasks)])
    tail = 100.0 * (1.0 - CONFIDENCE) / 2.0
    low, high = np.percentile(resampled, [tail, 100.0 - tail])
    return Aggregate(float(statistic(scores)), float(low), float(high))


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Computes the share of runs above each threshold, averaged over tasks: `[..., R, K]` and `[X]` to `[..., X]`."""
    return (scores[..., None] > thresholds).mean(axis=(-3, -2))
