"""JAX's debugging aids: `JAX_DEBUG_NANS=1` refuses every NaN, `JAX_DISABLE_JIT=1` compiles nothing."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


def no_value() -> float:
    """Returns what stands where there is no value: NaN, or 0 while `JAX_DEBUG_NANS` would take it for a fault."""
    return 0.0 if _is_set("jax_debug_nans") else jnp.nan


class Uncompiled(NamedTuple):
    """A function in the place of its compiled program.

    Attributes:
      function: takes and returns what the program would.
    """

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function."""
        return self.function(*arguments)

    def compile(self, _options: Any = None) -> "Uncompiled":
        """Returns itself."""
        return self

    def memory_analysis(self) -> None:
        """Returns None: nobody knows what it will hold."""


def lower(jitted: Any, *arguments: Any) -> Any:
    """Lowers a jitted function for arguments of these types; `compile` of it gives what is called.

    Under `JAX_DISABLE_JIT`, with which JAX lowers nothing, that is the function itself.
    """
    return Uncompiled(jitted) if _is_set("jax_disable_jit") else jitted.lower(*arguments)


def _is_set(option: str) -> bool:
    return bool(getattr(jax.config, option))
