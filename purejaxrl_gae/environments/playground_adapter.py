"""Environments of MuJoCo Playground, simulated by MJX inside the compiled program."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax

from purejaxrl_gae.environments.contract import Environment
from purejaxrl_gae.environments.physics import from_physics, mend_clip, renderer
from purejaxrl_gae.environments.quiet import construct, importing, quietly
from purejaxrl_gae.settings.errors import UserError, closest

MAX_EPISODE_STEPS = 1000


def from_playground(
    env: Any, *, env_args: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> Environment:
    """Makes an Environment from MuJoCo Playground.

    Away from a GPU, MJX's implementation in JAX simulates, also where Playground's own default is its one for GPUs;
    `impl` among the arguments chooses otherwise. The tasks of the locomotion and manipulation suites fetch their robots
    when they are first built.

    Args:
      env: a name in Playground's registry, as `CartpoleBalance`, or an object of its class `MjxEnv`.
      env_args: replace entries of a named task's config, as `ctrl_dt` or `impl`.
      max_episode_steps: the time limit; the `episode_length` of the task's config, or else 1000, where None.

    Raises:
      UserError: Playground is not installed, does not know the name or an argument, or cannot fetch the robot.
    """
    arguments = dict(env_args or {})
    if isinstance(env, str):
        name = f"mjx:{env}"
        env, limit = _build(env, arguments)
    elif arguments:
        raise UserError(f"env_args has {next(iter(arguments))!r}, but env is an object, which is made already")
    else:
        name, limit = type(env).__name__, MAX_EPISODE_STEPS

    def draw(states):
        return env.render(states, height=240, width=320)

    limit = limit if max_episode_steps is None else max_episode_steps
    return from_physics(name, env, max_episode_steps=limit, render=renderer(name, draw))


def _build(name: str, arguments: dict[str, Any]) -> tuple[Any, int]:
    """Makes the task of that name; returns it with its usual time limit."""
    with importing(f"mjx:{name}", "MuJoCo Playground", "playground"), quietly():
        from mujoco_playground import registry
    if name not in registry.ALL_ENVS:
        hint = closest(name, registry.ALL_ENVS) or "; see mujoco_playground.registry.ALL_ENVS"
        raise UserError(f"env is 'mjx:{name}', which MuJoCo Playground does not know{hint}")
    config = registry.get_default_config(name)
    for argument in arguments:
        if argument not in config:
            raise UserError(f"env_args has {argument!r}, which mjx:{name} does not take{closest(argument, config)}")
    if "impl" in config and jax.default_backend() != "gpu":
        arguments = {"impl": "jax", **arguments}
    env = construct(f"mjx:{name}", lambda: _load(registry, name, config, arguments))
    mend_clip(sys.modules[type(env).__module__])
    return env, int(config.get("episode_length", MAX_EPISODE_STEPS))


def _load(registry: Any, name: str, config: Any, arguments: dict[str, Any]) -> Any:
    """Loads a task; where its robot is not there and cannot be fetched, says where it is to be."""
    try:
        return registry.load(name, config=config, config_overrides=arguments)
    except subprocess.CalledProcessError as error:
        from mujoco_playground._src import mjx_env

        raise FileNotFoundError(
            f"its robot could not be fetched; it needs the repository mujoco_menagerie, at {mjx_env.MENAGERIE_PATH}"
        ) from error
