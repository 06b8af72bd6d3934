"""Brax environments, simulated inside the compiled program."""

import inspect
from collections.abc import Mapping
from typing import Any

from purejaxrl_gae.environments.contract import Environment
from purejaxrl_gae.environments.physics import from_physics, mend_clip, renderer
from purejaxrl_gae.environments.quiet import construct, importing, quietly
from purejaxrl_gae.settings.errors import UserError, closest

MAX_EPISODE_STEPS = 1000
WRAPPERS = ("AutoResetWrapper", "EpisodeWrapper", "VmapWrapper", "EvalWrapper")
BACKENDS = ("generalized", "spring", "positional", "mjx")


def from_brax(
    env: Any, *, env_args: Mapping[str, Any] | None = None, max_episode_steps: int | None = None
) -> Environment:
    """Makes an Environment from a Brax environment.

    `backend` among the arguments chooses the physics; `generalized`, Brax's own default, is the most exact, `spring`
    the fastest. Episodes are cut after 1000 steps, as in Brax's own training.

    Args:
      env: a name Brax knows, as `halfcheetah`, or an object of `brax.envs.Env` that no wrapper resets by itself.
      env_args: for the constructor of a named one.
      max_episode_steps: the time limit; 1000 where None.

    Raises:
      UserError: Brax is not installed, or does not know the name, the back-end or an argument; with the closest.
    """
    arguments = dict(env_args or {})
    limit = MAX_EPISODE_STEPS if max_episode_steps is None else max_episode_steps
    if isinstance(env, str):
        name = f"brax:{env}"
        env = _build(env, arguments)
    elif arguments:
        raise UserError(f"env_args has {next(iter(arguments))!r}, but env is a Brax environment that is made already")
    else:
        _refuse_wrapped(env)
        name = type(env.unwrapped).__name__

    def draw(states):
        model = env.unwrapped.sys.mj_model  # what runs away is followed by its own camera
        camera = model.camera(0).name if model.ncam else None
        return env.render([state.pipeline_state for state in states], height=240, width=320, camera=camera)

    return from_physics(name, env, max_episode_steps=limit, render=renderer(name, draw))


def _refuse_wrapped(env: Any) -> None:
    wrapper = env
    while wrapper is not wrapper.unwrapped:
        kind = type(wrapper).__name__
        if kind in WRAPPERS:
            raise UserError(f"env is a Brax environment wrapped in {kind}; it must be what that wraps")
        wrapper = wrapper.env


def _build(name: str, arguments: dict[str, Any]) -> Any:
    """Makes the Brax environment of that name."""
    with importing(f"brax:{name}", "Brax", "brax"), quietly():
        from brax import envs, fluid
    mend_clip(fluid)  # of the swimmer, alone in one
    known = dict(envs._envs)
    if name not in known:
        hint = closest(name, known) or f"; it knows {', '.join(sorted(known))}"
        raise UserError(f"env is 'brax:{name}', which Brax does not know{hint}")
    backend = arguments.get("backend", BACKENDS[0])
    if backend not in BACKENDS:
        raise UserError(
            f"env_args has backend={backend}; it must be one of {', '.join(BACKENDS)}{closest(str(backend), BACKENDS)}"
        )
    parameters = [*inspect.signature(known[name].__init__).parameters, "n_frames", "debug"]
    for argument in arguments:
        if argument not in parameters:
            raise UserError(
                f"env_args has {argument!r}, which brax:{name} does not take{closest(argument, parameters)}"
            )
    described = f"brax:{name}" + "".join(f" {key}={value}" for key, value in arguments.items())
    return construct(described, lambda: envs.get_environment(name, **arguments))
