"""An agent is shown the last observations side by side, those of one episode only, on every kind of environment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.environments.stacking import stack_frames
from purejaxrl_gae.environments.structures import mask_name
from purejaxrl_gae.environments.wrappers import show_as


def expected(history, number):
    """The last so many of an episode's observations, the first in place of those before it."""
    return np.concatenate([history[max(len(history) - number + index, 0)] for index in range(number)], axis=-1)


def check(plain, stacked, reset, take, number, steps, num_envs=2):
    """Compares what a stacked environment shows with what is built of the plain one's observations."""
    (plain_state, before), (state, shown) = reset(plain), reset(stacked)
    episodes = [[before[index]] for index in range(num_envs)]
    ends = 0
    for _ in range(steps):
        np.testing.assert_array_equal(shown, np.stack([expected(each, number) for each in episodes]))
        one, other = take(plain, plain_state), take(stacked, state)
        plain_state, state, shown = one.states, other.states, other.observations
        for index, ended in enumerate(one.terminated | one.truncated):
            final = expected([*episodes[index], one.final_observations[index]], number)
            np.testing.assert_array_equal(other.final_observations[index], final)
            ends += int(ended)
            episodes[index] = [*([] if ended else episodes[index]), one.observations[index]]
    assert ends >= num_envs


def test_observations_lie_side_by_side_and_an_episode_begins_with_its_first_alone():
    plain, stacked = (make_environment("CartPole-v1", max_episode_steps=5, frame_stack=each) for each in (1, 3))
    assert stacked.observation_shape == (12,)
    key, actions = jax.random.key(0), jnp.array([0, 1])
    check(
        *(plain, stacked, lambda each: each.reset(key, 2), lambda each, states: each.step(key, states, actions)),
        number=3,
        steps=12,
    )


class HostTaken:
    """A step of the host with its copies in place of states."""

    def __init__(self, copies, step):
        self.states, self.step = copies, step

    def __getattr__(self, name):
        return getattr(self.step, name)


def test_copies_of_the_host_show_the_same_form():
    pytest.importorskip("gymnasium")
    plain, stacked = (
        make_environment("gymnasium:CartPole-v1", max_episode_steps=6, observe=(0, 2), frame_stack=each).open(2, 5)
        for each in (1, 2)
    )
    actions = np.array([0, 1])
    check(
        *(plain, stacked, lambda copies: (copies, copies.reset(1))),
        lambda copies, states: HostTaken(states, states.step(actions)),
        number=2,
        steps=14,
    )
    shown = stacked.reset_where(np.array([True, False]))
    np.testing.assert_array_equal(shown[0, :2], shown[0, 2:])
    assert np.any(shown[1, :2] != shown[1, 2:])
    plain.close(), stacked.close()


def test_every_leaf_keeps_its_type_a_mask_stays_the_newest_and_pictures_get_channels():
    def encode(observations):
        flat = observations[:, 0]
        return {
            "picture": jnp.broadcast_to(flat[:, None, None, None], (2, 4, 4, 3)).astype(jnp.uint8),
            "grid": jnp.broadcast_to(flat[:, None, None], (2, 4, 4)),
            "number": flat,
            "action_mask": jnp.ones((2, 2), bool),
        }

    types = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), jax.eval_shape(encode, jnp.zeros((2, 4)))
    )
    plain = show_as(make_environment("CartPole-v1"), encode, types)
    stacked = stack_frames(plain, 4)
    _, shown = stacked.reset(jax.random.key(0), 2)
    found = jax.tree.map(lambda leaf: (leaf.shape[1:], leaf.dtype.name), shown)
    assert found == jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), stacked.observations)
    assert found["picture"] == ((4, 4, 12), "uint8") and found["grid"] == ((4, 4, 4), "float32")
    assert found["number"] == ((4,), "float32") and found["action_mask"] == ((2,), "bool")
    assert mask_name(stacked) == "action_mask"


def test_one_frame_is_no_change():
    environment = make_environment("CartPole-v1")
    assert stack_frames(environment, 1) is environment
