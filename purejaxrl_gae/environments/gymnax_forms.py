"""What gymnax's spaces and values must be like for the contract."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments.action_spaces import (
    ActionSpace,
    DiscreteActions,
    actions_of,
    box_actions,
    multi_discrete_actions,
)
from purejaxrl_gae.environments.contract import OneHot, OneHotLeaves, make_one_hot, one_hot_of
from purejaxrl_gae.environments.light_gymnax import gymnax_environment, spaces
from purejaxrl_gae.environments.structures import check_same, described, in_words, is_structured, kept_types, parts_of
from purejaxrl_gae.settings.errors import UserError, first_line


def has_own_step(env: Any) -> bool:
    """Returns whether an object steps, and resets, in a way of its own."""
    return type(env).step is not getattr(gymnax_environment.Environment, "step", None)


def of_type(action: jax.Array, kind: jax.ShapeDtypeStruct) -> jax.Array:
    """Returns an action as the environment takes it: whole, also of real ones, where a Box holds whole numbers."""
    return jnp.rint(action).astype(kind.dtype) if jnp.issubdtype(kind.dtype, jnp.integer) else action


def observation_types(name: str, space: Any) -> Any:
    """Returns what the space says of an observation's shape, as float32."""

    def type_of(part):
        if isinstance(part, spaces.Discrete):
            return jax.ShapeDtypeStruct((), jnp.float32)
        if not hasattr(part, "shape"):
            kind = type(part).__name__
            raise UserError(
                f"observation_space of {name} has {kind}, which is not supported; it must be of Box and Discrete, one "
                "or a Dict or Tuple of them"
            )
        return jax.ShapeDtypeStruct(tuple(int(size) for size in part.shape), jnp.float32)

    return jax.tree.map(type_of, parts_of(spaces, space))


def one_hot_encoding(name: str, space: Any) -> OneHot | OneHotLeaves | None:
    """Returns how observations of Discrete become zeros and ones; None where there are none."""

    def encoding_of(part):
        return make_one_hot(name, (), [part.n], [0]) if isinstance(part, spaces.Discrete) else None

    return one_hot_of(parts_of(spaces, space), encoding_of)


def action_space(name: str, space: Any) -> ActionSpace:
    """Returns the contract's action space.

    Raises:
      UserError: it is of another kind.
    """
    return actions_of(parts_of(spaces, space), partial(_one_action_space, name))


def _one_action_space(name: str, space: Any) -> ActionSpace:
    if hasattr(space, "nvec"):
        return multi_discrete_actions(space.nvec)
    if hasattr(space, "n"):
        if int(space.n) < 1:
            raise UserError(f"action_space of {name} is Discrete({space.n}); it must have at least 1 action")
        return DiscreteActions(int(space.n))
    if not (hasattr(space, "low") and hasattr(space, "high") and hasattr(space, "shape")):
        kind = type(space).__name__
        raise UserError(
            f"action_space of {name} is {kind}, which is not supported; it must be of Discrete and Box, or what has an "
            "nvec as MultiDiscrete, one or a Dict or Tuple of them"
        )
    return box_actions(space.shape, space.low, space.high)


def action_types(space: Any) -> Any:
    """Returns shapes and types of one action: float32, or int32 where a space holds whole numbers."""

    def type_of(part):
        if hasattr(part, "nvec"):
            return jax.ShapeDtypeStruct(np.shape(part.nvec), jnp.int32)
        if hasattr(part, "n"):
            return jax.ShapeDtypeStruct((), jnp.int32)
        holds_integers = jnp.issubdtype(getattr(part, "dtype", jnp.float32), jnp.integer)
        return jax.ShapeDtypeStruct(tuple(part.shape), jnp.int32 if holds_integers else jnp.float32)

    return jax.tree.map(type_of, parts_of(spaces, space))


def check_reset(name: str, env: Any, params: Any, types: Any) -> tuple[Any, Any]:
    """Returns the types of an observation and of a state, found without computing.

    Raises:
      UserError: an observation has not the form that its space says.
    """
    outputs = jax.eval_shape(lambda key: env.reset(key, params), jax.random.key(0))
    if not (isinstance(outputs, tuple) and len(outputs) == 2):
        raise UserError(f"reset of {name} must return (observation, state); it returned {in_words(outputs)}")
    observation, state = outputs
    _check_observation(name, "reset", observation, types)
    return kept_types(observation) if is_structured(types) else types, state


def check_step(name: str, env: Any, params: Any, state: Any, action: Any, types: Any) -> None:
    """Refuses a step that is not gymnax 1.0's six values of the right shapes, and a transition that is not its five."""
    try:
        if not has_own_step(env):
            transition = jax.eval_shape(lambda *args: env.step_env(*args, params), jax.random.key(0), state, action)
            _check_transition(name, transition)
        outputs = jax.eval_shape(lambda *args: env.step(*args, params), jax.random.key(0), state, action)
    except TypeError as error:
        raise UserError(
            f"step of {name} does not accept an action of shape {_shapes(action)}: {first_line(error)}"
        ) from error
    if not isinstance(outputs, tuple) or len(outputs) != 6:
        raise UserError(
            f"step of {name} returns {in_words(outputs)}; gymnax 1.0's six are needed: "
            "(observation, state, reward, terminated, truncated, info)"
        )
    observation, _, reward, terminated, truncated, info = outputs
    _check_observation(name, "step", observation, types)
    for field, value in (("reward", reward), ("terminated", terminated), ("truncated", truncated)):
        if math.prod(jnp.shape(value)) != 1 or len(jnp.shape(value)) > 0:
            raise UserError(f"{field} of {name} has shape {jnp.shape(value)}; it must be a scalar, shape ()")
    if "final_observation" not in info:
        raise UserError(f"info of {name} has no 'final_observation'; step must report the successor before its reset")
    _check_observation(name, "info['final_observation']", info["final_observation"], types)


def _check_transition(name: str, outputs: Any) -> None:
    if not isinstance(outputs, tuple) or len(outputs) != 5:
        raise UserError(
            f"step_env of {name} returns {in_words(outputs)}; gymnax 1.0's five are needed: "
            "(observation, state, reward, terminated, info)"
        )


def _check_observation(name: str, source: str, observation: Any, types: Any) -> None:
    what = f"observation from {source} of {name}"
    if is_structured(types):
        says = f"{what} is not of the form that its observation_space says: {described(types)}"
        check_same(types, observation, says)
        return
    if not hasattr(observation, "shape"):
        raise UserError(f"{what} is {in_words(observation)}; it must be one array")
    if tuple(observation.shape) != types.shape:
        raise UserError(f"{what} has shape {tuple(observation.shape)}; its observation_space says {types.shape}")


def _shapes(types: Any) -> Any:
    """Returns the shape of one array, or those of several."""
    return jax.tree.map(lambda leaf: leaf.shape, types)
