"""The optimizers that the algorithms share, each of one flat vector of parameters.

They are built anew inside the program, from traced learning rates: a state must never carry traced values in closures.
"""

from typing import Literal

import jax
import optax

from purejaxrl_gae.config import TrainingConfig

OptimizerName = Literal["adam", "rmsprop"]


def make_optimizer(
    learning_rate: jax.Array, max_grad_norm: jax.Array, adam_eps: jax.Array, name: OptimizerName = "adam"
) -> optax.GradientTransformation:
    """Adam, or RMSprop as in A2C's reference (decay 0.99, epsilon 1e-5), on gradients shortened to a largest norm."""
    if name == "adam":
        descent = optax.adam(learning_rate, eps=adam_eps)
    else:
        descent = optax.rmsprop(learning_rate, decay=0.99, eps=1e-5)
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), descent)


def annealed(config: TrainingConfig, value: jax.Array, updates: jax.Array) -> jax.Array:
    """A value that falls linearly to 0 over the run, after that many updates."""
    return value * (1.0 - updates.astype("float32") / config.num_updates)
