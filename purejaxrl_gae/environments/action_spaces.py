"""What an environment's actions may be, each as a frozen record of numbers.

Every space says how many numbers a network gives for it (`num_outputs`), what one action is to the environment
(`types`), and itself in words (`str`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.settings.errors import UserError


@dataclass(frozen=True)
class DiscreteActions:
    """Actions `0 .. n-1`; int32 of shape `[N]`."""

    n: int

    @property
    def num_outputs(self) -> int:
        """A logit for each."""
        return self.n

    @property
    def types(self) -> jax.ShapeDtypeStruct:
        """One action's shape and type."""
        return jax.ShapeDtypeStruct((), np.int32)

    def __str__(self) -> str:
        return f"{self.n} discrete"


@dataclass(frozen=True)
class MultiDiscreteActions:
    """Several numbers at once, the i-th in `0 .. sizes[i]-1`; int32 of shape `[N, *shape]`.

    Attributes:
      sizes: flat tuple of how many values each number has.
      shape: of one action; `(len(sizes),)` where None is given.

    Raises:
      UserError: a number has no value, or there are not as many as components.
    """

    sizes: tuple[int, ...]
    shape: tuple[int, ...] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.shape is None:
            object.__setattr__(self, "shape", (len(self.sizes),))
        if not self.sizes or min(self.sizes) < 1 or int(np.prod(self.shape, dtype=int)) != len(self.sizes):
            raise UserError(
                f"action_space is MultiDiscrete({list(self.sizes)}) of shape {list(self.shape)}; it must have at least "
                "1 value for each component"
            )

    @property
    def num_outputs(self) -> int:
        """A logit for each value of each number."""
        return sum(self.sizes)

    @property
    def types(self) -> jax.ShapeDtypeStruct:
        """One action's shape and type."""
        return jax.ShapeDtypeStruct(self.shape, np.int32)

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.sizes))} discrete"


@dataclass(frozen=True)
class BinaryActions:
    """Bits; int32 of shape `[N, *shape]`.

    Attributes:
      shape: of one action.
    """

    shape: tuple[int, ...]

    @property
    def num_outputs(self) -> int:
        """The log-odds of each bit."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def types(self) -> jax.ShapeDtypeStruct:
        """One action's shape and type."""
        return jax.ShapeDtypeStruct(self.shape, np.int32)

    def __str__(self) -> str:
        return f"{self.num_outputs} binary"


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

    @property
    def num_outputs(self) -> int:
        """The mean of each dimension."""
        return self.size

    @property
    def types(self) -> jax.ShapeDtypeStruct:
        """One action's shape and type."""
        return jax.ShapeDtypeStruct(self.shape, np.float32)

    def __str__(self) -> str:
        return f"{self.size} real"


@dataclass(frozen=True)
class JointActions:
    """Several spaces at once; an action is a dictionary of theirs, or a tuple.

    Attributes:
      spaces: of the parts, in the order of the sorted names.
      names: of the parts of a dictionary; None of a tuple.

    Raises:
      UserError: there is no part.
    """

    spaces: "tuple[ActionSpace, ...]"
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.spaces:
            raise UserError("action_space has no part; it must have at least 1")
        assert self.names is None or list(self.names) == sorted(self.names), "parts are in the order of their names"

    @property
    def num_outputs(self) -> int:
        """Those of all parts."""
        return sum(space.num_outputs for space in self.spaces)

    @property
    def types(self) -> Any:
        """One action's shapes and types."""
        return self.map(lambda space: space.types)

    def map(self, function: Callable[..., Any], *others: Any) -> Any:
        """Returns a dictionary or tuple of the function's value for each part, and for what others have in its place.

        Args:
          function: `(space, *theirs) -> value`.
          others: dictionaries or tuples like an action.
        """
        places = range(len(self.spaces)) if self.names is None else self.names
        values = [
            function(space, *(each[at] for each in others)) for at, space in zip(places, self.spaces, strict=True)
        ]
        return tuple(values) if self.names is None else dict(zip(self.names, values, strict=True))

    def __str__(self) -> str:
        if self.names is None:
            return f"({', '.join(map(str, self.spaces))})"
        parts = zip(self.names, self.spaces, strict=True)
        return f"({', '.join(f'{name}: {space}' for name, space in parts)})"


ActionSpace = DiscreteActions | MultiDiscreteActions | BinaryActions | BoxActions | JointActions


def multi_discrete_actions(sizes: Any) -> MultiDiscreteActions:
    """Makes a space of an array that says how many values each number has."""
    sizes = np.asarray(sizes)
    return MultiDiscreteActions(tuple(int(size) for size in sizes.reshape(-1)), sizes.shape)


def box_actions(shape: tuple[int, ...], low: Any, high: Any) -> BoxActions:
    """Makes a space of bounds `[*shape]`, or of one for all."""
    bounds = (np.broadcast_to(np.asarray(bound, np.float32), shape).reshape(-1) for bound in (low, high))
    return BoxActions(tuple(int(size) for size in shape), *(tuple(bound.tolist()) for bound in bounds))


def actions_of(parts: Any, space_of: Callable[[Any], "ActionSpace"]) -> "ActionSpace":
    """Returns the space of a library's space, or of a dictionary or tuple of some; see `structures.parts_of`."""
    if isinstance(parts, dict):
        return joint_actions({key: actions_of(part, space_of) for key, part in parts.items()})
    if isinstance(parts, tuple):
        return joint_actions(tuple(actions_of(part, space_of) for part in parts))
    return space_of(parts)


def joint_actions(parts: "dict[str, ActionSpace] | tuple[ActionSpace, ...]") -> JointActions:
    """Makes one space of a dictionary or a tuple of spaces."""
    if isinstance(parts, dict):
        names = tuple(sorted(parts))
        return JointActions(tuple(parts[name] for name in names), names)
    return JointActions(tuple(parts))


def leaves(space: ActionSpace) -> list[ActionSpace]:
    """Returns the spaces that a space is made of, itself where it is no JointActions, in order."""
    if isinstance(space, JointActions):
        return [leaf for part in space.spaces for leaf in leaves(part)]
    return [space]
