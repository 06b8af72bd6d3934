"""Modules as pairs of pure functions: flax linen's, nnx's, Haiku's, or any `(init, apply)`."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from purejaxrl_gae.program.types import Params
from purejaxrl_gae.settings.errors import UserError


@dataclass(frozen=True)
class PureModule:
    """A module as two pure functions.

    Attributes:
      init: `(key, observations [B, *shape]) -> params`.
      apply: `(params, observations [B, *shape]) -> outputs`.
    """

    init: Callable[[jax.Array, jax.Array], Params]
    apply: Callable[[Params, jax.Array], Any]


def pure(module: Any) -> PureModule:
    """Makes two pure functions of a flax linen module, a function of nnx's `rngs`, or a pair of them already.

    Raises:
      UserError: it is none of these.
    """
    if isinstance(module, PureModule):
        return module
    if isinstance(module, tuple) and len(module) == 2 and all(map(callable, module)):
        return PureModule(*module)
    if callable(getattr(module, "init", None)) and callable(getattr(module, "apply", None)):
        return _of_linen(module) if type(module).__module__.partition(".")[0] != "haiku" else PureModule(*module)
    if callable(module) and not _is_nnx_module(module) and "rngs" in inspect.signature(module).parameters:
        return _of_nnx(module)
    hint = "; of an nnx module hand in a function of rngs that makes it" if _is_nnx_module(module) else ""
    raise UserError(
        f"network has a {type(module).__name__}; it must be a flax module, or a pair of functions (init, apply){hint}"
    )


def _of_linen(module: Any) -> PureModule:
    def init(key, observations):
        variables = dict(module.init(key, observations))
        _refuse_state(type(module).__name__, sorted(variables.keys() - {"params"}))
        return variables.get("params", {})

    return PureModule(init, lambda params, observations: module.apply({"params": params}, observations))


def _of_nnx(make: Callable[..., Any]) -> PureModule:
    from flax import nnx

    def parts_of(key):
        return nnx.split(make(rngs=nnx.Rngs(key)), nnx.Param, ...)

    def init(key, observations):
        _, params, rest = parts_of(key)
        _refuse_state(getattr(make, "__qualname__", "module"), sorted(map(str, nnx.to_pure_dict(rest))))
        return nnx.to_pure_dict(params)

    def apply(params, observations):
        structure, like, rest = nnx.eval_shape(parts_of, jax.random.key(0))
        nnx.replace_by_pure_dict(like, params)
        return nnx.merge(structure, like, rest)(observations)

    return PureModule(init, apply)


def _is_nnx_module(module: Any) -> bool:
    return any(kind.__module__.startswith("flax.nnx") for kind in type(module).__mro__)


def _refuse_state(name: str, collections: list[str]) -> None:
    if collections:
        raise UserError(
            f"network has {name}, whose state {collections[0]!r} changes from call to call (batch norm, dropout): "
            f"likelihood ratios would not start at 1; it must have parameters only"
        )
