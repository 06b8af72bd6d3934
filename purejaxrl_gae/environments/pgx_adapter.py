"""pgx's games of one player, with their masks of legal actions, inside the compiled program."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments.contract import DiscreteActions, Environment, Step
from purejaxrl_gae.environments.quiet import construct, importing, quietly
from purejaxrl_gae.environments.structures import ACTION_MASK
from purejaxrl_gae.environments.wrappers import reset_where
from purejaxrl_gae.parallel.sharding import keys_of_copies
from purejaxrl_gae.settings.errors import UserError, closest


def from_pgx(
    env: str, *, env_args: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> Environment:
    """Makes an Environment of one of pgx's games, which observes `action_mask` and `observation`.

    Args:
      env: a name that pgx knows, as `2048` or `minatar-breakout`.
      env_args: for its constructor.
      max_episode_steps: see `options.limit_episodes`, which cuts.

    Raises:
      UserError: pgx is not installed, does not know the name or an argument; or the game is of several players.
    """
    name, arguments = f"pgx:{env}", dict(env_args or {})
    with importing(name, "pgx", "pgx"), quietly():
        import pgx
    known = pgx.available_envs()
    if env not in known:
        raise UserError(f"env is {name!r}, which pgx does not know{closest(env, known)}")
    game = construct(name, lambda: pgx.make(env, **arguments))
    if game.num_players != 1:
        raise UserError(f"env is {name!r}, a game of {game.num_players} players; it must be one of 1, as pgx:2048")
    return _environment(name, game)


def _environment(name: str, game: Any) -> Environment:
    def observe(states):
        return {ACTION_MASK: states.legal_action_mask, "observation": states.observation.astype(jnp.float32)}

    def reset(key, num_envs):
        (keys,) = keys_of_copies(key, num_envs, 1)
        states = jax.vmap(game.init)(keys)
        return states, observe(states)

    def step(key, states, actions):
        step_key, reset_key = jax.random.split(key)
        (keys,) = keys_of_copies(step_key, actions.shape[0], 1)
        final = jax.vmap(game.step)(states, actions, keys)  # which does not reset: this is the true successor
        observed, terminated, truncated = observe(final), final.terminated, final.truncated & ~final.terminated
        states, observations = reset_where(
            lambda key: reset(key, actions.shape[0]), reset_key, terminated | truncated, final, observed
        )
        return Step(states, observations, final.rewards[:, 0], terminated, truncated, observed)

    types = {
        ACTION_MASK: jax.ShapeDtypeStruct((game.num_actions,), jnp.bool_),
        "observation": jax.ShapeDtypeStruct(tuple(game.observation_shape), jnp.float32),
    }
    return Environment(name, types, DiscreteActions(int(game.num_actions)), None, reset, step)
