"""An agent that sees some of the numbers sees those, and nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.settings.errors import UserError


def test_chosen_numbers_are_seen_in_their_order():
    whole, some = (make_environment("CartPole-v1", max_episode_steps=3, observe=each) for each in ((), (2, 0)))
    assert some.observation_shape == (2,)
    key, actions = jax.random.key(0), jnp.ones(2, jnp.int32)
    (all_states, everything), (states, seen) = whole.reset(key, 2), some.reset(key, 2)
    np.testing.assert_array_equal(seen, everything[:, [2, 0]])
    for _ in range(3):
        one, other = whole.step(key, all_states, actions), some.step(key, states, actions)
        all_states, states = one.states, other.states
        np.testing.assert_array_equal(other.observations, one.observations[:, [2, 0]])
        np.testing.assert_array_equal(other.final_observations, one.final_observations[:, [2, 0]])
    assert other.truncated.all() and np.any(other.observations != other.final_observations)


def test_copies_of_the_host_show_the_same():
    pytest.importorskip("gymnasium")
    environment = make_environment("gymnasium:CartPole-v1", observe=(3,))
    whole, some = (make_environment("gymnasium:CartPole-v1", observe=each).open(2, 5) for each in ((), (3,)))
    try:
        np.testing.assert_array_equal(some.reset(1), whole.reset(1)[:, [3]])
        one, other = whole.step(np.ones(2, np.int64)), some.step(np.ones(2, np.int64))
        np.testing.assert_array_equal(other.final_observations, one.final_observations[:, [3]])
    finally:
        whole.close(), some.close()
    assert environment.observation_shape == (1,)


@pytest.mark.parametrize(
    ("env", "observe", "message"),
    [
        ("CartPole-v1", (4,), r"observe is \[4\]; CartPole-v1 has observations \[4\]"),
        ("CartPole-v1", (1, 1), "different numbers from 0 to 3"),
        ("Breakout-MinAtar", (0,), "no vector of real numbers"),
        ("FrozenLake-misc", (0,), "no vector of real numbers"),
    ],
)
def test_what_is_not_there_is_refused(env, observe, message):
    with pytest.raises(UserError, match=message):
        make_environment(env, observe=observe)
