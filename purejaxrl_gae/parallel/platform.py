"""Which kind of device a program is traced for: what a CPU takes as a branch, a GPU or TPU computes and selects from.

On a CPU a branch saves what it skips. On an accelerator it makes the host wait for the device in every step of a loop,
which costs more than the few kernels that it skips.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

_platform: ContextVar[str | None] = ContextVar("platform", default=None)


def takes_branches() -> bool:
    """Returns whether programs traced now are for a CPU."""
    return (_platform.get() or jax.default_backend()) == "cpu"


@contextmanager
def traced_for(platform: str) -> Iterator[None]:
    """Traces programs for a device that JAX does not compute on here, to compile or to lower them for it.

    Args:
      platform: "cpu", "cuda", "rocm" or "tpu".
    """
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def branch(condition: jax.Array, if_true: Callable[..., Any], if_false: Callable[..., Any], *operands: Any) -> Any:
    """Returns `if_true(*operands)` where a scalar is set, else `if_false(*operands)`; both are computed but on a CPU.

    Args:
      condition: scalar bool.
      if_true: pure.
      if_false: of the same outputs.
      operands: pytrees of arrays.
    """
    if takes_branches():
        return jax.lax.cond(condition, if_true, if_false, *operands)
    return jax.tree.map(partial(jnp.where, condition), if_true(*operands), if_false(*operands))
