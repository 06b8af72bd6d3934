"""A step as long as a trust region allows: direction by conjugate gradients, length by curvature, checked by search."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.kernels.conjugate_gradient import conjugate_gradient, tree_axpy, tree_dot
from purejaxrl_gae.kernels.precision import in_float32


class LineSearchResult(NamedTuple):
    """The end of a backtracking line search.

    Attributes:
      params: the accepted point, or the starting one bit for bit.
      accepted: bool.
      step_fraction: alpha^j of the accepted point, 0 where none was.
      improvement: gain of the objective at the accepted point, 0 where none was.
      divergence: distance of the accepted point, 0 where none was.
      backtracks: int32 points that were refused.
    """

    params: Any
    accepted: jax.Array
    step_fraction: jax.Array
    improvement: jax.Array
    divergence: jax.Array
    backtracks: jax.Array


@in_float32
def backtracking_line_search(
    evaluate: Callable[[Any], tuple[jax.Array, jax.Array]],
    params: Any,
    full_step: Any,
    *,
    objective: jax.Array,
    expected_improvement: jax.Array,
    max_divergence: float | jax.Array,
    shrinking_factor: float | jax.Array = 0.8,
    max_steps: int = 10,
    acceptance_ratio: float | jax.Array = 0.0,
    compound_expectation: bool = False,
) -> LineSearchResult:
    """Shrinks a step until the objective gains and the divergence stays within its bound.

    params + alpha^j full_step, j = 0, 1, ..., is accepted at the first j with

        divergence <= max_divergence,  gain > 0  and  gain >= acceptance_ratio alpha^j expected_improvement.

    A NaN anywhere refuses the point; a step that promises no gain is not tried.

    Args:
      evaluate: `params -> (objective, divergence)`; the objective is to be maximised, the divergence is from `params`.
      params: pytree to start from.
      full_step: pytree like it.
      objective: at `params`.
      expected_improvement: g^T full_step, what the linear model promises for the full step.
      max_divergence: delta.
      shrinking_factor: alpha.
      max_steps: most points to try, static.
      acceptance_ratio: least share of the promised gain; 0 accepts any gain.
      compound_expectation: multiply the promise by alpha^j again at every try, so that it falls as alpha^(j(j+1)/2) and
        the test fades: a fault of well-known code, for comparison.

    Returns:
      See LineSearchResult.

    Example:
      >>> import jax.numpy as jnp
      >>> from purejaxrl_gae import kernels
      >>> result = kernels.backtracking_line_search(
      ...     lambda x: (-(x - 1.0) ** 2, x**2), jnp.array(0.0), jnp.array(4.0), objective=jnp.array(-1.0),
      ...     expected_improvement=jnp.array(8.0), max_divergence=1.5, shrinking_factor=0.5)
      >>> float(result.params), int(result.backtracks)
      (1.0, 2)
    """

    def goes_on(carry):
        tries, accepted, *_ = carry
        return (tries < max_steps) & ~accepted & (expected_improvement > 0.0)

    def one_try(carry):
        tries, _, fraction, promise, *_ = carry
        candidate = tree_axpy(fraction, full_step, params)
        new_objective, divergence = evaluate(candidate)
        gain = new_objective - objective
        promised = promise * fraction if compound_expectation else expected_improvement * fraction
        accepted = (divergence <= max_divergence) & (gain > 0.0) & (gain >= acceptance_ratio * promised)
        next_fraction = jnp.where(accepted, fraction, fraction * shrinking_factor)
        return tries + 1, accepted, next_fraction, promised, gain, divergence

    zero = jnp.zeros_like(objective)
    start = (jnp.zeros((), jnp.int32), jnp.array(False), zero + 1.0, zero + expected_improvement, zero, zero)
    tries, accepted, fraction, _, gain, divergence = jax.lax.while_loop(goes_on, one_try, start)
    stepped = tree_axpy(fraction, full_step, params)
    return LineSearchResult(
        params=jax.tree.map(lambda new, old: jnp.where(accepted, new, old), stepped, params),
        accepted=accepted,
        step_fraction=jnp.where(accepted, fraction, 0.0),
        improvement=jnp.where(accepted, gain, 0.0),
        divergence=jnp.where(accepted, divergence, 0.0),
        backtracks=tries - accepted.astype(jnp.int32),
    )


class NaturalGradientResult(NamedTuple):
    """A natural-gradient step that was made.

    Attributes:
      search: the line search's result; `search.params` are the new parameters.
      expected_improvement: g^T of the full step.
      curvature: x^T (F + c I) x of the search direction x.
      residual: |b - A x| / |b| of the conjugate gradients.
      iterations: int32 products they made.
      failed: bool; no direction of positive, finite curvature was found, or no point was accepted.
    """

    search: LineSearchResult
    expected_improvement: jax.Array
    curvature: jax.Array
    residual: jax.Array
    iterations: jax.Array
    failed: jax.Array


@in_float32
def natural_gradient_step(
    evaluate: Callable[[Any], tuple[jax.Array, jax.Array]],
    matvec: Callable[[Any], Any],
    params: Any,
    gradient: Any,
    *,
    objective: jax.Array,
    max_divergence: float | jax.Array,
    cg_max_steps: int = 10,
    cg_tolerance: float | jax.Array = 1e-10,
    **line_search: Any,
) -> NaturalGradientResult:
    """Makes the step theta + alpha^j sqrt(2 delta / x^T H x) x with H x = g (Schulman et al. 2015, appendix C).

    Args:
      evaluate: `params -> (objective, divergence from params)`, the objective to be maximised.
      matvec: v -> H v, positive definite; the same operator solves for the direction and measures its length.
      params: pytree to start from.
      gradient: g of the objective there.
      objective: its value there.
      max_divergence: delta.
      cg_max_steps: most conjugate gradient steps, static.
      cg_tolerance: residual at which they stop, relative to |g|.
      **line_search: further arguments of `backtracking_line_search`.

    Returns:
      See NaturalGradientResult. A zero gradient, curvature that is not positive, or a number that is not finite leaves
      the parameters as they are.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from purejaxrl_gae import kernels
      >>> def policy(params, observations):
      ...     return kernels.DiagonalGaussian(observations @ params, jnp.zeros((observations.shape[0], 1)))
      >>> params, observations = jnp.zeros((1, 1)), jnp.ones((4, 1))
      >>> actions, advantages = jnp.ones((4, 1)), jnp.ones(4)
      >>> old = policy(params, observations)
      >>> def evaluate(p):                                       # TRPO's surrogate and its mean KL
      ...     new = policy(p, observations)
      ...     ratio = jnp.exp(new.log_prob(actions) - old.log_prob(actions))
      ...     return jnp.mean(ratio * advantages), jnp.mean(old.kl_divergence(new))
      >>> (objective, _), gradient = evaluate(params), jax.grad(lambda p: evaluate(p)[0])(params)
      >>> matvec = kernels.make_fisher_vector_product(policy, params, observations, damping=0.0)
      >>> result = kernels.natural_gradient_step(
      ...     evaluate, matvec, params, gradient, objective=objective, max_divergence=0.02)
      >>> bool(result.search.accepted), bool(0.01 < result.search.divergence <= 0.02)
      (True, True)
    """
    solution = conjugate_gradient(matvec, gradient, max_iters=cg_max_steps, tol=cg_tolerance)
    direction = solution.x
    curvature = tree_dot(direction, matvec(direction))  # x^T H x
    usable = (curvature > 0.0) & jnp.isfinite(curvature) & ~solution.failed
    length = jnp.sqrt(2.0 * max_divergence / jnp.where(usable, curvature, 1.0))
    full_step = jax.tree.map(lambda x: jnp.where(usable, length * x, 0.0), direction)
    expected_improvement = tree_dot(gradient, full_step)
    search = backtracking_line_search(
        evaluate,
        params,
        full_step,
        objective=objective,
        expected_improvement=expected_improvement,
        max_divergence=max_divergence,
        **line_search,
    )
    gradient_norm = jnp.sqrt(tree_dot(gradient, gradient))
    residual = solution.residual_norm / jnp.where(gradient_norm > 0.0, gradient_norm, 1.0)
    finite = lambda value: jnp.where(jnp.isfinite(value), value, 0.0)  # noqa: E731
    return NaturalGradientResult(
        search=search,
        expected_improvement=finite(expected_improvement),
        curvature=finite(curvature),
        residual=finite(residual),
        iterations=solution.iterations,
        failed=~search.accepted,
    )
