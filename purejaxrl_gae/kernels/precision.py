"""Matrix products in float32, where an accelerator would take fewer bits of each factor.

By default a TPU multiplies bfloat16 and a GPU TF32. That is good enough for values; conjugate gradients, a bound on the
KL divergence and a ratio that must be 1 are lost in it.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_float32(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Returns a function whose matrix products keep all bits of float32, in its derivatives too.

    Args:
      function: traced; what it calls is traced inside.
    """

    @functools.wraps(function)
    def traced(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with jax.default_matmul_precision("float32"):
            return function(*args, **kwargs)

    return traced
