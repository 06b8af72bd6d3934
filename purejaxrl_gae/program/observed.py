"""Which leaves of an observation a network sees, and how they become one vector."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments.structures import batch_shape, is_structured, named_leaves
from purejaxrl_gae.program.encoders import Activation, Convolutions, Encoder, make_convolutions
from purejaxrl_gae.settings.errors import UserError, closest


@dataclass(frozen=True)
class Observed:
    """The leaves that a network of vectors sees.

    Attributes:
      types: of one observation: one array's, or a pytree of them.
      names: of the leaves seen, in the structure's order; of one array `("",)`.
    """

    types: Any
    names: tuple[str, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the leaves seen, in order."""
        leaves = named_leaves(self.types)
        return {name: tuple(leaves[name].shape) for name in self.names}

    @property
    def size(self) -> int:
        """Numbers of one observation that are seen."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def flatten(self, observations: Any) -> jax.Array:
        """Returns `[..., size]` of observations `[..., *shape]`: the leaves seen, laid side by side as float32."""
        leading = batch_shape(self.types, observations)
        if not is_structured(self.types):
            return observations.reshape(*leading, -1)
        leaves = named_leaves(observations)
        return jnp.concatenate([leaves[name].reshape(*leading, -1).astype(jnp.float32) for name in self.names], axis=-1)

    def convolutions(self, encoder: Encoder, activation: Activation, *, optional: bool = False) -> Convolutions | None:
        """Returns what stands before the dense layers: of one array, or of the one leaf that is an image.

        Args:
          encoder: see `encoders.make_convolutions`.
          activation: name of the activation.
          optional: without an image among several leaves there are none.

        Raises:
          UserError: none of several leaves is an image, or more than one is.
        """
        if encoder == "mlp" or not is_structured(self.types):
            return make_convolutions(encoder, next(iter(self.shapes.values())), activation)
        images = [name for name, shape in self.shapes.items() if len(shape) == 3]
        if optional and not images:
            return None
        if len(images) != 1:
            raise UserError(
                f"encoder is {encoder}, which needs one leaf [H, W, C] among those a network sees; it sees "
                + ", ".join(f"{name} {list(shape)}" for name, shape in self.shapes.items())
            )
        before = self.names[: self.names.index(images[0])]
        start = sum(math.prod(self.shapes[name]) for name in before)
        return make_convolutions(encoder, self.shapes[images[0]], activation, start=start)


class Seen(NamedTuple):
    """What of several arrays is seen; of one array nothing is to be said.

    Attributes:
      policy: names of the leaves that the policy sees; of none, all but the mask.
      value: of those that the value function sees.
      mask: name of the leaf that says which actions are allowed, or None; it is seen only if asked for.
    """

    policy: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    mask: str | None = None


ALL_LEAVES = Seen()


def choose_leaves(types: Any, seen: Seen) -> dict[str, Observed]:
    """Returns the leaves that `policy` and `value` see of observations of these types.

    Raises:
      UserError: there is no such leaf, or observations are one array.
    """
    return {
        "policy": _choose(types, seen.mask, "policy_observations", seen.policy),
        "value": _choose(types, seen.mask, "value_observations", seen.value),
    }


def _choose(types: Any, mask: str | None, field: str, wanted: tuple[str, ...]) -> Observed:
    names = list(named_leaves(types))
    if not wanted:
        return Observed(types, tuple(name for name in names if name != mask))
    if not is_structured(types):
        raise UserError(f"{field} is {','.join(wanted)}; this environment's observations are one array, without names")
    for name in wanted:
        if name not in names:
            raise UserError(
                f"{field} has {name!r}, which is no leaf of the observations{closest(name, names)}; they have "
                f"{', '.join(names)}"
            )
    return Observed(types, tuple(name for name in names if name in wanted))
