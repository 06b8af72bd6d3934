"""MuJoCo Playground behind the contract."""

import subprocess
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.environments import BoxActions, make_environment
from purejaxrl_gae.settings.errors import UserError

registry = pytest.importorskip("mujoco_playground").registry

QUICK = {"xla_backend_optimization_level": "0"}  # to compile


def test_steps_are_playgrounds_own_and_a_time_limit_shows_the_true_successor():
    environment = make_environment("mjx:CartpoleBalance", max_episode_steps=6)
    own = registry.load("CartpoleBalance", config_overrides={"impl": "jax"})

    @partial(jax.jit, compiler_options=QUICK)
    def play(key):
        states, observations = environment.reset(key, 3)
        actions = jax.random.uniform(key, (10, 3, 1), minval=-1.0, maxval=1.0)

        def one(carry, inputs):
            states, observations = carry
            step = environment.step(inputs[1], states, inputs[0])
            theirs = jax.vmap(own.step)(states.inner, inputs[0])
            return (step.states, step.observations), (observations, step._replace(states=None), theirs)

        return jax.lax.scan(one, (states, observations), (actions, jax.random.split(key, 10)))[1]

    observations, steps, theirs = play(jax.random.key(0))
    np.testing.assert_allclose(steps.final_observations, theirs.obs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(steps.rewards, theirs.reward, rtol=1e-4)
    np.testing.assert_array_equal(np.argwhere(steps.truncated)[:, 0], [5, 5, 5])
    assert not np.any(steps.terminated)
    assert np.all(np.abs(steps.final_observations[5] - observations[6]).max(-1) > 1e-3)
    np.testing.assert_array_equal(steps.observations[:-1], observations[1:])


def test_what_it_says_of_itself():
    environment = make_environment("mjx:CartpoleBalance", env_args=("ctrl_dt=0.02",))
    assert environment.max_episode_steps == 1000
    assert environment.observation_shape == (5,)
    assert environment.actions == BoxActions((1,), (-1.0,), (1.0,))
    states, _ = jax.eval_shape(lambda key: environment.reset(key, 2), jax.random.key(0))
    assert states.steps.dtype == jnp.int32


def test_an_object_is_taken():
    own = registry.load("PendulumSwingup", config_overrides={"impl": "jax"})
    assert make_environment(own).max_episode_steps == 1000
    assert make_environment(own, max_episode_steps=50).max_episode_steps == 50


@pytest.mark.parametrize(
    "env, env_args, message",
    [
        ("mjx:CartpoleBalence", (), "MuJoCo Playground does not know; did you mean 'CartpoleBalance'?"),
        ("mjx:CartpoleBalance", ("ctrl=0.1",), "env_args has 'ctrl', which mjx:CartpoleBalance does not take"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(env, env_args, message):
    with pytest.raises(UserError) as error:
        make_environment(env, env_args=env_args)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_robot_that_cannot_be_fetched_is_named_with_its_place(monkeypatch):
    def load(name, config, config_overrides):
        raise subprocess.CalledProcessError(128, ["git", "clone"])

    monkeypatch.setattr(registry, "load", load)
    with pytest.raises(UserError, match=r"cannot be built: its robot could not be fetched; .*mujoco_menagerie$"):
        make_environment("mjx:Go1JoystickFlatTerrain")


def made(name):
    try:
        return make_environment(f"mjx:{name}")
    except UserError as error:
        if "its robot could not be fetched" in str(error):
            pytest.skip("its robot is fetched from the network")
        raise


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.ALL_ENVS)
def test_every_task_is_traced_through_a_reset_and_a_step(name):
    environment = made(name)

    def first_step(key):
        states, observations = environment.reset(key, 2)
        return observations, environment.step(key, states, jnp.zeros((2, *environment.actions.shape)))

    observations, step = jax.eval_shape(first_step, jax.random.key(0))
    wanted = jax.tree.map(lambda leaf: ((2, *leaf.shape), leaf.dtype), environment.observations)
    for each in (observations, step.observations, step.final_observations):
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), each) == wanted
    assert step.rewards.shape == step.terminated.shape == step.truncated.shape == (2,)


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.ALL_ENVS)
def test_every_task_really_steps(name):
    """Computes, which is what tracing does not: half a minute of compiling each, minutes for a humanoid."""
    environment = made(name)

    @partial(jax.jit, compiler_options=QUICK)
    def play(key):
        states, first = environment.reset(key, 2)

        def one(states, key):
            actions = jax.random.uniform(key, (2, *environment.actions.shape), minval=-1.0, maxval=1.0)
            step = environment.step(key, states, actions)
            return step.states, step._replace(states=None)

        return first, jax.lax.scan(one, states, jax.random.split(key, 3))[1]

    first, steps = jax.device_get(play(jax.random.key(0)))
    shown = jax.tree.leaves(steps.final_observations)
    assert all(np.isfinite(leaf).all() for leaf in (*jax.tree.leaves(first), *shown, steps.rewards))
    assert any(np.any(leaf[0] != leaf[2]) for leaf in shown), "nothing has moved"
