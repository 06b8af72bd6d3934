"""The optimizers that the algorithms share, each of one flat vector of parameters.

They are built anew inside the program, from traced learning rates: a state must never carry traced values in closures.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax

from purejaxrl_gae.config import TrainingConfig

OptimizerName = Literal["adam", "rmsprop"]

ANNEALED_BY = {"anneal_lr": "learning_rate", "anneal_clip": "clip_coef"}


def make_optimizer(
    learning_rate: jax.Array, max_grad_norm: jax.Array, adam_eps: jax.Array, name: OptimizerName = "adam"
) -> optax.GradientTransformation:
    """Adam, or RMSprop as in A2C's reference (decay 0.99, epsilon 1e-5), on gradients shortened to a largest norm."""
    if name == "adam":
        descent = optax.adam(learning_rate, eps=adam_eps)
    else:
        descent = optax.rmsprop(learning_rate, decay=0.99, eps=1e-5)
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), descent)


def annealed(value: jax.Array, progress: jax.Array) -> jax.Array:
    """Falls linearly from the value to 0 over the run, of which `progress` lies behind, and stays at 0 beyond it."""
    return value * jnp.maximum(0.0, 1.0 - progress)


def say_schedule(config: TrainingConfig, updates: int) -> str:
    """Says what falls from where to where in the updates that are left; empty where nothing does."""
    left = 1.0 - updates / config.num_updates
    names = [name for flag, name in ANNEALED_BY.items() if getattr(config, flag, False)]
    if not names or left <= 0.0:
        return ""
    falls = " and ".join(f"{name} from {getattr(config, name) * left:.3g}" for name in names)
    return f"{falls} to 0 at step {config.env_steps:,}, the end that total_timesteps sets"
