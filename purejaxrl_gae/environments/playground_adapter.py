"""Environments of MuJoCo Playground, simulated by MJX inside the compiled program."""

from collections.abc import Mapping
from typing import Any

import jax

from purejaxrl_gae.environments.contract import Environment
from purejaxrl_gae.environments.physics import construct, from_physics, quietly, renderer
from purejaxrl_gae.errors import UserError, closest


def from_playground(
    name: str, *, env_args: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> Environment:
    """An Environment from a name in MuJoCo Playground's registry, as `CartpoleBalance`.

    Away from a GPU, MJX's implementation in JAX simulates, also where Playground's own default is its one for GPUs;
    `impl` among the arguments chooses otherwise. The tasks of the locomotion and manipulation suites fetch their robots
    when they are first built.

    Args:
      name: in the registry.
      env_args: replace entries of the task's config, as `ctrl_dt` or `impl`.
      max_episode_steps: the time limit; the `episode_length` of the task's config where None.

    Raises:
      UserError: Playground is not installed, does not know the name or an argument; or observes more than one array.
    """
    try:
        with quietly():
            from mujoco_playground import registry
    except ImportError as error:
        install = "pip install 'purejaxrl-gae[playground]'"
        raise UserError(f"env is 'mjx:{name}', which needs MuJoCo Playground: {install}") from error
    if name not in registry.ALL_ENVS:
        hint = closest(name, registry.ALL_ENVS) or "; see mujoco_playground.registry.ALL_ENVS"
        raise UserError(f"env is 'mjx:{name}', which MuJoCo Playground does not know{hint}")
    config = registry.get_default_config(name)
    arguments = dict(env_args or {})
    for argument in arguments:
        if argument not in config:
            raise UserError(f"env_args has {argument!r}, which mjx:{name} does not take{closest(argument, config)}")
    if "impl" in config and jax.default_backend() != "gpu":
        arguments.setdefault("impl", "jax")
    env = construct(f"mjx:{name}", lambda: registry.load(name, config=config, config_overrides=arguments))
    limit = int(config.episode_length) if max_episode_steps is None else max_episode_steps

    def draw(states):
        return env.render(states, height=240, width=320)

    return from_physics(f"mjx:{name}", env, max_episode_steps=limit, render=renderer(f"mjx:{name}", draw))
