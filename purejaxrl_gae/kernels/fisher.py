"""Fisher-vector products: the curvature of the KL divergence, without ever forming a matrix.

At the policy that acted, the Hessian of KL(pi_old || pi) is the Fisher matrix F = E_s[J^T M J]: J is the Jacobian of
the distribution's natural outputs (logits; mean and log std) by the parameters, M the Fisher matrix of the distribution
itself, a few numbers per state. J is linearised once by `jax.linearize` and transposed, so each product costs one
forward and one backward sweep and none of the network's nonlinearities again.
"""

from collections.abc import Callable
from typing import Any

import jax

from purejaxrl_gae.kernels.precision import in_float32

Policy = Callable[[Any, Any], Any]
MatrixVectorProduct = Callable[[Any], Any]


@in_float32
def make_fisher_vector_product(
    policy: Policy, params: Any, observations: Any, *, damping: float | jax.Array
) -> MatrixVectorProduct:
    """Returns the map v -> F v + damping v, linearised once for many products.

    Args:
      policy: `(params, observations) -> distribution`, outputs of one batch shape, with `fisher_product`.
      params: pytree at which the Fisher matrix is taken.
      observations: `[B, ...]`, or whatever else the policy takes.
      damping: c of F + c I.

    Returns:
      A function of pytrees like `params`.
    """
    distribution, jacobian = jax.linearize(lambda p: policy(p, observations), params)
    jacobian_transposed = jax.linear_transpose(jacobian, params)
    batch_size = jax.eval_shape(lambda each: each.entropy(), distribution).size

    @in_float32
    def product(vector):
        tangent = jacobian(vector)
        weighted = jax.tree.map(lambda leaf: leaf / batch_size, distribution.fisher_product(tangent))
        (curvature,) = jacobian_transposed(weighted)
        return jax.tree.map(lambda fv, v: fv + damping * v, curvature, vector)

    return product


@in_float32
def make_gauss_newton_product(
    function: Callable[[Any], jax.Array], params: Any, *, scale: float | jax.Array, damping: float | jax.Array
) -> MatrixVectorProduct:
    """Returns the map v -> scale H v + damping v with H = E_n[j_n j_n^T], j_n the gradient of output n.

    The Gauss-Newton matrix of a least-squares fit (Schulman et al. 2016, below eq. 30), linearised once.

    Args:
      function: `params -> [...]` outputs.
      params: pytree at which the matrix is taken.
      scale: factor of H, in the paper 1 / sigma^2.
      damping: factor of the identity.

    Returns:
      A function of pytrees like `params`.
    """
    outputs, jacobian = jax.linearize(function, params)
    jacobian_transposed = jax.linear_transpose(jacobian, params)

    def product(vector):
        (curvature,) = jacobian_transposed(jacobian(vector) * (scale / outputs.size))
        return jax.tree.map(lambda hv, v: hv + damping * v, curvature, vector)

    return product


@in_float32
def fisher_vector_product(
    policy: Policy, params: Any, observations: Any, vector: Any, *, damping: float | jax.Array
) -> Any:
    """Computes (F + damping I) v, F = E_s[J^T M J] a policy's mean Fisher matrix (Schulman et al. 2015, appendix C).

    Args:
      policy: `(params, observations) -> Distribution`, outputs of batch shape `[B]`.
      params: pytree at which the Fisher matrix is taken.
      observations: `[B, ...]`, or a pytree of such arrays.
      vector: pytree like `params`.
      damping: c, at least 0.

    Returns:
      Pytree like `params`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from purejaxrl_gae import kernels
      >>> def policy(params, observations):                       # a linear softmax policy of two actions
      ...     return kernels.Categorical(observations @ params)
      >>> observations = jnp.array([[1.0], [2.0]])
      >>> product = kernels.fisher_vector_product(
      ...     policy, jnp.zeros((1, 2)), observations, jnp.array([[1.0, 0.0]]), damping=0.0)
      >>> product.tolist()                                         # E[s^2] (diag(p) - p p^T) v = 2.5 * [.25, -.25]
      [[0.625, -0.625]]
    """
    return make_fisher_vector_product(policy, params, observations, damping=damping)(vector)
