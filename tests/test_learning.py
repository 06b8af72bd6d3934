"""Slow proofs that presets learn what the README says: `pytest -m slow`."""

import jax
import numpy as np
import pytest

from purejaxrl_gae import PPOConfig, algorithms, training, with_preset
from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.evaluation import evaluate


def evaluations(config, seeds):
    """Mean returns over 100 deterministic episodes of agents trained with those seeds, vmapped."""
    algorithm = algorithms.make_algorithm(config)
    train = training.make_train_program(algorithm)
    environment, network = make_environment(config.env), algorithm.setup.network

    def one(key):
        learner = train(key).state.learner
        play_key = jax.random.fold_in(key, 1)
        return evaluate(environment, network, learner.params, learner.normalizers, play_key, num_episodes=100).returns

    keys = jax.vmap(jax.random.key)(np.asarray(seeds))
    return np.asarray(jax.jit(jax.vmap(one))(keys)).mean(axis=1)


def interquartile_mean(values):
    ordered, cut = np.sort(values), len(values) // 4
    return ordered[cut : len(values) - cut].mean()


@pytest.mark.slow
def test_pendulum_swings_up_with_every_seed():
    config = with_preset(PPOConfig(env="Pendulum-v1"))
    assert config.env_steps <= 150_000
    assert evaluations(config, range(10)).min() >= -200.0


@pytest.mark.slow
def test_cartpole_is_balanced_with_every_seed():
    config = with_preset(PPOConfig(env="CartPole-v1"))
    assert config.env_steps <= 200_000
    returns = evaluations(config, range(10))
    assert interquartile_mean(returns) >= 475.0
    assert returns.min() >= 400.0


@pytest.mark.slow
def test_acrobot_swings_up():
    assert evaluations(with_preset(PPOConfig(env="Acrobot-v1")), range(10)).mean() >= -95.0


@pytest.mark.slow
def test_mountain_car_continuous_reaches_the_flag():
    assert np.median(evaluations(with_preset(PPOConfig(env="MountainCarContinuous-v0")), range(10))) >= 90.0
