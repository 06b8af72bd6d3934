"""Gymnasium's registry, spaces and values as the contract has them."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from purejaxrl_gae.environments.contract import ActionSpace, BoxActions, DiscreteActions, OneHot, make_one_hot
from purejaxrl_gae.settings.errors import UserError, closest


def checked_spec(env_id: str) -> Any:
    """Finds what Gymnasium's registry knows of an id.

    Raises:
      UserError: nothing, with the closest id.
    """
    try:
        return gymnasium.spec(env_id)
    except gymnasium.error.Error:
        hint = closest(env_id, gymnasium.registry) or "; see gymnasium.pprint_registry()"
        raise UserError(f"env is 'gymnasium:{env_id}', which Gymnasium does not know{hint}") from None


def observation_type(name: str, space: Any) -> tuple[tuple[int, ...], Any]:
    """Finds shape and type of an observation: uint8 where the space says so, otherwise float32.

    Raises:
      UserError: an observation is no array.
    """
    if isinstance(space, (spaces.Dict, spaces.Tuple)) or getattr(space, "shape", None) is None:
        kind = type(space).__name__
        raise UserError(
            f"observation_space of {name} is {kind}, which is not supported; it must be a Box "
            "(gymnasium.wrappers.FlattenObservation makes one)"
        )
    return tuple(int(size) for size in space.shape), np.uint8 if space.dtype == np.uint8 else np.float32


def one_hot_encoding(name: str, space: Any) -> OneHot | None:
    """Returns how observations of Discrete and MultiDiscrete become zeros and ones, which MultiBinary's are already.

    Raises:
      UserError: there would be too many.
    """
    if isinstance(space, spaces.Discrete):
        return make_one_hot(name, (), [int(space.n)], [int(space.start)])
    if isinstance(space, spaces.MultiDiscrete):
        return make_one_hot(name, space.nvec.shape, space.nvec.reshape(-1), space.start.reshape(-1))
    return None


def action_space(name: str, space: Any) -> ActionSpace:
    """Returns the contract's action space.

    Raises:
      UserError: it is neither Discrete nor a Box.
    """
    if isinstance(space, spaces.Discrete):
        return DiscreteActions(int(space.n))
    if not isinstance(space, spaces.Box):
        kind = type(space).__name__
        raise UserError(f"action_space of {name} is {kind}, which is not supported; it must be Discrete or a Box")
    low, high = (tuple(np.asarray(bound, np.float32).reshape(-1).tolist()) for bound in (space.low, space.high))
    return BoxActions(tuple(int(size) for size in space.shape), low, high)


def actions_as_wanted(space: Any, *, together: bool = False) -> Callable[[np.ndarray], Any]:
    """Returns what makes actions `[N, ...]` those an environment takes.

    They begin where the space begins and are of its type; real ones are rounded to a Box of whole numbers.
    """
    if isinstance(space, spaces.Discrete):
        start = int(space.start)

        def discrete(actions):
            moved = actions.astype(np.int64) + start
            return moved if together else moved.tolist()

        return discrete
    if np.issubdtype(space.dtype, np.integer):
        return lambda actions: np.rint(actions).astype(space.dtype)
    return lambda actions: actions.astype(space.dtype)


def check_interface(name: str, env: gymnasium.Env, shape: tuple[int, ...]) -> None:
    """Resets and steps once.

    Raises:
      UserError: what they return is not Gymnasium's interface.
    """
    outputs: Any = env.reset(seed=0)
    if not isinstance(outputs, tuple) or len(outputs) != 2:
        raise UserError(f"reset of {name} must return (observation, info); it returned {_described(outputs)}")
    _check_observation(name, "reset", outputs[0], shape)
    env.action_space.seed(0)
    try:
        outputs = env.step(env.action_space.sample())
    except ValueError as error:  # Gymnasium's own wrappers unpack five values
        if "values to unpack" not in str(error):
            raise
        raise UserError(wrong_step(name, env.unwrapped.step(env.action_space.sample()))) from None
    if not isinstance(outputs, tuple) or len(outputs) != 5:
        raise UserError(wrong_step(name, outputs))
    _check_observation(name, "step", outputs[0], shape)
    for field, value in zip(("reward", "terminated", "truncated"), outputs[1:4], strict=True):
        if np.shape(value) != ():
            raise UserError(f"{field} of {name} has shape {np.shape(value)}; it must be a scalar")


def _check_observation(name: str, source: str, observation: Any, shape: tuple[int, ...]) -> None:
    if isinstance(observation, (dict, tuple)):
        raise UserError(f"observation from {source} of {name} is {_described(observation)}; it must be one array")
    if np.shape(observation) != shape:
        raise UserError(
            f"observation from {source} of {name} has shape {np.shape(observation)}; its observation_space says {shape}"
        )


def wrong_step(name: str, outputs: Any) -> str:
    """Words what is wrong with a step that does not return five values."""
    return (
        f"step of {name} returns {_described(outputs)}; Gymnasium's five are needed: "
        "(observation, reward, terminated, truncated, info)"
    )


def _described(outputs: Any) -> str:
    return f"{len(outputs)} values" if isinstance(outputs, tuple) else f"a {type(outputs).__name__}"
