"""The player of whole episodes, whatever the copies are, the policy, and the loop around them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.program import player


def lasting(lengths, longest=100):
    """Copies whose episodes last so many steps each, and pay the action in every step."""
    lengths = jnp.asarray(lengths)

    def reset(key):
        start = jnp.zeros(lengths.size, jnp.int32)
        return start, start[:, None]

    def step(key, states, actions):
        states = states + 1
        ended = states == lengths
        states = jnp.where(ended | (states == longest), 0, states)
        return states, states[:, None], actions, ended

    return player.Copies(lengths.size, longest, reset, step)


one = player.without_memory(lambda observations, key: jnp.ones(observations.shape[0]))


@pytest.mark.parametrize("loop", [jax.lax.while_loop, player.on_host])
def test_each_copy_plays_its_share_of_whole_episodes(loop):
    played = player.play(lasting([3, 7, 7]), one, jax.random.key(0), 7, loop)
    assert played.lengths.tolist() == played.returns.tolist() == [3, 7, 7, 3, 7, 7, 3]
    assert played.finished.all()


@pytest.mark.parametrize("loop", [jax.lax.while_loop, player.on_host])
def test_an_endless_episode_is_cut_and_counts_as_unfinished(loop):
    played = player.play(lasting([6, 2], longest=5), one, jax.random.key(0), 3, loop)
    assert played.lengths.tolist() == [5, 2, 5]
    assert played.finished.tolist() == [False, True, False]


def test_an_episode_that_ends_at_the_limit_is_finished():
    played = player.play(lasting([5], longest=5), one, jax.random.key(0), 1)
    assert played.lengths.tolist() == [5] and played.finished.all()


def test_actions_get_a_key_of_their_own_in_every_step():
    seen = []

    def act(observations, key):
        seen.append(jax.random.key_data(key).tolist())
        return jnp.ones(observations.shape[0])

    player.play(lasting([4]), player.without_memory(act), jax.random.key(0), 1, player.on_host)
    assert len(set(map(tuple, seen))) == 4


def test_under_vmap_each_agent_plays_until_its_own_end():
    def returns(lengths):
        return player.play(lasting(lengths), one, jax.random.key(0), 2).returns

    np.testing.assert_array_equal(jax.vmap(returns)(jnp.array([[1, 2], [5, 3]])), [[1, 2], [5, 3]])


@pytest.mark.parametrize("loop", [jax.lax.while_loop, player.on_host])
def test_what_is_remembered_begins_anew_with_every_episode(loop):
    def count(observations, memory, starts, key):
        memory = jnp.where(starts, 1.0, memory + 1.0)
        return memory, memory

    counting = player.Actor(count, lambda n: jnp.full(n, 100.0))
    played = player.play(lasting([2, 9], longest=3), counting, jax.random.key(0), 4, loop)
    assert played.returns.tolist() == [3.0, 6.0, 3.0, 6.0]
