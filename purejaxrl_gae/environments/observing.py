"""Showing an agent a part of what there is to see, so that it has to remember the rest."""

from typing import Any

import numpy as np

from purejaxrl_gae.environments import host_wrappers, wrappers
from purejaxrl_gae.environments.contract import Environment
from purejaxrl_gae.environments.host_environment import HostEnvironment
from purejaxrl_gae.settings.errors import UserError


def observe_some(environment: Environment | HostEnvironment, indices: tuple[int, ...]) -> Any:
    """Keeps some of the numbers of every observation, in this order: CartPole without velocities is (0, 2).

    Args:
      environment: whose observations are `[F]` real numbers.
      indices: which to keep; none: the environment stays as it is.

    Raises:
      UserError: observations have another form, or an index is not one of theirs.
    """
    if not indices:
        return environment
    _check(environment, indices)
    chosen = np.asarray(indices)

    def some(observations):
        return observations[..., chosen]

    if isinstance(environment, HostEnvironment):
        return host_wrappers.show_as(environment, some, (len(indices),))
    return wrappers.show_as(environment, some, (len(indices),))


def _check(environment: Environment | HostEnvironment, indices: tuple[int, ...]) -> None:
    shape = environment.observation_shape
    if not isinstance(shape, tuple) or len(shape) != 1 or environment.one_hot is not None:
        raise UserError(
            f"observe is {list(indices)}, but an observation of {environment.name} is no vector of real numbers; it "
            f"must be empty"
        )
    wrong = [index for index in indices if not 0 <= index < shape[0]]
    if wrong or len(set(indices)) < len(indices):
        raise UserError(
            f"observe is {list(indices)}; {environment.name} has observations [{shape[0]}], so it must be different "
            f"numbers from 0 to {shape[0] - 1}"
        )
