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

from purejaxrl_gae.settings.errors import UserError

MOST_VALUES = 2**16  # of observations that are whole numbers, one-hot encoded


@dataclass(frozen=True)
class DiscreteActions:
    """Actions `0 .. n-1`; int32 of shape `[N]`."""

    n: int


@dataclass(frozen=True)
class BoxActions:
    """Real actions between bounds; float32 of shape `[N, *shape]`.

    Attributes:
      shape: of one action.
      low: flat tuple of lower bounds, possibly -inf.
      high: flat tuple of upper bounds, possibly inf.

    Raises:
      UserError: a lower bound is above the upper one, or one is NaN; or there are not as many as components.
    """

    shape: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.size == len(self.low) == len(self.high):
            raise UserError(
                f"action_space has {self.size} components, {len(self.low)} lower and {len(self.high)} upper bounds; "
                "it must have as many of each"
            )
        for index, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not low <= high:
                raise UserError(
                    f"action_space has bounds {low} to {high} in component {index}; "
                    "low must not be above high, and neither may be NaN"
                )

    @property
    def size(self) -> int:
        """Number of action dimensions A."""
        return int(np.prod(self.shape, dtype=int))


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


Render = Callable[[list[Any]], list[np.ndarray]]
ActionSpace = DiscreteActions | BoxActions


class Step(NamedTuple):
    """One step of N environments.

    Attributes:
      states: pytree with leading axis N; already reset where an episode ended.
      observations: `[N, *shape]` float32 to act on next; of the new episode where one ended.
      rewards: `[N]` float32.
      terminated: `[N]` bool; a terminal state was reached.
      truncated: `[N]` bool; a time limit cut the episode.
      final_observations: `[N, *shape]` float32, the true successors, before any reset.
    """

    states: Any
    observations: jax.Array
    rewards: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    final_observations: jax.Array


@dataclass(frozen=True, eq=False)
class Environment:
    """N copies of one environment, as pure functions.

    Attributes:
      name: for run folders and messages.
      observation_shape: of one observation.
      actions: the action space.
      max_episode_steps: the time limit, or None where there is none.
      reset: `(key, N) -> (states, observations)`; N is static.
      step: `(key, states, actions) -> Step`.
      render: from a list of states of one copy (without the leading axis N), an RGB frame `[H, W, 3]` uint8 of each;
        None where the environment cannot be shown.
      one_hot: how its own observations became these, where they are whole numbers; None elsewhere.
    """

    name: str
    observation_shape: tuple[int, ...]
    actions: ActionSpace
    max_episode_steps: int | None
    reset: Callable[[jax.Array, int], tuple[Any, jax.Array]]
    step: Callable[[jax.Array, Any, jax.Array], Step]
    render: Render | None = None
    one_hot: OneHot | None = None


def render_inner(render: Render | None) -> Render | None:
    """Returns the renderer of states that carry as `inner` those which `render` draws."""
    return None if render is None else lambda states: render([state.inner for state in states])
