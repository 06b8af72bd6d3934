"""Grids and random draws from the command line's text."""

import numpy as np
import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.settings import search_space
from purejaxrl_gae.settings.errors import UserError


def read(text, source="random"):
    return search_space.read_dimension(text, PPOConfig, source)


def test_a_grid_is_every_combination():
    points = search_space.grid(
        [read("learning_rate=1e-4,1e-3"), read("hidden_sizes=8x8,16"), read("norm-adv=true,false")]
    )
    assert len(points) == 8
    assert points[0] == {"learning_rate": 1e-4, "hidden_sizes": (8, 8), "norm_adv": True}
    assert points[-1] == {"learning_rate": 1e-3, "hidden_sizes": (16,), "norm_adv": False}


def test_none_switches_a_field_off():
    assert read("target_kl=none,0.02").choices == (None, 0.02)


def test_draws_lie_in_their_ranges_and_follow_the_seed():
    dimensions = [read("learning_rate=log:1e-5:1e-2"), read("gamma=uniform:0.9:0.99"), read("num_envs=int:4:6")]
    points = search_space.random(dimensions, 400, seed=3)
    assert points == search_space.random(dimensions, 400, seed=3)
    assert points != search_space.random(dimensions, 400, seed=4)
    logs = np.log10([point["learning_rate"] for point in points])
    assert -5 <= logs.min() < -4.9 and -2.1 < logs.max() <= -2
    assert abs(logs.mean() + 3.5) < 0.15  # uniform in the logarithm
    gammas = [point["gamma"] for point in points]
    assert min(gammas) >= 0.9 and max(gammas) <= 0.99
    assert {point["num_envs"] for point in points} == {4, 5, 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate=1", "no field to sweep; did you mean 'learning_rate'"),
        ("learning_rate", "it must be name=value"),
        ("learning_rate=fast", "learning_rate of random is 'fast'; it must be a number"),
        ("learning_rate=log:0:1", "above 0 for log"),
        ("learning_rate=log:1e-3", "a range is log:low:high"),
        ("gamma=uniform:1:0", "low must be below high"),
        ("seed=1,2", "no field to sweep"),
        ("time_limit=bootstrap,terminl", "did you mean 'terminal'"),
    ],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        read(text)


def test_a_range_has_no_grid():
    with pytest.raises(UserError, match="use --random"):
        search_space.grid([read("learning_rate=log:1e-5:1e-2", "grid")])
