"""Domain randomisation: each copy's episode has parameters of its own, drawn within their ranges."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.settings.errors import UserError

POLE = ("length=uniform:0.25:1.0", "gravity=log:1.0:100.0")


@pytest.fixture(scope="module")
def cart_pole():
    return make_environment("CartPole-v1", randomize=POLE)


def test_every_copy_draws_its_own_values_within_the_ranges(cart_pole):
    states, observations = cart_pole.reset(jax.random.key(0), 500)
    lengths, gravities = states.drawn["length"], states.drawn["gravity"]
    assert observations.shape == (500, 4)
    assert len(np.unique(lengths)) > 490 and lengths.min() >= 0.25 and lengths.max() <= 1.0
    assert abs(float(lengths.mean()) - 0.625) < 0.03
    assert gravities.min() >= 1.0 and gravities.max() <= 100.0
    assert abs(float(jnp.median(jnp.log10(gravities))) - 1.0) < 0.15  # uniform in its logarithm


def test_a_copy_keeps_its_values_for_an_episode_and_draws_anew_for_the_next(cart_pole):
    states, _ = cart_pole.reset(jax.random.key(0), 8)
    step = jax.jit(cart_pole.step)
    drawn_anew = 0
    for key in jax.random.split(jax.random.key(1), 60):
        result = step(key, states, jnp.ones(8, jnp.int32))
        same = np.asarray(result.states.drawn["length"] == states.drawn["length"])
        np.testing.assert_array_equal(same, ~np.asarray(result.terminated | result.truncated))
        drawn_anew += int((~same).sum())
        states = result.states
    assert drawn_anew > 8


def test_dynamics_follow_the_drawn_values(cart_pole):
    states, _ = cart_pole.reset(jax.random.key(0), 4)
    result = cart_pole.step(jax.random.key(1), states, jnp.ones(4, jnp.int32))
    env, params = gymnax.make("CartPole-v1")
    for copy in range(4):
        drawn = {name: values[copy] for name, values in states.drawn.items()}
        inner = jax.tree.map(lambda leaf, copy=copy: leaf[copy], states.inner)
        expected, *_ = env.step_env(jax.random.key(1), inner, 1, params.replace(**drawn))
        np.testing.assert_allclose(result.final_observations[copy], expected, rtol=1e-6)


def test_whole_numbers_are_drawn_with_both_ends():
    chain = make_environment("MemoryChain-bsuite", randomize=("memory_length=int:2:4",))
    states, _ = chain.reset(jax.random.key(0), 200)
    assert set(np.asarray(states.drawn["memory_length"]).tolist()) == {2, 3, 4}


def test_states_are_drawn_with_their_own_parameters():
    environment = make_environment("Pendulum-v1", randomize=("l=uniform:0.5:1.5",))
    states, _ = environment.reset(jax.random.key(0), 1)
    (frame,) = environment.render([jax.tree.map(lambda leaf: leaf[0], states)])
    assert frame.dtype == np.uint8 and frame.std() > 0


@pytest.mark.parametrize(
    "env, randomize, message",
    [
        (
            "CartPole-v1",
            ("lenth=uniform:0:1",),
            "no number among the parameters of CartPole-v1; did you mean 'length'?",
        ),
        ("CartPole-v1", ("length=0.5",), "randomize has 'length=0.5'; it must be name=uniform:low:high"),
        ("CartPole-v1", ("length=uniform:1:0.5",), "low must be below high"),
        ("CartPole-v1", ("length=log:0:1",), "above 0 for log"),
        ("CartPole-v1", ("length=int:1:2",), "randomize draws length by int, but it is 0.5; use uniform:low:high"),
        ("CartPole-v1", (*POLE, "length=uniform:0:1"), "randomize has 'length' twice"),
        ("CartPole-v1", ("max_steps_in_episode=int:5:9",), "which is no number among the parameters"),
        ("Pendulum-v1", ("max_torque=uniform:1:2",), "which decides the spaces of Pendulum-v1"),
        (make_environment("CartPole-v1"), ("length=uniform:0:1",), "randomize has 'length', but env is an Environment"),
        ("gymnasium:CartPole-v1", ("length=uniform:0:1",), "but env is gymnasium:CartPole-v1; only parameters of a"),
        ("brax:ant", ("mass=uniform:0:1",), "but env is brax:ant; only parameters of a gymnax environment"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(env, randomize, message):
    with pytest.raises(UserError) as error:
        make_environment(env, randomize=randomize)
    assert message in str(error.value) and "\n" not in str(error.value)
