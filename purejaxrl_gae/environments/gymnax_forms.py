"""gymnax's spaces, and what its reset and step return, as the contract has them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments.contract import ActionSpace, BoxActions, DiscreteActions
from purejaxrl_gae.environments.light_gymnax import gymnax_environment, spaces
from purejaxrl_gae.settings.errors import UserError, first_line


def has_own_step(env: Any) -> bool:
    """Says whether an object does not inherit gymnax's own `step`."""
    return type(env).step is not getattr(gymnax_environment.Environment, "step", None)


def observation_shape_of(name: str, space: Any) -> tuple[int, ...]:
    """Returns the shape of one observation.

    Raises:
      UserError: an observation is no array.
    """
    if isinstance(space, spaces.Discrete):
        return ()
    if isinstance(space, (spaces.Dict, spaces.Tuple)) or not hasattr(space, "shape"):
        kind = type(space).__name__
        raise UserError(f"observation_space of {name} is {kind}, which is not supported; it must be a Box")
    return tuple(int(size) for size in space.shape)


def action_space_of(name: str, space: Any) -> ActionSpace:
    """Returns the contract's action space.

    Raises:
      UserError: it is neither discrete nor a box.
    """
    if hasattr(space, "n"):
        if int(space.n) < 1:
            raise UserError(f"action_space of {name} is Discrete({space.n}); it must have at least 1 action")
        return DiscreteActions(int(space.n))
    if not (hasattr(space, "low") and hasattr(space, "high") and hasattr(space, "shape")):
        kind = type(space).__name__
        raise UserError(f"action_space of {name} is {kind}, which is not supported; it must be Discrete or a Box")
    shape = tuple(int(size) for size in space.shape)
    low = np.broadcast_to(np.asarray(space.low, np.float32), shape).reshape(-1)
    high = np.broadcast_to(np.asarray(space.high, np.float32), shape).reshape(-1)
    return BoxActions(shape, tuple(low.tolist()), tuple(high.tolist()))


def action_type_of(space: Any) -> jax.ShapeDtypeStruct:
    """Returns shape and type of one action: float32, or int32 where the space holds whole numbers."""
    if hasattr(space, "n"):
        return jax.ShapeDtypeStruct((), jnp.int32)
    holds_integers = jnp.issubdtype(getattr(space, "dtype", jnp.float32), jnp.integer)
    return jax.ShapeDtypeStruct(tuple(space.shape), jnp.int32 if holds_integers else jnp.float32)


def check_reset(name: str, env: Any, params: Any, observation_shape: tuple[int, ...]) -> Any:
    """Finds the types of a state's leaves without computing; refuses an observation of another shape."""
    outputs = jax.eval_shape(lambda key: env.reset(key, params), jax.random.key(0))
    if not (isinstance(outputs, tuple) and len(outputs) == 2):
        raise UserError(f"reset of {name} must return (observation, state); it returned {_described(outputs)}")
    observation, state = outputs
    _check_observation(name, "reset", observation, observation_shape)
    return state


def check_step(
    name: str, env: Any, params: Any, state: Any, action: jax.ShapeDtypeStruct, observation_shape: tuple[int, ...]
) -> None:
    """Refuses a step that is not gymnax 1.0's six values of the right shapes, and a transition that is not its five."""
    try:
        if not has_own_step(env):
            transition = jax.eval_shape(lambda *args: env.step_env(*args, params), jax.random.key(0), state, action)
            _check_transition(name, transition)
        outputs = jax.eval_shape(lambda *args: env.step(*args, params), jax.random.key(0), state, action)
    except TypeError as error:
        raise UserError(
            f"step of {name} does not accept an action of shape {action.shape}: {first_line(error)}"
        ) from error
    if not isinstance(outputs, tuple) or len(outputs) != 6:
        raise UserError(
            f"step of {name} returns {_described(outputs)}; gymnax 1.0's six are needed: "
            "(observation, state, reward, terminated, truncated, info)"
        )
    observation, _, reward, terminated, truncated, info = outputs
    _check_observation(name, "step", observation, observation_shape)
    for field, value in (("reward", reward), ("terminated", terminated), ("truncated", truncated)):
        if math.prod(jnp.shape(value)) != 1 or len(jnp.shape(value)) > 0:
            raise UserError(f"{field} of {name} has shape {jnp.shape(value)}; it must be a scalar, shape ()")
    if "final_observation" not in info:
        raise UserError(f"info of {name} has no 'final_observation'; step must report the successor before its reset")
    _check_observation(name, "info['final_observation']", info["final_observation"], observation_shape)


def _check_transition(name: str, outputs: Any) -> None:
    if not isinstance(outputs, tuple) or len(outputs) != 5:
        raise UserError(
            f"step_env of {name} returns {_described(outputs)}; gymnax 1.0's five are needed: "
            "(observation, state, reward, terminated, info)"
        )


def _check_observation(name: str, source: str, observation: Any, shape: tuple[int, ...]) -> None:
    if not hasattr(observation, "shape"):
        raise UserError(f"observation from {source} of {name} is {_described(observation)}; it must be one array")
    if tuple(observation.shape) != shape:
        found = tuple(observation.shape)
        raise UserError(f"observation from {source} of {name} has shape {found}; its observation_space says {shape}")


def _described(outputs: Any) -> str:
    return f"{len(outputs)} values" if isinstance(outputs, tuple) else f"a {type(outputs).__name__}"
