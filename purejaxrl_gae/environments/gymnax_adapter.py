"""gymnax 1.0 environments, and anything that has gymnax's reset and six-value step."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments.contract import Environment, Step
from purejaxrl_gae.environments.drawings import renderer_of
from purejaxrl_gae.environments.gymnax_forms import (
    action_space,
    action_types,
    check_reset,
    check_step,
    has_own_step,
    observation_types,
    of_type,
    one_hot_encoding,
)
from purejaxrl_gae.environments.light_gymnax import gymnax
from purejaxrl_gae.environments.randomized import Randomized, check_ranges, renderer_of_randomized
from purejaxrl_gae.environments.structures import as_kept, shape_of
from purejaxrl_gae.environments.wrappers import one_hot_observations, reset_where
from purejaxrl_gae.parallel.sharding import keys_of_copies
from purejaxrl_gae.settings.config import LONGEST_TIME_LIMIT
from purejaxrl_gae.settings.errors import UserError, closest, shown
from purejaxrl_gae.settings.fields import coerce
from purejaxrl_gae.settings.search_space import Dimension

LARGEST_INT = 2**31 - 1  # of int32
LIMIT = "max_steps_in_episode"


def from_gymnax_id(env_id: str, **changes: Any) -> Environment:
    """Makes the registered gymnax environment of that name.

    Args:
      env_id: as `CartPole-v1`.
      changes: `env_args`, `ranges` and `max_episode_steps` of `from_gymnax`.

    Raises:
      UserError: there is none, with the closest name.
    """
    if env_id not in gymnax.registered_envs:
        hint = closest(env_id, gymnax.registered_envs)
        raise UserError(f"env is {env_id!r}, which gymnax does not know{hint or '; see gymnax.registered_envs'}")
    try:
        env, params = gymnax.make(env_id)
    except Exception as error:
        raise UserError(f"env is {env_id!r}, which gymnax cannot build here: {error}") from error
    return from_gymnax(env, params, name=env_id, **changes)


def from_gymnax(
    env: Any,
    params: Any = None,
    *,
    name: str | None = None,
    env_args: Mapping[str, Any] | None = None,
    ranges: Mapping[str, Dimension] | None = None,
    max_episode_steps: int | None = None,
) -> Environment:
    """Makes an Environment from an object with gymnax's methods.

    Where the object inherits gymnax's own `step`, only `step_env` is called and finished copies are reset here: a
    reset is computed only in steps in which an episode ended. An object with its own `step` must return gymnax's six
    values, with `info["final_observation"]` where it resets by itself.

    Args:
      env: has `reset(key, params)`, `step(key, state, action, params)`, `observation_space(params)` and
        `action_space(params)`.
      params: its parameters; `env.default_params` where None. Traced ones, but for spaces and the time limit, are fine.
      name: `env.name` or the class's name where None.
      env_args: replace fields of the parameters.
      ranges: of parameters that each copy draws anew for every episode; see `randomized.Randomized`.
      max_episode_steps: replaces the parameter `max_steps_in_episode`, where there is one.

    Raises:
      UserError: a method is missing, a space is not supported, or what the methods return has the wrong form; found
        by tracing shapes, before anything is compiled.
    """
    for method in ("reset", "step", "observation_space", "action_space"):
        if not callable(getattr(env, method, None)):
            raise UserError(f"env is {type(env).__name__}, which has no method {method!r}; gymnax's interface needs it")
    params = getattr(env, "default_params", None) if params is None else params
    name = name or str(getattr(env, "name", type(env).__name__))
    params = with_parameters(name, params, dict(env_args or {}), max_episode_steps)
    if ranges:
        return _randomized(name, env, params, ranges)
    try:
        return _from_parameters(name, env, params)
    except jax.errors.JAXTypeError as error:
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params)):
            raise
        raise UserError(
            f"env is {name} with a traced parameter that decides its time limit or the bounds of its spaces; such a "
            "parameter must be a number, the same for all agents"
        ) from error


def _randomized(name: str, env: Any, params: Any, ranges: Mapping[str, Dimension]) -> Environment:
    """Makes the Environment whose copies draw parameters for every episode."""
    check_ranges(name, env, params, ranges, LIMIT)
    if has_own_step(env):
        raise UserError(f"randomize is set, but {name} resets by a step of its own; it must leave step to gymnax")
    environment = _from_parameters(name, Randomized(env, ranges), params)
    return dataclasses.replace(environment, render=renderer_of_randomized(name, env, params))


def _from_parameters(name: str, env: Any, params: Any) -> Environment:
    """Makes the Environment of these parameters, some of which may be traced."""
    space = env.observation_space(params)
    actions, kinds = action_space(name, env.action_space(params)), action_types(env.action_space(params))
    types, state_types = check_reset(name, env, params, observation_types(name, space))
    check_step(name, env, params, state_types, kinds, types)
    reset, step = _batched(env, params, state_types, kinds, types)
    limit = getattr(params, LIMIT, None)
    environment = Environment(
        name=name,
        observation_shape=shape_of(types),
        actions=actions,
        max_episode_steps=None if limit is None else int(limit),
        reset=reset,
        step=step,
        render=renderer_of(name, env, params),
        action_mask=getattr(env, "action_mask_name", None),
    )
    return one_hot_observations(environment, one_hot_encoding(name, space))


def _batched(env: Any, params: Any, state_types: Any, kinds: Any, types: Any):
    """Makes `reset` and `step` of N copies; states keep the types they have behind a reset."""
    own_reset = has_own_step(env)
    one_step = _step_with_own_reset(env, params) if own_reset else _step_without_reset(env, params)

    def as_declared(states):
        # Python numbers in a state would change type between reset and step, which no scan can carry.
        return jax.tree.map(lambda leaf, like: jax.lax.convert_element_type(leaf, like.dtype), states, state_types)

    def reset_with(keys):
        observations, states = jax.vmap(env.reset, in_axes=(0, None))(keys, params)
        return as_declared(states), as_kept(types, observations)

    def reset(key, num_envs):
        return reset_with(*keys_of_copies(key, num_envs, 1))

    def step(key, states, action):
        # Keys are dropped from the program where an environment uses none, so splitting once costs only what is used.
        num_envs = jax.tree.leaves(action)[0].shape[0]
        action = jax.tree.map(of_type, action, kinds)
        step_keys, _ = keys_of_copies(key, num_envs, 2)
        result = Step(*jax.vmap(one_step)(step_keys, states, action))
        states = as_declared(result.states)
        observations, final_observations = (
            as_kept(types, each) for each in (result.observations, result.final_observations)
        )
        if not own_reset:
            ended = result.terminated | result.truncated
            states, observations = reset_where(
                lambda key: reset_with(keys_of_copies(key, num_envs, 2)[1]),
                key,
                ended,
                states,
                observations,
            )
        rewards = result.rewards.astype(jnp.float32)
        return Step(states, observations, rewards, result.terminated, result.truncated, final_observations)

    return reset, step


def with_parameters(
    name: str, params: Any, env_args: dict[str, Any], max_episode_steps: int | None, limit: str = LIMIT
) -> Any:
    """Returns the parameters with some replaced; each keeps its kind of number.

    Args:
      name: of the environment, for messages.
      params: a dataclass.
      env_args: fields to replace.
      max_episode_steps: replaces the time limit where there is one among them; None replaces nothing.
      limit: name of the time limit.

    Raises:
      UserError: there is no such field, or the value is of another kind.
    """
    fields = [field.name for field in dataclasses.fields(params)] if dataclasses.is_dataclass(params) else []
    replaced = {}
    for argument, value in env_args.items():
        if argument not in fields:
            raise UserError(
                f"env_args has {argument!r}, which is no parameter of {name}{closest(argument, fields)}; "
                f"its parameters: {', '.join(fields) or 'none'}"
            )
        replaced[argument] = _like(argument, value, getattr(params, argument), limit)
    if max_episode_steps is not None and limit in fields:
        replaced[limit] = max_episode_steps
    return dataclasses.replace(params, **replaced) if replaced else params


def _like(argument: str, value: Any, current: Any, limit: str) -> Any:
    """Returns a value of the kind a parameter has; anything but a single number cannot be checked."""
    if isinstance(current, bool) or not isinstance(current, (int, float)):
        return value
    number = coerce(f"{argument} of env_args", value, type(current))
    low, high = (1, LONGEST_TIME_LIMIT) if argument == limit else (-LARGEST_INT, LARGEST_INT)
    if isinstance(number, int) and not low <= number <= high:
        raise UserError(f"{argument} of env_args is {shown(number)}; it must be between {low} and {high}")
    return number


def _step_without_reset(env, params):
    """Returns Gymnax's transition alone: the successor is the true one."""

    def one_step(key, state, action):
        observation, state, reward, terminated, _ = env.step_env(key, state, action, params)
        terminated, truncated = jnp.asarray(terminated, bool), jnp.asarray(env.is_truncated(state, params), bool)
        return state, observation, jnp.asarray(reward), terminated, truncated, observation

    return one_step


def _step_with_own_reset(env, params):
    """Returns the object's own step of six values, which resets by itself."""

    def one_step(key, state, action):
        observation, state, reward, terminated, truncated, info = env.step(key, state, action, params)
        terminated, truncated = jnp.asarray(terminated, bool), jnp.asarray(truncated, bool)
        return state, observation, jnp.asarray(reward), terminated, truncated, info["final_observation"]

    return one_step
