"""From the outputs of a network's last layer to the distribution of an environment's actions."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.environments import (
    ActionSpace,
    BinaryActions,
    BoxActions,
    DiscreteActions,
    JointActions,
    MultiDiscreteActions,
)
from purejaxrl_gae.environments.action_spaces import leaves
from purejaxrl_gae.kernels import (
    Bernoulli,
    Categorical,
    DiagonalGaussian,
    Joint,
    MultiCategorical,
    SquashedGaussian,
)
from purejaxrl_gae.program.types import Distribution


def num_deviations(space: ActionSpace) -> int:
    """Returns how many real dimensions there are, each of which has a standard deviation."""
    return sum(part.size for part in leaves(space) if isinstance(part, BoxActions))


def sampled_types(space: ActionSpace, batch_size: int) -> Any:
    """Returns shapes and types of actions as a distribution gives them: `[B]`, or `[B, k]` flat."""
    if isinstance(space, JointActions):
        return space.map(lambda part: sampled_types(part, batch_size))
    if isinstance(space, DiscreteActions):
        return jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    return jax.ShapeDtypeStruct((batch_size, math.prod(space.shape)), space.types.dtype)


def distribution_of(
    space: ActionSpace, outputs: jax.Array, log_std: jax.Array | None, *, squashed: bool = False
) -> Distribution:
    """Returns the distribution that a network's outputs stand for.

    Args:
      space: of the actions.
      outputs: `[..., num_outputs]`: logits, log-odds or means, those of one part behind those of the other.
      log_std: `[A]` logarithms of the standard deviations of all real dimensions, in order; None where there are none.
      squashed: real actions are SquashedGaussian.
    """
    if isinstance(space, JointActions):
        sizes = np.array([(part.num_outputs, num_deviations(part)) for part in space.spaces])
        ends, real_ends = np.cumsum(sizes, axis=0)[:-1].T
        own = jnp.split(outputs, ends, axis=-1)
        deviations = [None] * len(own) if log_std is None else jnp.split(log_std, real_ends)
        triples = zip(space.spaces, own, deviations, strict=True)
        parts = [distribution_of(part, some, std, squashed=squashed) for part, some, std in triples]
        return Joint(tuple(parts) if space.names is None else dict(zip(space.names, parts, strict=True)))
    if isinstance(space, DiscreteActions):
        return Categorical(outputs)
    if isinstance(space, MultiDiscreteActions):
        return MultiCategorical(outputs, space.sizes)
    if isinstance(space, BinaryActions):
        return Bernoulli(outputs)
    assert log_std is not None, "real actions need standard deviations"
    kind = SquashedGaussian if squashed else DiagonalGaussian
    return kind(outputs, jnp.broadcast_to(log_std, outputs.shape))
