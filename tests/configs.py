"""Configs that several test files train, small enough to compile and run in a moment."""

from typing import Any

from purejaxrl_gae import PPOConfig


def tiny_ppo(**fields: Any) -> PPOConfig:
    """PPO on CartPole with 4 copies, 32 steps and 8 units a layer; some fields changed."""
    small = dict(env="CartPole-v1", num_envs=4, num_steps=32, num_minibatches=4, update_epochs=4, hidden_sizes=(8, 8))
    return PPOConfig(**{**small, "normalize_observations": False, **fields})
