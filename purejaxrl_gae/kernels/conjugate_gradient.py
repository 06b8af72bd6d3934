"""The conjugate gradient method, for A x = b with A symmetric and positive definite and known only by its products."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.kernels.precision import in_float32


class ConjugateGradientResult(NamedTuple):
    """An approximate solution of A x = b.

    Attributes:
      x: like b; the best iterate before anything went wrong.
      residual_norm: scalar |b - A x|, by the recurrence.
      iterations: int32 products made.
      failed: bool; the search met a direction of non-positive curvature or a number that is not finite.
    """

    x: Any
    residual_norm: jax.Array
    iterations: jax.Array
    failed: jax.Array


def tree_dot(left: Any, right: Any) -> jax.Array:
    """Returns the inner product of two pytrees."""
    products = jax.tree.map(lambda a, b: jnp.vdot(a, b, precision="highest"), left, right)
    return jax.tree.reduce(jnp.add, products)


def tree_axpy(scale: jax.Array, x: Any, y: Any) -> Any:
    """Returns the pytree scale * x + y."""
    return jax.tree.map(lambda a, b: scale * a + b, x, y)


@in_float32
def conjugate_gradient(
    matvec: Callable[[Any], Any], b: Any, *, max_iters: int, tol: float | jax.Array = 1e-10
) -> ConjugateGradientResult:
    """Solves A x = b from x = 0 (Hestenes and Stiefel 1952).

    Stops after `max_iters` products, or once |r| <= tol |b|, where no tol asks for less than the precision of the
    numbers: from there on the recurrence's residual falls further, but b - A x does not. A direction p with
    p^T A p <= 0 or a number that is not finite ends the search too, with the iterate reached so far and `failed` set.

    Args:
      matvec: x -> A x, for pytrees like `b`.
      b: right side, an array or pytree.
      max_iters: most products to make, static.
      tol: residual at which to stop, relative to |b|; at least the machine epsilon, 1.2e-7 in float32.

    Returns:
      See ConjugateGradientResult; x = 0 for b = 0.

    Example:
      >>> import jax.numpy as jnp
      >>> from purejaxrl_gae import kernels
      >>> a = jnp.array([[4.0, 1.0], [1.0, 3.0]])
      >>> result = kernels.conjugate_gradient(lambda x: a @ x, jnp.array([1.0, 2.0]), max_iters=2)
      >>> [round(float(x), 4) for x in result.x]
      [0.0909, 0.6364]
    """
    b_squared = tree_dot(b, b)
    tol = jnp.maximum(tol, jnp.finfo(b_squared.dtype).eps)

    def goes_on(carry):
        _, _, _, r_squared, iterations, failed = carry
        return (iterations < max_iters) & (r_squared > tol**2 * b_squared) & ~failed

    def one_step(carry):
        x, residual, direction, r_squared, iterations, _ = carry
        a_direction = matvec(direction)
        curvature = tree_dot(direction, a_direction)  # p^T A p
        step = r_squared / curvature
        new_x = tree_axpy(step, direction, x)
        new_residual = tree_axpy(-step, a_direction, residual)
        new_r_squared = tree_dot(new_residual, new_residual)
        failed = ~((curvature > 0.0) & jnp.isfinite(new_r_squared) & jnp.isfinite(step))
        new_direction = tree_axpy(new_r_squared / r_squared, direction, new_residual)
        keep = lambda new, old: jax.tree.map(lambda n, o: jnp.where(failed, o, n), new, old)  # noqa: E731
        return (
            keep(new_x, x),
            keep(new_residual, residual),
            new_direction,
            jnp.where(failed, r_squared, new_r_squared),
            iterations + 1,
            failed,
        )

    zero = jax.tree.map(jnp.zeros_like, b)
    start = (zero, b, b, b_squared, jnp.zeros((), jnp.int32), ~jnp.isfinite(b_squared))
    x, _, _, r_squared, iterations, failed = jax.lax.while_loop(goes_on, one_step, start)
    return ConjugateGradientResult(x, jnp.sqrt(r_squared), iterations, failed)
