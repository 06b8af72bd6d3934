"""Slow proofs that presets learn what the README says: `pytest -m slow`."""

import jax
import numpy as np
import pytest

from purejaxrl_gae import A2CConfig, OffPolicyConfig, PPOConfig, ReinforceConfig, TRPOConfig, with_preset
from purejaxrl_gae.program import algorithms, training
from purejaxrl_gae.program.algorithms import config_class
from purejaxrl_gae.runs import playing
from purejaxrl_gae.settings.config import with_values
from purejaxrl_gae.settings.config_files import configs_directory, read_yaml


def evaluations(config, seeds):
    """Mean returns over 100 deterministic episodes of agents trained with those seeds, vmapped."""
    algorithm = algorithms.make_algorithm(config)
    train = training.make_train_program(algorithm)
    play = playing.make_player(algorithm.setup, 100)

    def one(key):
        learner = train(key).state.learner
        return play(learner, jax.random.fold_in(key, 1), True).returns

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


@pytest.mark.slow
def test_trpo_swings_the_pendulum_up_with_every_seed():
    config = with_preset(TRPOConfig(env="Pendulum-v1"))
    assert config.env_steps <= 150_000
    assert evaluations(config, range(10)).min() >= -200.0


@pytest.mark.slow
def test_trpo_balances_the_pole_with_every_seed():
    config = with_preset(TRPOConfig(env="CartPole-v1"))
    assert config.env_steps <= 101_000
    assert evaluations(config, range(10)).min() >= 475.0


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["trpo_gae_pendulum", "trpo_pendulum"])
def test_the_source_documents_trpo_passes_its_goal_within_its_budget(preset):
    values = read_yaml(configs_directory() / "seeds" / f"{preset}.yaml")
    goal = values.pop("goal_score")
    config = with_values(config_class(values.pop("algorithm"))(), values, preset)
    keys = jax.vmap(jax.random.key)(np.arange(10))
    metrics = jax.jit(jax.vmap(algorithms.make_train(config)))(keys).metrics
    # eleven episodes an update; ten updates are the last 110 episodes
    scores = np.lib.stride_tricks.sliding_window_view(np.asarray(metrics["episodic_return"]), 10, axis=1).mean(-1)
    assert np.sum(scores.max(axis=1) > goal) >= 8
    assert np.max(metrics["kl"]) <= config.target_kl


@pytest.mark.slow
@pytest.mark.parametrize("kind, score", [(A2CConfig, 475.0), (ReinforceConfig, 400.0), (OffPolicyConfig, 400.0)])
def test_the_rest_of_the_family_balances_the_pole(kind, score):
    config = with_preset(kind(env="CartPole-v1"))
    assert config.env_steps <= 501_000
    if kind is OffPolicyConfig:
        assert config.update_epochs >= 4
    assert interquartile_mean(evaluations(config, range(10))) >= score


@pytest.mark.slow
@pytest.mark.parametrize("kind, first_seed", [(A2CConfig, 3000), (OffPolicyConfig, 5000)])
def test_the_rest_of_the_family_swings_the_pendulum_up_with_every_seed(kind, first_seed):
    config = with_preset(kind(env="Pendulum-v1"))
    assert config.env_steps <= 1_001_000
    assert evaluations(config, range(first_seed, first_seed + 32)).min() >= -250.0
