"""Time limits, sticky actions and action repeat over any environment."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.environments import (
    BoxActions,
    DiscreteActions,
    Environment,
    Step,
    limit_episodes,
    make_environment,
    repeat_actions,
    stagger_first_episodes,
    sticky_actions,
)
from purejaxrl_gae.environments.wrappers import reset_where

TEN = DiscreteActions(10)
LENGTHS = (3, 4, 7)  # of the copies' episodes


def counting(*, truncates=False, actions=TEN):
    """Copy i's episodes end after LENGTHS[i] steps; observed are steps and episodes so far; it pays steps + action."""

    def observe(steps, episodes):
        return jnp.stack([steps, episodes], axis=-1).astype(jnp.float32)

    def reset(key, num_envs):
        zeros = jnp.zeros(num_envs, jnp.int32)
        return (zeros, zeros), observe(zeros, zeros)

    def step(key, states, action):
        steps, episodes = states
        final = steps + 1
        ended = final >= jnp.array(LENGTHS)
        rewards = final + action.reshape(action.shape[0]).astype(jnp.float32)
        never = jnp.zeros_like(ended)
        (steps, _), _ = reset_where(lambda key: reset(key, 3), key, ended, (final, episodes), observe(final, episodes))
        episodes_next = episodes + ended
        return Step(
            (steps, episodes_next),
            observe(steps, episodes_next),
            rewards.astype(jnp.float32),
            never if truncates else ended,
            ended if truncates else never,
            observe(final, episodes),
        )

    def render(states):
        return [np.full((2, 2, 3), state[0], np.uint8) for state in states]

    return Environment("counting", (2,), actions, None, reset, step, render)


def play(environment, actions, seed=0):
    """Steps of given actions `[T, N, ...]`, stacked over time."""

    @jax.jit
    def run(key):
        states, _ = environment.reset(key, actions.shape[1])

        def one(states, inputs):
            step = environment.step(inputs[0], states, inputs[1])
            return step.states, step

        return jax.lax.scan(one, states, (jax.random.split(key, len(actions)), actions))[1]

    return jax.device_get(run(jax.random.key(seed)))


@pytest.mark.parametrize("truncates", [False, True])
def test_a_repeated_action_adds_up_and_stops_at_the_end(truncates):
    steps = play(repeat_actions(counting(truncates=truncates), 4), jnp.ones((2, 3), jnp.int32))
    # copy 0 ends in step 3 of 4, copy 1 in the last, copy 2 in step 3 of the second decision
    np.testing.assert_array_equal(steps.rewards[0], [1 + 2 + 3 + 3, 1 + 2 + 3 + 4 + 4, 1 + 2 + 3 + 4 + 4])
    np.testing.assert_array_equal(steps.rewards[1], [9, 14, 5 + 6 + 7 + 3])
    ends = steps.truncated if truncates else steps.terminated
    np.testing.assert_array_equal(ends, [[True, True, False], [True, True, True]])
    assert not (steps.terminated if truncates else steps.truncated).any()
    np.testing.assert_array_equal(steps.final_observations[0], [[3, 0], [4, 0], [4, 0]])
    np.testing.assert_array_equal(steps.final_observations[1], [[3, 1], [4, 1], [7, 0]])
    np.testing.assert_array_equal(steps.observations[0], [[0, 1], [0, 1], [4, 0]])


def test_no_step_of_the_next_episode_is_played_unseen():
    steps = play(repeat_actions(counting(), 7), jnp.zeros((3, 3), jnp.int32))
    np.testing.assert_array_equal(steps.final_observations[..., 1], [[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(steps.observations[..., 0], 0)


def test_a_limit_truncates_what_is_longer_and_leaves_the_rest():
    limited = limit_episodes(counting(), 4)
    steps = play(limited, jnp.zeros((9, 3), jnp.int32))
    assert limited.max_episode_steps == 4
    np.testing.assert_array_equal(np.flatnonzero(steps.terminated[:, 0]), [2, 5, 8])
    np.testing.assert_array_equal(np.flatnonzero(steps.terminated[:, 1]), [3, 7])
    assert not steps.truncated[:, :2].any(), "an end in the last step is a termination"
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated[:, 2]), [3, 7])
    assert not steps.terminated[:, 2].any()
    np.testing.assert_array_equal(steps.final_observations[3, 2], [4, 0])
    np.testing.assert_array_equal(steps.observations[3, 2], [0, 0])


def test_a_longer_limit_than_the_environments_own_changes_nothing():
    environment = dataclasses.replace(counting(), max_episode_steps=7)
    assert limit_episodes(environment, 7) is environment
    assert limit_episodes(environment, 8) is environment
    assert limit_episodes(environment, 6).max_episode_steps == 6


@pytest.mark.parametrize("space", [DiscreteActions(10), BoxActions((1,), (0.0,), (9.0,))])
def test_sticky_actions_repeat_the_last_one_but_never_at_the_start(space):
    generator = np.random.default_rng(0)
    actions = jnp.asarray(generator.integers(0, 10, (300, 3)))
    given = actions if isinstance(space, DiscreteActions) else actions[..., None].astype(jnp.float32)
    steps = play(sticky_actions(counting(actions=space), 0.25), given)
    before = steps.final_observations[..., 0]
    applied = steps.rewards - before
    fresh = before == 1
    np.testing.assert_array_equal(applied[fresh], actions[fresh])
    previous = np.roll(applied, 1, axis=0)
    assert np.all((applied == actions) | (applied == previous)), "only the last applied action is ever repeated"
    tellable = ~fresh & (np.asarray(actions) != previous)
    assert 0.2 < np.mean(applied[tellable] != np.asarray(actions)[tellable]) < 0.3


def test_the_order_of_the_options():
    environment = make_environment(counting(), max_episode_steps=5, action_repeat=2, sticky_actions=0.5)
    assert environment.max_episode_steps == 3
    steps = play(environment, jnp.zeros((3, 3), jnp.int32))
    np.testing.assert_array_equal(steps.truncated[:, 2], [False, False, True])
    np.testing.assert_array_equal(steps.final_observations[:, 2, 0], [2, 4, 5])


def test_without_options_nothing_is_wrapped():
    environment = counting()
    assert make_environment(environment) is environment


def test_every_change_keeps_the_renderer():
    environment = make_environment(counting(), max_episode_steps=5, action_repeat=2, sticky_actions=0.5)
    environment = stagger_first_episodes(environment)
    states, _ = environment.reset(jax.random.key(0), 3)
    states = environment.step(jax.random.key(1), states, jnp.zeros(3, jnp.int32)).states
    (frame,) = environment.render([jax.tree.map(lambda leaf: leaf[2], states)])
    assert frame.max() in (0, 2)


def test_options_under_vmap_are_those_of_each_agent():
    environment = make_environment(counting(), max_episode_steps=6, action_repeat=2, sticky_actions=0.3)
    actions = jnp.arange(24).reshape(8, 3) % 10

    def rewards(key):
        states, _ = environment.reset(key, 3)

        def one(states, inputs):
            step = environment.step(inputs[0], states, inputs[1])
            return step.states, step.rewards

        return jax.lax.scan(one, states, (jax.random.split(key, 8), actions))[1]

    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(rewards))(keys)
    np.testing.assert_array_equal(together, jnp.stack([jax.jit(rewards)(key) for key in keys]))


@pytest.mark.parametrize("limit", [7, 700])
def test_a_gymnax_environments_limit_is_its_parameter_and_can_grow(limit):
    environment = make_environment("MountainCar-v0", max_episode_steps=limit)
    assert environment.max_episode_steps == limit
    steps = play(environment, jnp.ones((limit + 1, 1), jnp.int32))
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated), [limit - 1])
