"""Agents are played alike in compiled environments and in those of the host, and drawn by the same player."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import A2CConfig
from purejaxrl_gae.environments import DiscreteActions, Environment, HostEnvironment, Step
from purejaxrl_gae.environments.host_environment import HostStep
from purejaxrl_gae.program import algorithms, player, training
from purejaxrl_gae.runs import playing
from purejaxrl_gae.settings.errors import UserError
from tests.runs.json_policies import random_policy

POLE = A2CConfig(env="CartPole-v1", max_episode_steps=12, hidden_sizes=(4,), num_envs=2, num_steps=2)


class CountingCopies:
    """Copy n ends after n + 3 steps; each step pays 2."""

    def __init__(self, num_envs, seed, render):
        self.num_envs, self.seed, self.render, self.closed = num_envs, seed, render, False
        self.steps = np.zeros(num_envs, int)

    def reset(self, seed=None):
        return self._observations()

    def step(self, actions):
        assert actions.shape == (self.num_envs,)
        self.steps += 1
        terminated = self.steps == np.arange(self.num_envs) + 3
        self.steps[terminated] = 0
        truncated, rewards = np.zeros(self.num_envs, bool), np.full(self.num_envs, 2.0, np.float32)
        return HostStep(self._observations(), rewards, terminated, truncated, self._observations())

    def reset_where(self, mask):
        self.steps[mask] = 0
        return self._observations()

    def frame(self):
        assert self.render
        return np.full((20, 30, 3), self.steps[0], np.uint8)

    def close(self):
        self.closed = True

    def _observations(self):
        return np.repeat(self.steps[:, None].astype(np.float32), 4, axis=1)


def counting(max_episode_steps=None):
    """The environment of these copies, and the list of all that were opened."""
    opened = []

    def open_copies(num_envs, seed, render=False, training=False):
        opened.append(CountingCopies(num_envs, seed, render))
        return opened[-1]

    return HostEnvironment("counting", (4,), DiscreteActions(2), max_episode_steps, open_copies), opened


first = player.without_memory(lambda observations, key: np.zeros(observations.shape[0], int))


def test_an_environment_of_the_host_is_played_and_closed():
    environment, opened = counting()
    played = playing.play_from_host(environment, first, jax.random.key(0), 4)
    assert played.returns.tolist() == [6.0, 8.0, 10.0, 12.0]
    assert played.lengths.tolist() == [3, 4, 5, 6]
    assert all(copies.closed for copies in opened)


def test_of_the_host_a_few_copies_play_many_episodes_and_long_ones_are_cut():
    environment, opened = counting(max_episode_steps=5)
    played = playing.play_from_host(environment, first, jax.random.key(0), 50)
    assert [copies.num_envs for copies in opened] == [playing.MOST_COPIES]
    assert played.lengths.tolist() == np.minimum(np.arange(50) % 20 + 3, 5).tolist()
    assert played.finished.tolist() == (np.arange(50) % 20 + 3 <= 5).tolist()


def test_copies_of_the_host_start_as_the_key_says():
    environment, opened = counting()
    for seed in (1, 1, 2):
        playing.play_from_host(environment, first, playing.key_of_seed(seed), 1)
    seeds = [copies.seed for copies in opened]
    assert seeds[0] == seeds[1] != seeds[2]


def test_an_episode_of_the_host_has_a_frame_before_each_step():
    environment, opened = counting()
    episode = playing.record_episode(environment, first, jax.random.key(0), 100)
    assert [frame[0, 0, 0] for frame in episode.frames] == [0, 1, 2]
    assert (episode.returns.tolist(), episode.total, episode.finished) == ([0.0, 2.0, 4.0], 6.0, True)
    cut = playing.record_episode(environment, first, jax.random.key(0), 2)
    assert len(cut.frames) == 2 and not cut.finished and cut.total == 4.0
    assert all(copies.closed for copies in opened)


def test_a_pure_environment_is_drawn_from_its_states():
    def reset(key, number):
        return jnp.zeros(number, jnp.int32), jnp.zeros((number, 1))

    def step(key, states, actions):
        ended, rewards = states + 1 == 3, jnp.ones(states.shape)
        return Step(states + 1, states[:, None] + 1.0, rewards, ended, jnp.zeros_like(ended), states[:, None] + 1.0)

    def render(states):
        return [np.full((2, 2, 3), state, np.uint8) for state in states]

    environment = Environment("three steps", (1,), DiscreteActions(2), None, reset, step, render)
    episode = playing.record_episode(environment, first, jax.random.key(0), 100)
    assert [frame[0, 0, 0] for frame in episode.frames] == [0, 1, 2]
    assert (episode.returns.tolist(), episode.total, episode.finished) == ([0.0, 1.0, 2.0], 3.0, True)


def test_from_the_host_a_policy_plays_what_the_compiled_program_plays():
    algorithm = algorithms.make_algorithm(POLE)
    learner = algorithm.init_learner(jax.random.key(0), algorithm.hyperparameters)
    evaluate = playing.make_evaluator(algorithm.setup, 1, 6)
    compiled = evaluate(jax.tree.map(lambda leaf: leaf[None], learner), np.array([5]), False)
    actor = playing.actor_of(algorithm.setup, learner, False)
    jitted = player.without_memory(jax.jit(lambda observations, key: actor.act(observations, (), None, key)[0]))
    stepped = playing.play_from_host(algorithm.setup.environment, jitted, playing.key_of_seed(5), 6)
    np.testing.assert_array_equal(compiled.lengths[0], stepped.lengths)


@pytest.mark.parametrize("num_agents", [1, 3])
def test_what_was_compiled_ahead_plays_the_same_and_is_not_compiled_again(num_agents):
    algorithm = algorithms.make_algorithm(POLE)
    init = lambda key: training.init_state(algorithm, key, algorithm.hyperparameters)  # noqa: E731
    states = jax.vmap(init)(jax.random.split(jax.random.key(0), num_agents))
    late, ahead = (playing.make_evaluator(algorithm.setup, num_agents, 4) for _ in range(2))
    ahead.compile_ahead(jax.eval_shape(lambda: states))
    for deterministic in (True, False):
        both = (evaluate(states.learner, np.arange(num_agents), deterministic) for evaluate in (late, ahead))
        jax.tree.map(np.testing.assert_array_equal, *both)
    assert (late._play._cache_size(), ahead._play._cache_size()) == (1, 0)


def test_agents_are_evaluated_side_by_side_as_alone():
    algorithm = algorithms.make_algorithm(POLE)
    init = lambda key: algorithm.init_learner(key, algorithm.hyperparameters)  # noqa: E731
    learners = jax.vmap(init)(jax.random.split(jax.random.key(0), 2))
    both = playing.make_evaluator(algorithm.setup, 2, 4)(learners, np.array([1, 2]), False)
    alone = playing.make_evaluator(algorithm.setup, 1, 4)
    for index in range(2):
        own = alone(jax.tree.map(lambda leaf, i=index: leaf[i : i + 1], learners), np.array([index + 1]), False)
        np.testing.assert_array_equal(both.lengths[index], own.lengths[0])


def test_a_policy_for_other_actions_is_refused():
    environment = Environment("three", (3,), DiscreteActions(3), None, None, None)
    with pytest.raises(UserError, match="policy is for 2 discrete actions; three has 3 discrete"):
        playing.check_policy_fits(random_policy(np.random.default_rng(0)), environment)
