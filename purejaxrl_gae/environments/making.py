"""From what a config's `env` says to an Environment, whichever adapter that takes."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from purejaxrl_gae.config import read_arguments
from purejaxrl_gae.environments.contract import Environment
from purejaxrl_gae.environments.options import with_options
from purejaxrl_gae.errors import UserError, closest, first_line

PREFIXES = ("brax", "mjx", "gymnasium")


def make_environment(
    env: Any,
    *,
    env_args: tuple[str, ...] = (),
    max_episode_steps: int | None = None,
    action_repeat: int = 1,
    sticky_actions: float = 0.0,
) -> Environment:
    """An Environment from whatever a config's `env` may be.

    Args:
      env: a gymnax id; `brax:NAME`; `mjx:NAME` of MuJoCo Playground; `MODULE:FACTORY`, a function to import and call
        with `env_args`; an Environment; an object with gymnax's methods, or a pair `(object, params)` of one; or an
        environment of Brax.
      env_args: `name=value` for the constructor; for gymnax they replace fields of the parameters.
      max_episode_steps: time limit in place of the environment's own. Where the environment lets nothing but itself
        decide, only a shorter one has an effect.
      action_repeat: see `options.repeat_actions`.
      sticky_actions: see `options.sticky_actions`.

    Raises:
      UserError: it is none of these, breaks the contract, or does not take an argument.
    """
    environment = _find(env, read_arguments(tuple(env_args)), max_episode_steps)
    return with_options(
        environment, max_episode_steps=max_episode_steps, action_repeat=action_repeat, sticky=sticky_actions
    )


def _find(env: Any, arguments: dict[str, Any], max_episode_steps: int | None) -> Environment:
    """The environment, with arguments, and with the time limit where it is a parameter of the environment's own."""
    if isinstance(env, str):
        return _find_named(env, arguments, max_episode_steps)
    if isinstance(env, Environment):
        if arguments:
            raise UserError(f"env_args has {next(iter(arguments))!r}, but env is an Environment, which is made already")
        return env
    if all(hasattr(type(env), name) for name in ("reset", "step", "observation_size", "action_size")):
        from purejaxrl_gae.environments.brax_adapter import from_brax

        return from_brax(env, env_args=arguments, max_episode_steps=max_episode_steps)
    from purejaxrl_gae.environments.gymnax_adapter import from_gymnax

    env, params = env if isinstance(env, tuple) and len(env) == 2 else (env, None)
    return from_gymnax(env, params, env_args=arguments, max_episode_steps=max_episode_steps)


def _find_named(env: str, arguments: dict[str, Any], max_episode_steps: int | None) -> Environment:
    kind, colon, name = env.partition(":")
    if not colon:
        from purejaxrl_gae.environments.gymnax_adapter import from_gymnax_id

        return from_gymnax_id(env, env_args=arguments, max_episode_steps=max_episode_steps)
    if kind == "brax":
        from purejaxrl_gae.environments.brax_adapter import from_brax

        return from_brax(name, env_args=arguments, max_episode_steps=max_episode_steps)
    if kind == "mjx":
        from purejaxrl_gae.environments.playground_adapter import from_playground

        return from_playground(name, env_args=arguments, max_episode_steps=max_episode_steps)
    made = call_factory(env, load_factory(env), arguments)
    if made is None or isinstance(made, str):
        raise UserError(f"env is {env!r}, whose factory returned {made!r}; it must return an environment")
    return _find(made, {}, max_episode_steps)


def load_factory(env: str) -> Callable[..., Any]:
    """The function that `MODULE:FACTORY` names; modules are also looked for in the current directory.

    Raises:
      UserError: there is no such module or no such function, or importing the module failed.
    """
    module_name, _, name = env.partition(":")
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if _is_missing(module_name, error) or not all(part.isidentifier() for part in module_name.split(".")):
            known = closest(module_name, PREFIXES) or f"; known before a colon: {', '.join(PREFIXES)}, or a module"
            raise UserError(f"env is {env!r}, but there is no module {module_name!r}{known}") from None
        kind = type(error).__name__
        raise UserError(f"env is {env!r}, and importing {module_name} raised {kind}: {first_line(error)}") from error
    factory = getattr(module, name, None)
    if factory is None:
        hint = closest(name, [known for known in vars(module) if not known.startswith("_")])
        raise UserError(f"env is {env!r}, but {module_name} has no {name!r}{hint}")
    if not callable(factory):
        kind = type(factory).__name__
        raise UserError(f"env is {env!r}, but {name} is a {kind}; it must be a function that returns an environment")
    return factory


def call_factory(env: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What the factory returns, called with `env_args`.

    Raises:
      UserError: it raised something; what it raised is the cause.
    """
    try:
        return factory(**arguments)
    except UserError:
        raise
    except Exception as error:
        kind = type(error).__name__
        raise UserError(f"env is {env!r}, whose factory raised {kind}: {first_line(error)}") from error


def _is_missing(module_name: str, error: Exception) -> bool:
    """The module, or a package it is in, was not found; rather than one that it imports."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return missing is not None and (module_name == missing or module_name.startswith(f"{missing}."))
