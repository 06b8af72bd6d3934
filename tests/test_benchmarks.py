"""The benchmarks' own arithmetic."""

import numpy as np

from benchmarks import objectives
from benchmarks.curves import last_hundred
from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.statistics import Aggregate


def test_the_last_hundred_are_counted_back_over_whole_updates():
    rng = np.random.default_rng(0)
    episodes = rng.integers(0, 40, size=(3, 30))
    returns = np.where(episodes > 0, rng.normal(size=(3, 30)), np.nan)
    scores = last_hundred(returns, episodes)
    for seed in range(3):
        for update in range(30):
            first = update
            while first > 0 and episodes[seed, first : update + 1].sum() < 100:
                first -= 1
            window = slice(first, update + 1)
            count = episodes[seed, window].sum()
            if count == 0:
                assert np.isnan(scores[seed, update])
            else:
                expected = np.nansum(returns[seed, window] * episodes[seed, window]) / count
                assert abs(scores[seed, update] - expected) < 1e-9


def test_objectives_are_scaled_so_that_random_is_0_and_the_best_row_1():
    raw = np.array([[-100.0, -120.0], [-20.0, -40.0], [-200.0, -200.0]])
    scaled = objectives.normalized(raw, random=-180.0)
    assert scaled[1].mean() == 1.0
    np.testing.assert_allclose(scaled[0], [80 / 150, 60 / 150])
    assert scaled[2].mean() < 0.0


def test_the_objectives_table_has_the_papers_eleven_rows():
    assert [row.paper for row in objectives.ROWS] == [-0.39, 0.76, 0.82, 0.7, 0.68, 0.74, 0.71, 0.62, 0.71, 0.72, 0.69]
    figures = [Aggregate(0.5, 0.25, 0.75)] * 11
    lines = objectives.table(figures, np.full((11, 1), 0.5), ("Pendulum-v1",)).splitlines()
    assert len(lines) == 13
    assert lines[4] == "| clipping, ε = 0.2 | 0.50 | 0.25 .. 0.75 | 0.82 | 0.50 |"


def test_a_random_policy_scores_what_it_does_on_the_pendulum():
    assert make_environment("Pendulum-v1").max_episode_steps == 200
    assert -1350.0 < objectives.random_return("Pendulum-v1") < -1100.0
