"""The traced values of a config: a pytree dataclass made of the fields that say they are `Traced`."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl_gae.program.types import Hyperparameters
from purejaxrl_gae.settings.config import TrainingConfig, traced_fields
from purejaxrl_gae.settings.errors import UserError, closest


@functools.cache
def hyperparameters_of(kind: type[TrainingConfig]) -> Any:
    """Makes the pytree dataclass of a config class's traced fields, named after it: PPOConfig's is PPOHyperparameters.

    Its values are scalars, or vectors under `vmap`.
    """
    name = f"{kind.__name__.removesuffix('Config')}Hyperparameters"
    annotations = {field: jax.Array | None for field in traced_fields(kind)}
    doc = f"The traced values of {kind.__name__}; scalars, or vectors under `vmap`. Fields as there."
    members = {"__annotations__": annotations, "__module__": kind.__module__, "__doc__": doc}
    return type(name, (struct.PyTreeNode,), members)


def traced_hyperparameters(config: TrainingConfig) -> Hyperparameters:
    """Reads a config's traced fields as float32 arrays; None stays None."""
    kind = hyperparameters_of(type(config))  # type: ignore[arg-type]
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(kind)}
    return kind(**{name: None if value is None else jnp.float32(value) for name, value in values.items()})


def override_hyperparameters(base: Hyperparameters, overrides: Any) -> Hyperparameters:
    """Replaces some of the config's hyperparameters.

    Args:
      base: the config's.
      overrides: None, a mapping of some names to values, or a complete set of the same kind.

    Raises:
      UserError: a name is unknown, or the config switched off what it belongs to.
    """
    if overrides is None:
        return base
    if not isinstance(overrides, Mapping):
        if type(overrides) is not type(base):
            raise UserError(
                f"hyperparameters is a {type(overrides).__name__}; it must be a dict or a {type(base).__name__}"
            )
        overrides = {field.name: getattr(overrides, field.name) for field in dataclasses.fields(overrides)}
    known = [field.name for field in dataclasses.fields(base)]
    for name, value in overrides.items():
        if name not in known:
            raise UserError(f"hyperparameters has {name!r}, which is not traced{closest(name, known)}; traced: {known}")
        if value is not None and getattr(base, name) is None:
            raise UserError(f"hyperparameters has {name!r}, but the config's {name} is None; set it there to enable it")
    values = {name: jnp.asarray(value, jnp.float32) for name, value in overrides.items() if value is not None}
    return base.replace(**values)
