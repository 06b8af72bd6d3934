"""NAVIX behind the contract: its own steps, ends of both kinds, nothing in between two episodes."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import UserError
from purejaxrl_gae.environments import DiscreteActions, make_environment

LIMIT = 12
EMPTY = "navix:Navix-Empty-5x5-v0"


def test_it_says_which_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "navix", None)
    with pytest.raises(
        UserError, match=r"^env is 'navix:Navix-Empty-5x5-v0', which needs NAVIX: pip install '.*\[navix"
    ):
        make_environment(EMPTY)


@pytest.fixture(scope="module")
def played():
    """Random actions in a room of nine squares with a goal: the steps beside those of NAVIX's own `step`."""
    navix = pytest.importorskip("navix")
    environment = make_environment(EMPTY, max_episode_steps=LIMIT)
    own = navix.make("Navix-Empty-5x5-v0", max_steps=LIMIT)

    def one(carry, key):
        states, observations = carry
        actions = jax.random.randint(key, (8,), 0, 3)
        step = environment.step(key, states, actions)
        theirs = jax.vmap(own.step)(states, actions)
        return (step.states, step.observations), (states.t, observations, step._replace(states=step.states.t), theirs)

    @jax.jit
    def play(key):
        return jax.lax.scan(one, environment.reset(key, 8), jax.random.split(key, 200))[1]

    return jax.device_get(play(jax.random.key(0)))


def test_steps_are_navix_own_until_an_end_and_the_next_episode_begins_in_that_step(played):
    before, observations, step, theirs = played
    np.testing.assert_array_equal(step.final_observations, theirs.observation)
    np.testing.assert_array_equal(step.rewards, theirs.reward)
    ended = step.terminated | step.truncated
    np.testing.assert_array_equal(step.states, np.where(ended, 0, before + 1))
    np.testing.assert_array_equal(step.observations[:-1], observations[1:])
    np.testing.assert_array_equal(step.observations[~ended], step.final_observations[~ended])
    begun = step.observations[ended]
    assert np.all(begun == observations[0, 0]), "this room always begins alike"


def test_a_goal_is_a_termination_and_the_limit_a_truncation(played):
    before, _, step, _ = played
    assert step.terminated.any() and step.truncated.any() and not np.any(step.terminated & step.truncated)
    np.testing.assert_array_equal(step.rewards[step.terminated], 1.0)
    np.testing.assert_array_equal(step.rewards[~step.terminated], 0.0)
    np.testing.assert_array_equal(step.truncated, (before == LIMIT - 1) & ~step.terminated)


def test_what_it_says_of_itself_and_its_views():
    pytest.importorskip("navix")
    environment = make_environment(EMPTY, env_args=("observation_fn=symbolic_first_person", "max_steps=30"))
    assert environment.actions == DiscreteActions(7) and environment.max_episode_steps == 30
    _, observations = jax.eval_shape(lambda key: environment.reset(key, 2), jax.random.key(0))
    assert observations.shape == (2, *environment.observation_shape) and observations.dtype == jnp.float32
    for env, env_args, message in (
        ("navix:Navix-Empty-5x5", (), "which NAVIX does not know; did you mean 'Navix-Empty-5x5-v0'?"),
        (EMPTY, ("observation_fn=symbolik",), "observation_fn=symbolik; it must be one of categorical, "),
        (EMPTY, ("sise=3",), "which cannot be built: .*'sise'"),
    ):
        with pytest.raises(UserError, match=message) as error:
            make_environment(env, env_args=env_args)
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_every_task_steps():
    registry = pytest.importorskip("navix").registry()
    for name in registry:
        environment = make_environment(f"navix:{name}")

        def play(environment, key):
            def one(states, key):
                step = environment.step(key, states, jnp.ones(2, jnp.int32))
                return step.states, step.final_observations

            return jax.lax.scan(one, environment.reset(key, 2)[0], jax.random.split(key, 3))[1]

        seen = jax.eval_shape(lambda key, environment=environment: play(environment, key), jax.random.key(0))
        assert seen.shape == (3, 2, *environment.observation_shape)
