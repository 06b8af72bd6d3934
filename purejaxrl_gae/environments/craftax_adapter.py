"""Craftax and Craftax-Classic inside the compiled program."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments.contract import DiscreteActions, Environment, Step
from purejaxrl_gae.environments.gymnax_adapter import LARGEST_INT, with_parameters
from purejaxrl_gae.environments.quiet import construct, importing, quietly
from purejaxrl_gae.environments.wrappers import reset_few_where
from purejaxrl_gae.parallel.sharding import keys_of_copies
from purejaxrl_gae.settings.errors import UserError, closest

NAMES = tuple(f"Craftax-{kind}-v1" for kind in ("Symbolic", "Pixels", "Classic-Symbolic", "Classic-Pixels"))


def from_craftax(
    env: str, *, env_args: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> Environment:
    """Makes an Environment of one of Craftax's, which ends by death, by victory or by its time limit.

    Craftax has one `done` for all three. Here its worlds have no limit, so that `done` is a termination, and steps are
    counted beside them.

    Args:
      env: one of NAMES.
      env_args: replace fields of its parameters, as `day_length`.
      max_episode_steps: replaces `max_timesteps` among them.

    Raises:
      UserError: Craftax is not installed, or does not know the name or a parameter.
    """
    name, arguments = f"craftax:{env}", dict(env_args or {})
    with importing(name, "Craftax", "craftax"), quietly():
        from craftax.craftax_env import make_craftax_env_from_name
    if env not in NAMES:
        raise UserError(f"env is {name!r}, which Craftax does not know{closest(env, NAMES)}")
    game = construct(name, lambda: make_craftax_env_from_name(env, auto_reset=False))
    params = with_parameters(name, game.default_params, arguments, max_episode_steps, limit="max_timesteps")
    return _environment(name, game, params)


def _environment(name: str, game: Any, params: Any) -> Environment:
    limit, endless = params.max_timesteps, params.replace(max_timesteps=LARGEST_INT)

    def begin(keys):
        observations, states = jax.vmap(lambda key: game.reset_env(key, endless))(keys)
        return states, observations.astype(jnp.float32)

    def reset(key, num_envs):
        return begin(*keys_of_copies(key, num_envs, 1))

    def step(key, states, actions):
        num_envs = actions.shape[0]
        keys, reset_keys = keys_of_copies(key, num_envs, 2)
        final_observations, final, rewards, terminated, _ = jax.vmap(lambda *own: game.step_env(*own, endless))(
            keys, states, actions
        )
        final_observations = final_observations.astype(jnp.float32)
        truncated = (final.timestep >= limit) & ~terminated
        states, observations = reset_few_where(
            begin, reset_keys, terminated | truncated, final, final_observations, at_once=max(1, num_envs // 16)
        )
        return Step(states, observations, rewards.astype(jnp.float32), terminated, truncated, final_observations)

    shape = tuple(game.observation_space(params).shape)
    return Environment(name, shape, DiscreteActions(int(game.num_actions)), int(limit), reset, step)
