"""Learning curves of many seeds trained at once."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from purejaxrl_gae import make_train

WINDOW = 100


@dataclass(frozen=True)
class SeedRuns:
    """The seeds of one config.

    Attributes:
      env_steps: `[U]` environment steps of one agent.
      scores: `[S, U]` mean return of the last 100 training episodes, or of all where there were fewer; NaN before
        the first ended.
      metrics: name -> `[S, U]`.
      seconds: of training, without compiling.
    """

    env_steps: np.ndarray
    scores: np.ndarray
    metrics: dict[str, np.ndarray]
    seconds: float


def train_seeds(config: Any, num_seeds: int) -> SeedRuns:
    """Trains seeds 0 .. S-1 in one program."""
    keys = jax.vmap(jax.random.key)(np.arange(num_seeds))
    program = jax.jit(jax.vmap(make_train(config))).lower(keys).compile()
    started = time.perf_counter()
    result = jax.block_until_ready(program(keys))
    seconds = time.perf_counter() - started
    metrics = {name: np.asarray(values) for name, values in result.metrics.items()}
    scores = last_hundred(metrics["episodic_return"], metrics["episodes"])
    return SeedRuns(metrics["env_steps"][0], scores, metrics, seconds)


def last_hundred(returns: np.ndarray, episodes: np.ndarray) -> np.ndarray:
    """`[S, U]` mean over as many updates, counted back, as hold the last 100 episodes.

    Args:
      returns: `[S, U]` mean return of the episodes that ended in an update.
      episodes: `[S, U]` how many did.
    """
    sums = np.cumsum(np.where(episodes > 0, np.nan_to_num(returns) * episodes, 0.0), axis=1)
    counts = np.cumsum(episodes, axis=1)
    scores = np.full(returns.shape, np.nan)
    for seed, (total, count) in enumerate(zip(sums, counts, strict=True)):
        first = np.searchsorted(count, count - WINDOW, side="right")  # the update in which the window starts
        total_before = np.where(first > 0, total[first - 1], 0.0)
        count_before = np.where(first > 0, count[first - 1], 0)
        inside = count - count_before
        scores[seed] = np.where(inside > 0, (total - total_before) / np.maximum(inside, 1), np.nan)
    return scores
