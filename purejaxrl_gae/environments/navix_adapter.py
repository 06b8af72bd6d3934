"""NAVIX's grid worlds, MiniGrid in JAX, inside the compiled program."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments.contract import DiscreteActions, Environment, Step
from purejaxrl_gae.environments.quiet import construct, importing, quietly
from purejaxrl_gae.environments.wrappers import reset_where
from purejaxrl_gae.parallel.sharding import keys_of_copies
from purejaxrl_gae.settings.errors import UserError, closest

VIEWS = tuple(kind + whose for kind in ("categorical", "rgb", "symbolic") for whose in ("", "_first_person"))


def from_navix(
    env: str, *, env_args: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> Environment:
    """Makes an Environment of one of NAVIX's.

    Args:
      env: a name in NAVIX's registry, as `Navix-DoorKey-5x5-v0`.
      env_args: for its constructor; `observation_fn` is a name of `navix.observations`, as `symbolic_first_person`.
      max_episode_steps: `max_steps` of the constructor, which cuts; its own where None.

    Raises:
      UserError: NAVIX is not installed, or does not know the name or an argument.
    """
    name, arguments = f"navix:{env}", dict(env_args or {})
    with importing(name, "NAVIX", "navix"), quietly():
        import navix
    known = navix.registry()
    if env not in known:
        raise UserError(f"env is {name!r}, which NAVIX does not know{closest(env, known)}")
    if "observation_fn" in arguments:
        arguments["observation_fn"] = getattr(navix.observations, _view(arguments["observation_fn"]))
    if max_episode_steps is not None:
        arguments["max_steps"] = max_episode_steps
    return _environment(name, construct(name, lambda: navix.make(env, **arguments)))


def _view(asked: Any) -> str:
    if asked not in VIEWS:
        raise UserError(
            f"env_args has observation_fn={asked}; it must be one of {', '.join(VIEWS)}{closest(str(asked), VIEWS)}"
        )
    return str(asked)


def _environment(name: str, world: Any) -> Environment:
    goes_on = world.reset(jax.random.key(0)).step_type

    def observe(timesteps):
        return timesteps.observation.astype(jnp.float32)

    def reset(key, num_envs):
        (keys,) = keys_of_copies(key, num_envs, 1)
        timesteps = jax.vmap(world.reset)(keys)
        return timesteps, observe(timesteps)

    def one_step(timestep, action):
        # NAVIX resets in the step behind an end, which never comes; told so by a constant, none of it is compiled.
        return world.step(timestep.replace(step_type=goes_on), action)

    def step(key, states, actions):
        final = jax.vmap(one_step)(states, actions)
        terminated, truncated = final.is_termination(), final.is_truncation()
        states, observations = reset_where(
            lambda key: reset(key, actions.shape[0]), key, terminated | truncated, final, observe(final)
        )
        return Step(states, observations, final.reward.astype(jnp.float32), terminated, truncated, observe(final))

    shape, actions = tuple(world.observation_space.shape), DiscreteActions(int(world.action_space.n))
    return Environment(name, shape, actions, int(world.max_steps), reset, step)
