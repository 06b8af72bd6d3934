"""Craftax behind the contract: its own steps, a time limit that is no death, true final observations."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import UserError
from purejaxrl_gae.environments import DiscreteActions, make_environment

CLASSIC = "craftax:Craftax-Classic-Symbolic-v1"
LIMIT = 5
QUICK = {"xla_backend_optimization_level": "0"}  # to compile


def test_it_says_which_extra_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "craftax", None)
    monkeypatch.setitem(sys.modules, "craftax.craftax_env", None)
    with pytest.raises(UserError, match=r"^env is '.*', which needs Craftax: pip install '.*\[craftax\]'$"):
        make_environment(CLASSIC)


def test_what_it_says_of_itself():
    pytest.importorskip("craftax")
    environment = make_environment(CLASSIC, env_args=("day_length=200",))
    assert environment.max_episode_steps == 10_000 and environment.actions == DiscreteActions(17)
    assert environment.observation_shape == (1345,)
    assert make_environment("craftax:Craftax-Symbolic-v1", max_episode_steps=77).max_episode_steps == 77
    for env, env_args, message in (
        ("craftax:Craftax-Symbolic", (), "which Craftax does not know; did you mean 'Craftax-Symbolic-v1'?"),
        (CLASSIC, ("day_lenght=3",), "env_args has 'day_lenght', which is no parameter of .*did you mean 'day_length'"),
        (CLASSIC, ("max_timesteps=0",), "max_timesteps of env_args is 0; it must be"),
    ):
        with pytest.raises(UserError, match=message) as error:
            make_environment(env, env_args=env_args)
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_steps_are_its_own_and_the_limit_is_a_truncation_unless_it_is_a_death():
    craftax_env = pytest.importorskip("craftax.craftax_env")
    environment = make_environment(CLASSIC, max_episode_steps=LIMIT)
    own = craftax_env.make_craftax_env_from_name("Craftax-Classic-Symbolic-v1", auto_reset=False)
    params = own.default_params.replace(max_timesteps=LIMIT)

    def one(carry, inputs):
        (states, observations), (key, number) = carry, inputs
        health = jnp.where((jnp.arange(3) == 0) & (number == LIMIT - 1), 0, states.player_health)
        states = states.replace(player_health=health)  # the first dies in the very step of its limit
        actions = jax.random.randint(key, (3,), 0, 17)
        step = environment.step(key, states, actions)
        done = jax.vmap(own.is_terminal, (0, None))(states.replace(timestep=states.timestep + 1), params)
        shown = jax.vmap(own.get_obs)(step.states)
        return (step.states, step.observations), (observations, step._replace(states=step.states.timestep), done, shown)

    def play(key):
        return jax.lax.scan(one, environment.reset(key, 3), (jax.random.split(key, 12), jnp.arange(12)))[1]

    observations, step, done, shown = jax.device_get(jax.jit(play, compiler_options=QUICK)(jax.random.key(0)))
    ended = step.terminated | step.truncated
    np.testing.assert_array_equal(np.argwhere(ended)[:, 0], [4, 4, 4, 9, 9, 9])
    np.testing.assert_array_equal(np.argwhere(step.terminated), [[4, 0]])
    np.testing.assert_array_equal(ended, done)
    np.testing.assert_array_equal(step.observations[:-1], observations[1:])
    np.testing.assert_array_equal(step.observations, shown)
    np.testing.assert_array_equal(step.final_observations[~ended], shown[~ended])
    assert np.all(np.abs(step.final_observations - step.observations)[ended].max(-1) > 0)
    assert np.all(step.states[ended] == 0), "new worlds"
