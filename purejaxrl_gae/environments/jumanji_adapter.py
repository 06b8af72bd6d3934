"""Environments of Jumanji, with their action masks, inside the compiled program."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments.action_spaces import ActionSpace, DiscreteActions, box_actions, multi_discrete_actions
from purejaxrl_gae.environments.contract import Environment, Step
from purejaxrl_gae.environments.quiet import construct, importing, quietly
from purejaxrl_gae.environments.structures import ACTION_MASK, as_kept, kept_types, shape_of
from purejaxrl_gae.environments.wrappers import reset_where
from purejaxrl_gae.parallel.sharding import keys_of_copies
from purejaxrl_gae.settings.errors import UserError, closest


def from_jumanji(
    env: str, *, env_args: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> Environment:
    """Makes an Environment of one of Jumanji's.

    Observations are dictionaries of their fields; `action_mask` among them masks actions. Numbers that are chosen
    together and masked together, as in BinPack, are one choice among all combinations. An end is a truncation where the
    discount is not 0; most of Jumanji's time limits set it to 0 as a goal does, so an end in the very step of
    `time_limit` is one too, also where a goal was reached in it.

    Args:
      env: a name in Jumanji's registry, as `Game2048-v1`.
      env_args: for its constructor.
      max_episode_steps: see `options.limit_episodes`, which cuts.

    Raises:
      UserError: Jumanji is not installed, does not know the name or an argument; or there is a reward for each of
        several agents.
    """
    name, arguments = f"jumanji:{env}", dict(env_args or {})
    with importing(name, "Jumanji", "jumanji"), quietly():
        import jumanji
        from jumanji.registration import registered_environments
    known = registered_environments()
    if env not in known:
        raise UserError(f"env is {name!r}, which Jumanji does not know{closest(env, known)}")
    made = construct(name, lambda: jumanji.make(env, **arguments))
    _, timestep = construct(name, lambda: jax.eval_shape(made.reset, jax.random.key(0)))
    if timestep.reward.shape:
        raise UserError(f"reward of {name} has shape {timestep.reward.shape}; it must be a scalar, shape ()")
    return _environment(name, made, timestep)


def _environment(name: str, made: Any, timestep: Any) -> Environment:
    spec = made.action_spec
    fields = as_fields(timestep.observation)
    sizes = np.asarray(spec.num_values).reshape(-1) if hasattr(spec, "num_values") else np.zeros(0, int)
    is_joint = ACTION_MASK in fields and len(sizes) > 1 and fields[ACTION_MASK].shape == tuple(sizes)
    types = kept_types(fields)

    def observe(timesteps):
        return as_kept(types, as_fields(timesteps.observation))

    def reset(key, num_envs):
        (keys,) = keys_of_copies(key, num_envs, 1)
        states, timesteps = jax.vmap(made.reset)(keys)
        return states, observe(timesteps)

    def step(key, states, actions):
        if is_joint:
            actions = jnp.stack(jnp.unravel_index(actions, tuple(sizes)), axis=-1)
        final, timesteps = jax.vmap(made.step)(states, actions.astype(spec.dtype))
        observed = observe(timesteps)
        terminated = timesteps.last() & (timesteps.discount == 0.0) & ~_is_at_limit(made, final)
        truncated = timesteps.last() & ~terminated
        states, observations = reset_where(
            lambda key: reset(key, terminated.shape[0]), key, terminated | truncated, final, observed
        )
        rewards = timesteps.reward.astype(jnp.float32)
        return Step(states, observations, rewards, terminated, truncated, observed)

    actions = DiscreteActions(int(np.prod(sizes))) if is_joint else _action_space(name, spec)
    limit = getattr(made, "time_limit", None)
    return Environment(name, shape_of(types), actions, None if limit is None else int(limit), reset, step)


def _is_at_limit(made: Any, states: Any) -> jax.Array:
    """Returns `[N]` bool: the environment's time limit has been reached; none has where it does not count steps."""
    steps = getattr(states, "step_count", getattr(states, "step", None))
    limit = getattr(made, "time_limit", None)
    if limit is None or steps is None:
        return jnp.array(False)
    return steps >= limit


def as_fields(observation: Any) -> Any:
    """Returns named tuples and dataclasses as dictionaries of their fields, also inside one another."""
    if hasattr(observation, "_asdict"):
        return {name: as_fields(value) for name, value in observation._asdict().items()}
    if hasattr(observation, "__dataclass_fields__"):
        return {name: as_fields(getattr(observation, name)) for name in observation.__dataclass_fields__}
    return observation


def _action_space(name: str, spec: Any) -> ActionSpace:
    if hasattr(spec, "num_values"):
        return (
            multi_discrete_actions(spec.num_values)
            if np.shape(spec.num_values)
            else DiscreteActions(int(spec.num_values))
        )
    if not hasattr(spec, "maximum"):
        raise UserError(f"action_spec of {name} is {type(spec).__name__}, which is not supported")
    return box_actions(spec.shape, spec.minimum, spec.maximum)
