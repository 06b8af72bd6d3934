"""Fisher-vector products of a network of dense layers, at half the matrix products of the general ones.

Of a dense layer z = x W + b, output a of the network depends on W as d f_a / d W = x delta_a^T, where delta_a is
d f_a / d z. Both factors are the same for every product, so they are computed once, and then no layer needs to wait
for another:

    (J v)_a = sum over layers of  (x V + c) . delta_a          one product of x for each layer
    J^T u   = for each layer      x^T (sum over a of u_a delta_a)    and one of x^T

where the general way goes forward and backward through every layer, two products each. It pays where the outputs are
few: every output is a pass over `[B, width]` numbers.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.kernels.distributions import Categorical, DiagonalGaussian, Distribution
from purejaxrl_gae.kernels.precision import in_float32

Layer = tuple[jax.Array, jax.Array]


class DenseFactors(NamedTuple):
    """The Jacobian of a network of dense layers in factored form.

    Attributes:
      inputs: x of each layer, `[B, inputs]`.
      sensitivities: delta of each hidden layer, `[A, B, width]`; the output layer's is the identity.
    """

    inputs: list[jax.Array]
    sensitivities: list[jax.Array]


@in_float32
def dense_factors(
    layers: list[Layer], activation: Callable[[jax.Array], jax.Array], inputs: jax.Array
) -> tuple[jax.Array, DenseFactors]:
    """Computes outputs and factored Jacobian of dense layers with an activation behind all but the last.

    Args:
      layers: kernel `[inputs, outputs]` and bias `[outputs]` of each.
      activation: elementwise.
      inputs: `[B, inputs of the first]`.

    Returns:
      `(outputs [B, A], factors)`.
    """
    layer_inputs, slopes = [inputs], []
    for kernel, bias in layers[:-1]:
        preactivation = layer_inputs[-1] @ kernel + bias
        output, slope = jax.jvp(activation, (preactivation,), (jnp.ones_like(preactivation),))
        layer_inputs.append(output)
        slopes.append(slope)
    kernel, bias = layers[-1]
    outputs = layer_inputs[-1] @ kernel + bias
    sensitivities: list[jax.Array] = []
    for (kernel, _), slope in zip(reversed(layers[1:]), reversed(slopes), strict=True):
        # the output layer hands back its kernel's columns, every other layer what comes from behind it
        behind = sensitivities[0] @ kernel.T if sensitivities else kernel.T[:, None, :]
        sensitivities.insert(0, behind * slope)
    return outputs, DenseFactors(layer_inputs, sensitivities)


@in_float32
def dense_fisher_product(
    factors: DenseFactors, distribution: Distribution, vector: list[Layer], log_std: jax.Array | None
) -> tuple[list[Layer], jax.Array | None]:
    """Computes F v of a policy whose logits, or Gaussian means, are the network's outputs.

    Args:
      factors: see `dense_factors`.
      distribution: the policy's, `[B]`.
      vector: v for each layer's kernel and bias.
      log_std: v for the logarithm of the standard deviations `[A]` where they are learned, the same in every state.

    Returns:
      `(F v for each layer, F v for the log standard deviations or None)`.
    """
    batch_size = factors.inputs[0].shape[0]
    kernel, bias = vector[-1]
    change = factors.inputs[-1] @ kernel + bias
    for x, delta, (kernel, bias) in zip(factors.inputs[:-1], factors.sensitivities, vector[:-1], strict=True):
        # A sum along rows, as a product with ones: XLA's own reduction of them is not vectorised on a CPU.
        change += ((delta * (x @ kernel + bias)) @ jnp.ones(delta.shape[-1], x.dtype)).T
    if isinstance(distribution, Categorical):
        u, curvature_of_std = distribution.fisher_product(Categorical(change)).logits / batch_size, None
    else:
        of_std = jnp.zeros(change.shape[-1]) if log_std is None else log_std
        tangent = DiagonalGaussian(change, jnp.broadcast_to(of_std, change.shape))
        u = distribution.fisher_product(tangent).mean / batch_size
        curvature_of_std = None if log_std is None else 2.0 * log_std  # a mean over states that are all alike
    layers = []
    for x, delta in zip(factors.inputs[:-1], factors.sensitivities, strict=True):
        upstream = jnp.sum(u.T[:, :, None] * delta, axis=0)
        layers.append((x.T @ upstream, jnp.sum(upstream, axis=0)))
    layers.append((factors.inputs[-1].T @ u, jnp.sum(u, axis=0)))
    return layers, curvature_of_std
