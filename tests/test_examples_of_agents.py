"""The programs around agents in docs/examples run as they stand, with small settings."""

import dataclasses
import runpy
from pathlib import Path

import jax.numpy as jnp
import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SMALL = dict(num_envs=4, num_steps=16, hidden_sizes=(4,))
ONE_STEP = dict(num_minibatches=1, update_epochs=1)


@pytest.fixture
def example():
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))


def small(config, **changes):
    return dataclasses.replace(config, **{**SMALL, **changes})


def test_eight_seeds_go_on_where_they_stopped(example, capsys):
    run = example("eight_seeds")
    scores, further, action = run["main"](small(run["CONFIG"], total_timesteps=128, **ONE_STEP), 4)
    assert scores.shape == further.shape == (4, 2)
    assert int(action) in (0, 1)
    assert "seed 3 plays" in capsys.readouterr().out


def test_a_population_copies_its_best(example):
    run = example("population")
    scores, rates = run["main"](small(run["CONFIG"], **ONE_STEP), num_agents=4, generations=2, updates=1)
    assert scores.shape == rates.shape == (2, 4)
    worst, best = jnp.nanargmin(scores[0]), jnp.nanargmax(scores[0])
    factor = rates[1, worst] / rates[0, best]
    assert min(abs(factor - 1.25), abs(factor - 0.8)) < 1e-3


def test_a_meta_gradient_is_finite_and_not_zero(example):
    run = example("meta_gradient")
    for derivative in run["main"](small(run["CONFIG"]), steps=5, copies=2).values():
        assert jnp.isfinite(derivative)
        assert derivative != 0.0


def test_every_pole_length_has_its_agent(example):
    scores = example("pole_lengths")["main"]((0.25, 4.0), total_timesteps=128, **SMALL, **ONE_STEP)
    assert scores.shape == (2, 2)
    assert not jnp.array_equal(scores[0], scores[1])


def test_agents_of_one_and_of_random_lengths_are_scored_on_each_length(example):
    scores = example("random_lengths")["main"]((0.1, 5.0), **SMALL, **ONE_STEP, total_timesteps=128)
    assert set(scores) == {"one length", "random lengths"}
    assert all(len(row) == 2 and min(row) >= 1.0 for row in scores.values())
