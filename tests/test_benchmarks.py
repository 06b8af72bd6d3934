"""The benchmarks' own arithmetic."""

import numpy as np

from benchmarks.curves import last_hundred


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
