"""What is counted of a recording: returns, lengths and scores, on arrays made up by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.ppo import PPOConfig
from purejaxrl_gae.program import experience, rollout, training
from purejaxrl_gae.program.types import EpisodeTotals


@pytest.mark.parametrize("num_ended", [0, 1, 99, 100, 101, 150])
def test_the_last_hundred_returns_are_kept_newest_first(num_ended):
    returns = jnp.arange(200.0).reshape(100, 2)
    ended = jnp.zeros(200, bool).at[:num_ended].set(True).reshape(100, 2)
    before = -jnp.arange(1.0, 101.0)
    recent = np.asarray(experience._most_recent(before, returns, ended, ended.sum()))
    everything = np.concatenate([np.arange(num_ended)[::-1], np.asarray(before)])
    np.testing.assert_array_equal(recent, everything[:100])


def test_scores_survive_rollouts_shorter_than_the_window():
    recent = experience.init_counters().recent_returns
    recent = experience._most_recent(recent, jnp.array([[3.0, 4.0]]), jnp.array([[True, False]]), jnp.int32(1))
    recent = experience._most_recent(recent, jnp.array([[5.0, 6.0]]), jnp.array([[True, True]]), jnp.int32(2))
    assert np.asarray(recent[:3]).tolist() == [6.0, 5.0, 3.0]
    assert not recent[3:].any()


@pytest.mark.parametrize(("ended", "score"), [(0, np.nan), (1, 3.0), (2, 4.0), (7, 4.0)])
def test_the_score_is_the_mean_of_the_episodes_that_have_ended(ended, score):
    recent = experience.init_counters().recent_returns.at[:2].set(jnp.array([3.0, 5.0]))
    recent = recent if ended <= 2 else jnp.full_like(recent, 4.0)
    counters = experience.init_counters().replace(episodes=jnp.int32(ended * 100 if ended > 2 else ended))
    np.testing.assert_array_equal(experience.recent_score(counters.replace(recent_returns=recent)), score)


def test_totals_add_up_and_their_count_does_not_turn_negative():
    one = EpisodeTotals(jnp.int32(1), jnp.float32(2.0), jnp.float32(3.0))
    assert jax.tree.map(float, one.plus(one)) == EpisodeTotals(2.0, 4.0, 6.0)
    assert one.plus(one._replace(episodes=jnp.int32(2**31 - 1))).episodes == 2**31 - 1


def test_an_episode_longer_than_an_int32_counts_keeps_its_length():
    setup = training.prepare(PPOConfig(env="CartPole-v1", num_envs=2))
    world = rollout.init_world(setup, jax.random.key(0))
    world = world.replace(episode_lengths=jnp.full(2, 2**31 - 2, jnp.int32))
    ended = jnp.array([[False, False], [False, True]])
    (_, lengths), totals, _ = experience._episode_statistics(world, jnp.ones((2, 2)), ended, experience.init_counters())
    assert lengths.tolist() == [2**31 - 1, 0]
    assert float(totals.lengths) == 2.0**31
