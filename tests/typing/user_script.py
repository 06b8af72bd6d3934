"""What a user writes, checked by `mypy --strict` against the installed package."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae import PPOConfig, TrainResult, UserError, kernels, load_policy, make_train, with_preset


def scores(env: str, num_seeds: int) -> np.ndarray:
    """Mean return of each seed's last 100 episodes."""
    config = with_preset(PPOConfig(env=env, gamma=0.98))
    train = make_train(config)
    results: TrainResult = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), num_seeds))
    return np.asarray(results.metrics["score_last100"][:, -1])


def advantages(rewards: jax.Array, values: jax.Array, next_values: jax.Array, ended: jax.Array) -> jax.Array:
    """By GAE."""
    cut = jnp.zeros_like(ended)
    estimates, _targets = kernels.gae(rewards, values, next_values, ended, cut, gamma=0.99, gae_lambda=0.95)
    return estimates


if __name__ == "__main__":
    try:
        print(scores("CartPole-v1", 2), load_policy(Path("policy.npz")).act(np.zeros(4)))
    except UserError as error:
        print(error)
