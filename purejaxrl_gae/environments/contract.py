"""The contract of environments: one frozen record of functions over a batch of copies.

The functions are vectorised, so that whoever provides them decides how (vmap for gymnax, natively batched physics
elsewhere), and `step` resets by itself, so that the cheapest way of doing so stays with the environment. What is
never lost is the true final observation.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from purejaxrl_gae.environments import structures
from purejaxrl_gae.environments.action_spaces import ActionSpace as ActionSpace
from purejaxrl_gae.environments.action_spaces import BinaryActions as BinaryActions
from purejaxrl_gae.environments.action_spaces import BoxActions as BoxActions
from purejaxrl_gae.environments.action_spaces import DiscreteActions as DiscreteActions
from purejaxrl_gae.environments.action_spaces import JointActions as JointActions
from purejaxrl_gae.environments.action_spaces import MultiDiscreteActions as MultiDiscreteActions
from purejaxrl_gae.settings.errors import UserError

MOST_VALUES = 2**16  # of observations that are whole numbers, one-hot encoded


@dataclass(frozen=True)
class OneHot:
    """Whole numbers as zeros and ones: each number is as many of them as it has values, with a 1 at its own.

    Attributes:
      shape: of one observation's numbers; () of a single one.
      sizes: how many values each number has.
      starts: the lowest value of each.
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of zeros and ones."""
        return sum(self.sizes)

    def shape_of(self, observations: Any) -> tuple[int, ...]:
        """Returns the shape of an encoded observation."""
        return (self.size,)

    def encode(self, observations: Any) -> Any:
        """Encodes whole numbers `[..., *shape]` as float32 `[..., size]`; real ones are encoded already, and stay.

        Args:
          observations: array of NumPy or JAX.
        """
        if not np.issubdtype(observations.dtype, np.integer):
            return observations
        values = np.concatenate([start + np.arange(size) for start, size in zip(self.starts, self.sizes, strict=True)])
        numbers = observations.reshape(*observations.shape[: observations.ndim - len(self.shape)], len(self.sizes))
        if len(self.sizes) > 1:  # a single one is compared with all values as it is
            numbers = numbers[..., np.repeat(np.arange(len(self.sizes)), self.sizes)]
        return (numbers == values).astype(np.float32)


@dataclass(frozen=True)
class OneHotLeaves:
    """The encodings of some leaves of a structure.

    Attributes:
      leaves: in the structure's order, each an encoding or None.
    """

    leaves: tuple[OneHot | None, ...]

    def shape_of(self, observations: Any) -> Any:
        """Returns the types of an encoded observation, of those of one that is not."""
        found, structure = jax.tree.flatten(observations)
        pairs = zip(self.leaves, found, strict=True)
        types = [leaf if own is None else jax.ShapeDtypeStruct((own.size,), np.float32) for own, leaf in pairs]
        return jax.tree.unflatten(structure, types)

    def encode(self, observations: Any) -> Any:
        """Encodes those leaves, as `OneHot.encode` does; the others stay."""
        found, structure = jax.tree.flatten(observations)
        pairs = zip(self.leaves, found, strict=True)
        return jax.tree.unflatten(structure, [leaf if own is None else own.encode(leaf) for own, leaf in pairs])


def make_one_hot(name: str, shape: tuple[int, ...], sizes: Iterable[int], starts: Iterable[int]) -> OneHot:
    """Makes the encoding of an environment's observations.

    Args:
      name: of the environment.
      shape: see OneHot.
      sizes: see OneHot.
      starts: see OneHot.

    Raises:
      UserError: there would be more zeros and ones than any network takes.
    """
    one_hot = OneHot(shape, tuple(map(int, sizes)), tuple(map(int, starts)))
    if one_hot.size > MOST_VALUES:
        raise UserError(
            f"observation_space of {name} has {one_hot.size:,} discrete values; at most {MOST_VALUES:,} are encoded"
        )
    return one_hot


def one_hot_of(parts: Any, encoding_of: Callable[[Any], OneHot | None]) -> OneHot | OneHotLeaves | None:
    """Returns how observations of some spaces become zeros and ones; None where none does.

    Args:
      parts: a space, or a dictionary or tuple of spaces; see `structures.parts_of`.
      encoding_of: what a space has; None where its observations stay as they are.
    """
    if not isinstance(parts, (dict, tuple)):
        return encoding_of(parts)
    leaves = tuple(map(encoding_of, jax.tree.leaves(parts)))
    return OneHotLeaves(leaves) if any(leaf is not None for leaf in leaves) else None


Render = Callable[[list[Any]], list[np.ndarray]]


class Step(NamedTuple):
    """One step of N environments.

    Attributes:
      states: pytree with leading axis N; already reset where an episode ended.
      observations: `[N, *shape]` float32 to act on next; of the new episode where one ended. Here and below also a
        dictionary or tuple of such arrays, of any type.
      rewards: `[N]` float32.
      terminated: `[N]` bool; a terminal state was reached.
      truncated: `[N]` bool; a time limit cut the episode.
      final_observations: `[N, *shape]` float32, the true successors, before any reset.
    """

    states: Any
    observations: Any
    rewards: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    final_observations: Any


@dataclass(frozen=True, eq=False)
class Environment:
    """N copies of one environment, as pure functions.

    Attributes:
      name: for run folders and messages.
      observation_shape: of one observation, where that is one array; a pytree of `jax.ShapeDtypeStruct` of several.
      actions: the action space.
      max_episode_steps: the time limit, or None where there is none.
      reset: `(key, N) -> (states, observations)`; N is static.
      step: `(key, states, actions) -> Step`.
      render: from a list of states of one copy (without the leading axis N), an RGB frame `[H, W, 3]` uint8 of each;
        None where the environment cannot be shown.
      one_hot: how its own observations became these, where they are whole numbers; None elsewhere.
      action_mask: name of the observation's leaf that says which actions are allowed, `[n]` or, of several numbers,
        `[sum(sizes)]`; where None, `action_mask` if there is one.
    """

    name: str
    observation_shape: Any
    actions: ActionSpace
    max_episode_steps: int | None
    reset: Callable[[jax.Array, int], tuple[Any, Any]]
    step: Callable[[jax.Array, Any, Any], Step]
    render: Render | None = None
    one_hot: "OneHot | OneHotLeaves | None" = None
    action_mask: str | None = None

    @property
    def observations(self) -> Any:
        """Shape and type of one observation: a `jax.ShapeDtypeStruct`, or a pytree of them."""
        return structures.types_of(self.observation_shape)


def render_inner(render: Render | None) -> Render | None:
    """Returns the renderer of states that carry as `inner` those which `render` draws."""
    return None if render is None else lambda states: render([state.inner for state in states])
