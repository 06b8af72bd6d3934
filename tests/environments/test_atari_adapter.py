"""Atari games, against the Arcade Learning Environment's own."""

import numpy as np
import pytest

ale_py = pytest.importorskip("ale_py")
gymnasium = pytest.importorskip("gymnasium")

from purejaxrl_gae.environments import DiscreteActions, make_environment  # noqa: E402
from purejaxrl_gae.environments.gymnasium_adapter import from_gymnasium  # noqa: E402
from purejaxrl_gae.environments.host_environment import copy_seeds  # noqa: E402
from purejaxrl_gae.settings.errors import UserError  # noqa: E402


def breakout(num_envs, **options):
    return ale_py.AtariVectorEnv(*("breakout", num_envs), autoreset_mode="NextStep", reward_clipping=False, **options)


def test_observations_are_stacks_of_small_grey_frames():
    environment = make_environment("gymnasium:ALE/Pong-v5")
    assert environment.observation_shape == (4, 84, 84) and environment.observation_dtype == np.uint8
    assert environment.actions == DiscreteActions(6) and environment.max_episode_steps == 27_000
    observations = environment.open(3, 0).reset()
    assert observations.shape == (3, 4, 84, 84) and observations.dtype == np.uint8


def test_games_are_those_of_the_environment_itself():
    """Its next-step mode returns the true final observation, and the first one of the next game a step later."""
    environment = from_gymnasium("ALE/Breakout-v5", max_episode_steps=60)
    copies = environment.open(2, 3)
    own = breakout(2, max_num_frames_per_episode=240)
    observations, (expected, _) = copies.reset(), own.reset(seed=np.asarray(copy_seeds(3, 2)))
    np.testing.assert_array_equal(observations, expected)
    generator, compared = np.random.default_rng(0), 0
    for _ in range(60):
        actions = generator.integers(0, 4, 2)
        step = copies.step(actions)
        expected, rewards, terminated, truncated, _ = own.step(actions)
        np.testing.assert_array_equal(step.final_observations, expected)
        np.testing.assert_array_equal(step.scores, rewards)
        np.testing.assert_array_equal(step.terminated, terminated)
        np.testing.assert_array_equal(step.truncated, truncated)
        compared += 1
        if (terminated | truncated).any():
            break
    assert compared > 5 and (terminated | truncated).any()
    ended = int((terminated | truncated).argmax())
    assert not np.array_equal(step.observations[ended], step.final_observations[ended])


def test_a_lost_life_is_a_termination_in_training_in_which_the_game_goes_on():
    environment = make_environment("gymnasium:ALE/Breakout-v5")
    training, evaluation = environment.open(1, 3, training=True), environment.open(1, 3)
    np.testing.assert_array_equal(training.reset(), evaluation.reset())
    generator, lost, score = np.random.default_rng(0), 0, 0.0
    for _ in range(2000):
        actions = generator.integers(0, 4, 1)
        step, expected = training.step(actions), evaluation.step(actions)
        np.testing.assert_array_equal(step.observations, expected.observations)
        np.testing.assert_array_equal(step.finished, expected.terminated | expected.truncated)
        assert step.rewards[0] == np.sign(expected.rewards[0]) and step.scores[0] == expected.rewards[0]
        score += step.scores[0]
        lost += int(step.terminated[0])
        if step.finished[0]:
            break
        np.testing.assert_array_equal(step.observations, step.final_observations)
    assert step.finished[0] and lost == 5
    assert not np.array_equal(step.observations, step.final_observations)


def test_the_picture_is_of_the_game_that_copy_0_plays():
    environment = from_gymnasium("ALE/Pong-v5", max_episode_steps=30, sticky_actions=0.25)
    copies = environment.open(2, 0, render=True)
    observations, generator = copies.reset(), np.random.default_rng(0)
    ended = 0
    for _ in range(70):
        frame = copies.frame()
        assert frame.shape == (210, 160, 3) and frame.dtype == np.uint8
        grey = frame.astype(float) @ [0.299, 0.587, 0.114]
        rows, columns = np.arange(84) * 210 // 84, np.arange(84) * 160 // 84
        difference = np.abs(grey[rows][:, columns] - observations[0, -1].astype(float))
        assert np.median(difference) < 3.0 and (difference > 40.0).mean() < 0.05
        step = copies.step(generator.integers(0, 6, 2))
        observations, ended = step.observations, ended + int(step.truncated[0])
    assert ended == 2


def test_an_unknown_game_is_refused_with_the_closest():
    with pytest.raises(UserError, match="Gymnasium does not know; did you mean 'ALE/Pong-v5'"):
        from_gymnasium("ALE/Pongg-v5")
