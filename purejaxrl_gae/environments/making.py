"""From what a config's `env` says to an environment, whichever adapter that takes."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from operator import attrgetter
from typing import Any, NamedTuple

from purejaxrl_gae.environments.contract import Environment
from purejaxrl_gae.environments.host_environment import HostEnvironment
from purejaxrl_gae.environments.observing import observe_some
from purejaxrl_gae.environments.options import with_options
from purejaxrl_gae.environments.stacking import stack_frames
from purejaxrl_gae.settings import trust
from purejaxrl_gae.settings.config import read_arguments
from purejaxrl_gae.settings.errors import UserError, first_line, shown
from purejaxrl_gae.settings.search_space import Dimension, read_ranges

COMPILED = {  # prefixes of libraries in JAX: the module here, and its function of a name
    "brax": "brax_adapter:from_brax",
    "craftax": "craftax_adapter:from_craftax",
    "jumanji": "jumanji_adapter:from_jumanji",
    "mjx": "playground_adapter:from_playground",
    "navix": "navix_adapter:from_navix",
    "pgx": "pgx_adapter:from_pgx",
}
PREFIXES = (*COMPILED, "gymnasium", "envpool")


class Request(NamedTuple):
    """Wishes for an environment, besides which one.

    Attributes:
      arguments: for its constructor.
      ranges: of gymnax's parameters that are drawn for every episode.
      max_episode_steps: time limit in place of its own, or None.
      action_repeat: steps for which an action is applied.
      sticky_actions: probability of the previous action instead of the new one.
      env_workers: processes that step copies of Gymnasium's.
    """

    arguments: dict[str, Any]
    ranges: dict[str, Dimension]
    max_episode_steps: int | None
    action_repeat: int
    sticky_actions: float
    env_workers: int


def make_environment(
    env: Any,
    *,
    env_args: tuple[str, ...] = (),
    randomize: tuple[str, ...] = (),
    max_episode_steps: int | None = None,
    action_repeat: int = 1,
    sticky_actions: float = 0.0,
    observe: tuple[int, ...] = (),
    frame_stack: int = 1,
    env_workers: int = 0,
) -> Environment | HostEnvironment:
    """Makes an Environment, or a HostEnvironment, of whatever a config's `env` may be.

    Args:
      env: a gymnax id; `brax:NAME`; `mjx:NAME` of MuJoCo Playground; `jumanji:NAME`; `pgx:NAME`; `craftax:NAME`;
        `navix:NAME`; `gymnasium:ID`; `envpool:ID`; `MODULE:FACTORY`, a function to import and call with `env_args`; an
        Environment; an object with gymnax's methods, or a pair `(object, params)` of one; or one of Brax, MuJoCo
        Playground or Gymnasium.
      env_args: `name=value` for the constructor; for gymnax they replace fields of the parameters.
      randomize: `name=uniform:low:high` for parameters of a gymnax environment; see `randomized.Randomized`.
      max_episode_steps: time limit in place of the environment's own. Where the environment lets nothing but itself
        decide, only a shorter one has an effect.
      action_repeat: see `options.repeat_actions`.
      sticky_actions: see `options.sticky_actions`.
      observe: see `observing.observe_some`.
      frame_stack: see `stacking.stack_frames`.
      env_workers: processes that step copies of Gymnasium's environments; 0: this one.

    Raises:
      UserError: it is none of these, breaks the contract, or does not take an argument.
    """
    ranges = read_ranges(tuple(randomize), "randomize")
    request = Request(
        read_arguments(tuple(env_args)), ranges, max_episode_steps, action_repeat, sticky_actions, env_workers
    )
    environment = _find(env, request)
    if isinstance(environment, Environment):  # the host's adapters have done as requested
        if env_workers:
            raise UserError(
                f"env_workers is {env_workers}, but {environment.name} is compiled; only copies of Gymnasium's "
                "environments are stepped in processes, it must be 0"
            )
        environment = with_options(
            environment, max_episode_steps=max_episode_steps, action_repeat=action_repeat, sticky=sticky_actions
        )
    return stack_frames(observe_some(environment, tuple(observe)), frame_stack)


def _find(env: Any, request: Request) -> Any:
    """Makes the environment with its arguments, and with the time limit where that is a parameter of its own."""
    common: dict[str, Any] = {"env_args": request.arguments, "max_episode_steps": request.max_episode_steps}
    if isinstance(env, str):
        return _find_named(env, request, common)
    if isinstance(env, (Environment, HostEnvironment)):
        _refuse_changes(env, request)
        return env
    if _is_of_gymnasium(env, "Env", "vector.VectorEnv"):
        return _of_gymnasium(env, request)
    if all(hasattr(type(env), name) for name in ("reset", "step", "observation_size", "action_size")):
        _refuse_ranges(type(env).__name__, request)
        if hasattr(type(env), "mjx_model"):
            from purejaxrl_gae.environments.playground_adapter import from_playground

            return from_playground(env, **common)
        from purejaxrl_gae.environments.brax_adapter import from_brax

        return from_brax(env, **common)
    from purejaxrl_gae.environments.gymnax_adapter import from_gymnax

    env, params = env if isinstance(env, tuple) and len(env) == 2 else (env, None)
    return from_gymnax(env, params, ranges=request.ranges, **common)


def _find_named(env: str, request: Request, common: dict[str, Any]) -> Any:
    kind, colon, name = env.partition(":")
    if not colon:
        from purejaxrl_gae.environments.gymnax_adapter import from_gymnax_id

        return from_gymnax_id(env, ranges=request.ranges, **common)
    if kind in PREFIXES:
        _refuse_ranges(env, request)
    if kind in COMPILED:
        module, _, function = COMPILED[kind].partition(":")
        return getattr(import_module(f"{__package__}.{module}"), function)(name, **common)
    if kind == "envpool":
        return _of_envpool(env, name, request)
    if kind == "gymnasium":
        _refuse_foreign_maker(env, name, request)
        return _of_gymnasium(name, request)
    return _of_factory(env, request)


def _of_factory(env: str, request: Request) -> Any:
    """Calls the factory that `MODULE:FACTORY` names."""
    factory = load_factory(env, request.arguments)
    made = call_factory(env, factory, request.arguments)
    without_arguments = request._replace(arguments={})
    if made is None or isinstance(made, str):
        raise UserError(f"env is {env!r}, whose factory returned {made!r}; it must return an environment")
    if _is_of_gymnasium(made, "Env"):
        made.close()  # every copy is made anew

        def one_copy():
            return call_factory(env, factory, request.arguments)

        one_copy.__name__ = env  # for messages
        return _of_gymnasium(one_copy, without_arguments)
    return _find(made, without_arguments)


def _of_envpool(env: str, name: str, request: Request) -> Any:
    """Makes the HostEnvironment of one of EnvPool's, whose threads step it."""
    for field, off in (("action_repeat", 1), ("env_workers", 0)):
        if getattr(request, field) != off:
            raise UserError(f"{field} is {getattr(request, field)}, which {env} does not take; it must be {off}")
    from purejaxrl_gae.environments.envpool_adapter import from_envpool

    return from_envpool(
        name,
        env_args=request.arguments,
        max_episode_steps=request.max_episode_steps,
        sticky_actions=request.sticky_actions,
    )


def _of_gymnasium(env: Any, request: Request) -> Any:
    """Makes the HostEnvironment of an id, of a function that makes a `gymnasium.Env`, or of one of its objects."""
    _refuse_ranges(getattr(env, "__name__", None) or shown(env), request)
    from purejaxrl_gae.environments.gymnasium_adapter import from_gymnasium

    return from_gymnasium(
        env,
        env_args=request.arguments,
        max_episode_steps=request.max_episode_steps,
        action_repeat=request.action_repeat,
        sticky_actions=request.sticky_actions,
        env_workers=request.env_workers,
    )


def _refuse_foreign_maker(env: str, name: str, request: Request) -> None:
    """Lets a file name what Gymnasium and ale-py themselves make, and no other package that has registered an id."""
    if not isinstance(env, trust.Foreign) or name.startswith("ALE/"):
        return
    from purejaxrl_gae.environments.gymnasium_adapter import checked_spec

    maker = checked_spec(name).entry_point
    module = maker.partition(":")[0] if isinstance(maker, str) else str(getattr(maker, "__module__", ""))
    if module.partition(".")[0] != "gymnasium":
        trust.refuse_foreign("env", env, _as_text(request.arguments))


def _is_of_gymnasium(env: Any, *classes: str) -> bool:
    """Says whether an object is of one of these of its classes; none can be unless Gymnasium has been imported."""
    gymnasium = sys.modules.get("gymnasium")
    return gymnasium is not None and isinstance(env, tuple(attrgetter(name)(gymnasium) for name in classes))


def _refuse_ranges(name: str, request: Request) -> None:
    """Refuses to draw parameters of what has none that a program could change."""
    if request.ranges:
        raise UserError(
            f"randomize has {next(iter(request.ranges))!r}, but env is {name}; only parameters of a gymnax environment "
            "can be drawn"
        )


def _refuse_changes(env: Any, request: Request) -> None:
    """Refuses arguments for what is made already, and options for a HostEnvironment, whose adapter applies them."""
    _refuse_ranges(f"an {type(env).__name__}", request)
    if request.arguments:
        kind = type(env).__name__
        raise UserError(f"env_args has {next(iter(request.arguments))!r}, but env is an {kind}, which is made already")
    if isinstance(env, Environment):
        return
    options = (("max_episode_steps", None), ("action_repeat", 1), ("sticky_actions", 0.0), ("env_workers", 0))
    for name, off in options:
        if getattr(request, name) != off:
            value = getattr(request, name)
            raise UserError(f"{name} is {value}, but env is a HostEnvironment, which is made already; leave it out")


def load_factory(env: str, arguments: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """Returns the function that `MODULE:FACTORY` names; modules are also looked for in the current directory.

    Args:
      env: as the config has it.
      arguments: that it will be called with.

    Raises:
      UserError: only a file names it; there is no such module or no such function; or importing the module failed.
    """
    factory = trust.load("env", env, _as_text(arguments), PREFIXES)
    if not callable(factory):
        kind = type(factory).__name__
        name = shown(env.partition(":")[2])
        raise UserError(
            f"env is {shown(env)}, but {name} is a {kind}; it must be a function that returns an environment"
        )
    return factory


def _as_text(arguments: Mapping[str, Any] | None) -> list[str]:
    return [f"{name}={value!r}" for name, value in (arguments or {}).items()]


def call_factory(env: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Calls a factory with `env_args`.

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
