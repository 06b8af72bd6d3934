"""Schedules of learning rates: a factor for each share of the run that lies behind.

Built-in ones and those that are handed in are pure functions `progress -> factor` of one traced number in [0, 1].
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.program.types import Hyperparameters
from purejaxrl_gae.settings import parts
from purejaxrl_gae.settings.errors import UserError

Schedule = Callable[[jax.Array], jax.Array]
WARMUP, FIRST_FACTOR = 0.1, 0.1  # the share of the run in which a rate rises, and where it begins


def constant(progress: jax.Array) -> jax.Array:
    """Returns 1."""
    return jnp.ones_like(progress)


def linear(progress: jax.Array) -> jax.Array:
    """Falls linearly from 1 to 0 and stays there beyond the end."""
    return jnp.maximum(0.0, 1.0 - progress)


def cosine(progress: jax.Array) -> jax.Array:
    """Falls from 1 to 0 as half a wave of the cosine, (1 + cos(pi progress)) / 2, and stays there beyond the end."""
    return 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.clip(progress, 0.0, 1.0)))


def warmup_cosine(progress: jax.Array) -> jax.Array:
    """Rises linearly from a tenth to 1 over the first tenth of the run, then falls as `cosine` does."""
    rising = FIRST_FACTOR + (1.0 - FIRST_FACTOR) * progress / WARMUP
    return jnp.where(progress < WARMUP, rising, cosine((progress - WARMUP) / (1.0 - WARMUP)))


BUILT_IN: dict[str, Schedule] = {
    "linear": linear,
    "constant": constant,
    "cosine": cosine,
    "warmup_cosine": warmup_cosine,
    "kl_adaptive": constant,  # of a rate that `adaptation` moves
}


def schedule_of(config: Any) -> Schedule:
    """Returns the schedule that a config names; auto is linear where `anneal_lr` says so, otherwise constant.

    Raises:
      UserError: there is none of that name.
    """
    automatic = linear if getattr(config, "anneal_lr", False) else constant
    return parts.find_function("schedule", config.schedule, {"auto": automatic, **BUILT_IN})


def scheduled(config: Any, hyperparameters: Hyperparameters, progress: jax.Array) -> Hyperparameters:
    """Returns the hyperparameters, those that the config's `scheduled_rates` names times the schedule's factor."""
    factor = schedule_of(config)(jnp.minimum(progress, 1.0))
    return hyperparameters.replace(**{name: getattr(hyperparameters, name) * factor for name in config.scheduled_rates})


def check_schedule(config: Any) -> None:
    """Finds a schedule; traces one that was handed in, which computes nothing.

    Raises:
      UserError: there is none of that name, it raises, or it does not return one real number.
    """
    schedule = schedule_of(config)
    if schedule in BUILT_IN.values():
        return
    name = parts.name_of(config.schedule)
    found = parts.trace("schedule", name, schedule, jax.ShapeDtypeStruct((), jnp.float32))
    is_real = hasattr(found, "dtype") and any(jnp.issubdtype(found.dtype, kind) for kind in (jnp.floating, jnp.integer))
    if not (is_real and found.shape == ()):
        form = parts.form_of(found)
        raise UserError(f"schedule is {name}, which returned {form}; it must return one real number, a factor")
