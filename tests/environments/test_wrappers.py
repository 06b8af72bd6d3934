"""Functions from environment to environment."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments import end_nonfinite_episodes, make_environment, probes, stagger_first_episodes
from purejaxrl_gae.environments.wrappers import reset_few_where, select_copies


def ends(environment, num_envs, num_steps):
    @jax.jit
    def play(key):
        states, _ = environment.reset(key, num_envs)

        def one(states, key):
            step = environment.step(key, states, jnp.zeros(num_envs, jnp.int32))
            return step.states, (step.truncated, step.terminated)

        return jax.lax.scan(one, states, jax.random.split(key, num_steps))[1]

    return jax.device_get(play(jax.random.key(0)))


def test_first_episodes_are_cut_at_different_times_and_later_ones_are_whole():
    environment = stagger_first_episodes(make_environment(probes.endless(time_limit=20)))
    truncated, terminated = ends(environment, 200, 70)
    assert not terminated.any()
    first = np.argmax(truncated, axis=0) + 1
    assert set(first) == set(range(1, 21)), "some first length never occurs"
    for copy in range(200):
        assert set(np.diff(np.flatnonzero(truncated[:, copy]))) == {20}
    per_step = truncated[30:].mean(axis=1)
    assert per_step.max() < 0.15, "many copies still end in the same step"


def test_without_staggering_all_end_together():
    truncated, _ = ends(make_environment(probes.endless(time_limit=20)), 50, 20)
    assert truncated[-1].all()


def test_a_first_episode_that_ends_by_itself_is_not_cut_later():
    environment = stagger_first_episodes(dataclasses.replace(make_environment(probes.constant()), max_episode_steps=5))
    truncated, terminated = ends(environment, 50, 12)
    assert terminated.all()
    assert not truncated.any()


def test_staggering_needs_a_limit():
    environment = dataclasses.replace(make_environment(probes.constant()), max_episode_steps=None)
    assert stagger_first_episodes(environment) is environment


def test_a_nonfinite_step_ends_its_episode_without_reward_and_leaves_the_others():
    environment = make_environment("CartPole-v1")
    states, _ = environment.reset(jax.random.key(0), 4)
    step = environment.step(jax.random.key(1), states, jnp.zeros(4, jnp.int32))
    poisoned = step._replace(
        rewards=step.rewards.at[1].set(jnp.nan),
        final_observations=step.final_observations.at[2, 0].set(jnp.inf),
    )
    contained, nonfinite = end_nonfinite_episodes(environment, jax.random.key(2), poisoned)
    assert nonfinite.tolist() == [False, True, True, False]
    assert contained.terminated.tolist() == [False, True, True, False]
    assert contained.rewards.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert np.all(np.isfinite(contained.final_observations)) and np.all(np.isfinite(contained.observations))
    assert contained.states.time.tolist() == [1, 0, 0, 1]
    np.testing.assert_array_equal(contained.observations[0], step.observations[0])


def test_resets_of_a_few_at_once_are_those_of_all_and_no_more_are_computed():
    keys = jax.random.split(jax.random.key(0), 8)
    old = jnp.arange(8), {"seen": -jnp.ones((8, 2))}
    turns = []

    def begin(keys):
        jax.debug.callback(lambda: turns.append(len(keys)))
        drawn = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)
        return jnp.full(len(keys), 100), {"seen": drawn}

    few = jax.jit(lambda ended: reset_few_where(begin, keys, ended, *old, at_once=3))
    fresh = begin(keys)
    for ended, expected in (([0, 0, 0, 0, 0, 0, 0, 0], 0), ([0, 1, 0, 0, 0, 1, 0, 1], 1), ([1] * 8, 3)):
        jax.effects_barrier()
        turns.clear()
        ended = jnp.array(ended, bool)
        jax.tree.map(np.testing.assert_array_equal, few(ended), select_copies(ended, fresh, old))
        jax.effects_barrier()
        assert turns == [3] * expected
    both = jax.vmap(few)(jnp.array([[1] * 8, [0, 0, 1, 0, 0, 0, 0, 0]], bool))
    np.testing.assert_array_equal(both[1]["seen"][0], fresh[1]["seen"])
    np.testing.assert_array_equal(both[0][1], [0, 1, 100, 3, 4, 5, 6, 7])
