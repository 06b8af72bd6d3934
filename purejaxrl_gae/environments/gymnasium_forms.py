"""Gymnasium's registry, spaces and values as the contract has them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium import spaces

from purejaxrl_gae.environments import structures
from purejaxrl_gae.environments.action_spaces import (
    ActionSpace,
    BinaryActions,
    DiscreteActions,
    actions_of,
    box_actions,
    multi_discrete_actions,
)
from purejaxrl_gae.environments.contract import OneHot, OneHotLeaves, make_one_hot, one_hot_of
from purejaxrl_gae.environments.gymnasium_masks import any_action
from purejaxrl_gae.environments.structures import described, in_words, is_structured, kept_types, same_structure
from purejaxrl_gae.settings import errors
from purejaxrl_gae.settings.errors import UserError, closest

parts_of = partial(structures.parts_of, spaces)


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


def observation_types(name: str, space: Any) -> Any:
    """Finds shapes and types of an observation: of one array uint8 where the space says so, otherwise float32.

    Raises:
      UserError: an observation, or a part of it, is no array.
    """
    parts = parts_of(space)
    for part in jax.tree.leaves(parts):
        if getattr(part, "shape", None) is None or part.dtype is None or np.dtype(part.dtype).kind not in "fiub":
            raise UserError(
                f"observation_space of {name} has {type(part).__name__}, which is not supported; it must be of Box, "
                "Discrete, MultiDiscrete and MultiBinary, one or a Dict or Tuple of them"
            )
    if isinstance(parts, (dict, tuple)):
        return kept_types(parts)
    return jax.ShapeDtypeStruct(parts.shape, np.uint8 if parts.dtype == np.uint8 else np.float32)


def one_hot_encoding(name: str, space: Any) -> OneHot | OneHotLeaves | None:
    """Returns how observations of Discrete and MultiDiscrete become zeros and ones, which MultiBinary's are already.

    Raises:
      UserError: there would be too many.
    """

    def encoding_of(part):
        if isinstance(part, spaces.Discrete):
            return make_one_hot(name, (), [int(part.n)], [int(part.start)])
        if isinstance(part, spaces.MultiDiscrete):
            return make_one_hot(name, part.nvec.shape, part.nvec.reshape(-1), part.start.reshape(-1))
        return None

    return one_hot_of(parts_of(space), encoding_of)


def action_space(name: str, space: Any) -> ActionSpace:
    """Returns the contract's action space.

    Raises:
      UserError: it is of another kind.
    """
    return actions_of(parts_of(space), partial(_one_action_space, name))


def _one_action_space(name: str, space: Any) -> ActionSpace:
    if isinstance(space, spaces.Discrete):
        return DiscreteActions(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return multi_discrete_actions(space.nvec)
    if isinstance(space, spaces.MultiBinary):
        return BinaryActions(tuple(int(size) for size in space.shape))
    if not isinstance(space, spaces.Box):
        kind = type(space).__name__
        raise UserError(
            f"action_space of {name} is {kind}, which is not supported; it must be of Discrete, MultiDiscrete, "
            "MultiBinary and Box, one or a Dict or Tuple of them"
        )
    return box_actions(space.shape, space.low, space.high)


def actions_as_wanted(space: Any, *, together: bool = False) -> Callable[[Any], Any]:
    """Returns what makes actions `[N, ...]` those an environment takes: one by one, or all together.

    They begin where the space begins and are of its type; real ones are rounded to a Box of whole numbers.
    """
    parts = parts_of(space)
    if isinstance(parts, (dict, tuple)):
        structure: Any = jax.tree.structure(parts)

        def joint(actions):
            pairs = zip(jax.tree.leaves(parts), structure.flatten_up_to(actions), strict=True)
            wanted = [actions_as_wanted(part, together=together)(own) for part, own in pairs]
            if together:
                return jax.tree.unflatten(structure, wanted)
            return [jax.tree.unflatten(structure, of_copy) for of_copy in zip(*wanted, strict=True)]

        return joint
    if isinstance(space, spaces.Discrete):
        start = int(space.start)

        def discrete(actions):
            moved = actions.astype(np.int64) + start
            return moved if together else moved.tolist()

        return discrete
    if isinstance(space, spaces.MultiDiscrete):
        return lambda actions: actions.astype(space.dtype) + space.start
    if np.issubdtype(space.dtype, np.integer):
        return lambda actions: np.rint(actions).astype(space.dtype)
    return lambda actions: actions.astype(space.dtype)


def as_arrays(space: Any, observation: Any) -> Any:
    """Returns an observation as plain dictionaries and tuples of arrays; what has not the space's form as it is."""
    if isinstance(space, dict) and isinstance(observation, Mapping) and observation.keys() == space.keys():
        return {key: as_arrays(space[key], observation[key]) for key in space}
    if isinstance(space, tuple) and isinstance(observation, (tuple, list)) and len(observation) == len(space):
        return tuple(as_arrays(part, own) for part, own in zip(space, observation, strict=True))
    return (
        observation
        if isinstance(space, (dict, tuple)) or isinstance(observation, (dict, tuple))
        else np.asarray(observation)
    )


def check_interface(name: str, env: gymnasium.Env, types: Any) -> dict[str, Any]:
    """Resets and steps once; returns the `info` of the reset.

    Raises:
      UserError: they raise, or what they return is not Gymnasium's interface.
    """
    outputs = _first_call(f"reset of {name}", lambda: env.reset(seed=0))
    if not isinstance(outputs, tuple) or len(outputs) != 2:
        raise UserError(f"reset of {name} must return (observation, info); it returned {in_words(outputs)}")
    _check_observation(name, "reset", env, types, outputs[0])
    info = outputs[1] if isinstance(outputs[1], dict) else {}
    env.action_space.seed(0)
    outputs = _first_call(f"step of {name}", lambda: _step(name, env, any_action(env, outputs[0], info)))
    if not isinstance(outputs, tuple) or len(outputs) != 5:
        raise UserError(wrong_step(name, outputs))
    _check_observation(name, "step", env, types, outputs[0])
    for field, value in zip(("reward", "terminated", "truncated"), outputs[1:4], strict=True):
        if np.shape(value) != ():
            raise UserError(f"{field} of {name} has shape {np.shape(value)}; it must be a scalar")
    return info


def _step(name: str, env: gymnasium.Env, action: Any) -> Any:
    try:
        return env.step(action)
    except ValueError as error:  # Gymnasium's own wrappers unpack five values
        if "values to unpack" not in str(error):
            raise
        raise UserError(wrong_step(name, env.unwrapped.step(action))) from None


def _first_call(what: str, call: Callable[[], Any]) -> Any:
    """Makes a call that an environment of anyone may not survive; says so in one line."""
    try:
        return call()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{what} raised {errors.described(error)}") from error


def _check_observation(name: str, source: str, env: gymnasium.Env, types: Any, observation: Any) -> None:
    check_observation(
        f"observation from {source} of {name}", types, as_arrays(parts_of(env.observation_space), observation)
    )


def check_observation(what: str, types: Any, observation: Any) -> None:
    """Refuses an observation that is not of the space's form.

    Raises:
      UserError: says what it is.
    """
    if not is_structured(types) and isinstance(observation, (dict, tuple)):
        raise UserError(f"{what} is {in_words(observation)}; it must be one array")
    if not is_structured(types):
        if np.shape(observation) != types.shape:
            raise UserError(f"{what} has shape {np.shape(observation)}; its observation_space says {types.shape}")
        return
    leaves = jax.tree.leaves(observation)
    same = same_structure(observation, types)
    if not (same and [np.shape(leaf) for leaf in leaves] == [leaf.shape for leaf in jax.tree.leaves(types)]):
        found = described(jax.tree.map(np.asarray, observation)) if same else in_words(observation)
        raise UserError(f"{what} is {found}; its observation_space says {described(types)}")


def wrong_step(name: str, outputs: Any) -> str:
    """Words what is wrong with a step that does not return five values."""
    return (
        f"step of {name} returns {in_words(outputs)}; Gymnasium's five are needed: "
        "(observation, reward, terminated, truncated, info)"
    )


def time_limit(env: gymnasium.Env) -> int | None:
    """Returns the limit of the TimeLimit around an environment, or what its spec says."""
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            return int(layer._max_episode_steps)
        layer = layer.env
    return getattr(env.spec, "max_episode_steps", None)
