"""Observations of several arrays and actions of several parts, in NumPy alone: what a policy.npz says of them in JSON.

Whoever wrote the file may be a stranger, so nothing is taken from it but numbers and names.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

IMPOSSIBLE = -1e9  # logit of what is not allowed


@dataclass(frozen=True)
class NumpyOneHot:
    """Whole numbers as zeros and ones: each number is as many of them as it has values, with a 1 at its own.

    Attributes:
      shape: of one observation's numbers; () of a single one.
      sizes: `[k]` how many values each number has.
      starts: `[k]` the lowest value of each.
    """

    shape: tuple[int, ...]
    sizes: np.ndarray
    starts: np.ndarray

    def encode(self, numbers: np.ndarray) -> np.ndarray:
        """Maps `[..., *shape]` to `[..., sum of sizes]`."""
        batch_shape = numbers.shape[: numbers.ndim - len(self.shape)]
        if numbers.shape[len(batch_shape) :] != self.shape:
            raise ValueError(f"whole numbers have shape {numbers.shape}; they must end in {self.shape}")
        each = np.split(numbers.reshape(*batch_shape, -1), len(self.sizes), axis=-1)
        values = [start + np.arange(size) for start, size in zip(self.starts, self.sizes, strict=True)]
        return np.concatenate([one == own for one, own in zip(each, values, strict=True)], axis=-1).astype(np.float64)


@dataclass(frozen=True)
class NumpyLeaf:
    """One array of an observation.

    Attributes:
      path: keys of dictionaries and places in tuples that lead to it.
      shape: of it in one observation, as networks see it.
      normalized: it is shifted and scaled.
      one_hot: how whole numbers become it, or None.
    """

    path: tuple[str | int, ...]
    shape: tuple[int, ...]
    normalized: bool
    one_hot: NumpyOneHot | None

    def read(self, observations: Any) -> np.ndarray:
        """Returns `[..., size]` float64 of an observation's or a batch's dictionaries and tuples."""
        found = observations
        for key in self.path:
            found = found[key]
        array = self.encode(np.asarray(found))
        return array.reshape(*array.shape[: array.ndim - len(self.shape)], -1).astype(np.float64)

    def encode(self, array: Any) -> Any:
        """Returns an array of NumPy or JAX `[..., *shape]`, whole numbers of an environment as zeros and ones.

        Raises:
          ValueError: it has another shape.
        """
        if self.one_hot is not None and np.issubdtype(array.dtype, np.integer):
            array = self.one_hot.encode(np.asarray(array))
        if array.ndim < len(self.shape) or array.shape[array.ndim - len(self.shape) :] != self.shape:
            where = "".join(f"[{key!r}]" for key in self.path)
            raise ValueError(f"observations{where} have shape {array.shape}; they must end in {self.shape}")
        return array


@dataclass(frozen=True)
class NumpyLeaves:
    """The arrays of an observation that a policy sees, in order, and the one that masks actions.

    Attributes:
      seen: what the policy sees, side by side.
      mask: what says which actions are allowed, or None.
    """

    seen: tuple[NumpyLeaf, ...]
    mask: NumpyLeaf | None

    @property
    def leaves(self) -> "list[NumpyLeaf]":
        """Returns what is seen, and the mask."""
        return [*self.seen, *([] if self.mask is None else [self.mask])]

    @property
    def normalized(self) -> np.ndarray:
        """`[size]` bool: which numbers are shifted and scaled."""
        return np.concatenate([np.full(math.prod(leaf.shape), leaf.normalized) for leaf in self.seen])

    def flatten(self, observations: Any) -> np.ndarray:
        """Returns `[..., size]` of what the policy sees."""
        return np.concatenate([leaf.read(observations) for leaf in self.seen], axis=-1)

    def allowed(self, observations: Any) -> np.ndarray | None:
        """Returns `[..., n]` bool: the actions that are allowed, or None where all are."""
        return None if self.mask is None else self.mask.read(observations) != 0.0


@dataclass(frozen=True)
class NumpyActions:
    """An action space, or one part of a joint one.

    Attributes:
      kind: `discrete`, `multi_discrete`, `binary`, `box` or `joint`.
      shape: of one action of the environment's.
      sizes: of `discrete` and `multi_discrete`, how many values each number has.
      low: of `box`, `[A]`.
      high: of `box`, `[A]`.
      parts: of `joint`.
      names: of a joint dictionary's parts; None of a tuple's.
    """

    kind: str
    shape: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    parts: "tuple[NumpyActions, ...]" = ()
    names: tuple[str, ...] | None = None

    @property
    def num_outputs(self) -> int:
        """Numbers that the network gives for it."""
        if self.kind == "joint":
            return sum(part.num_outputs for part in self.parts)
        return sum(self.sizes) if self.sizes else math.prod(self.shape)

    @property
    def num_deviations(self) -> int:
        """Real dimensions, each with a standard deviation."""
        own = math.prod(self.shape) if self.kind == "box" else 0
        return own + sum(part.num_deviations for part in self.parts)

    def __str__(self) -> str:
        if self.kind == "joint":
            return f"({', '.join(map(str, self.parts))})"
        words = {"discrete": "discrete", "box": "continuous", "binary": "binary", "multi_discrete": "discrete"}
        size = " x ".join(map(str, self.sizes)) if self.sizes else str(self.num_outputs)
        return f"{size} {words[self.kind]}"

    def act(self, outputs: np.ndarray, log_std: Any, bounds: str, rng: np.random.Generator | None) -> Any:
        """Returns actions as the environment takes them.

        Args:
          outputs: `[..., num_outputs]`, IMPOSSIBLE where an action is not allowed.
          log_std: `[num_deviations]`.
          bounds: how real actions get within theirs: `clip`, `scale` or `tanh`.
          rng: sample with it; the most probable action without it.
        """
        if self.kind == "joint":
            return self._act_jointly(outputs, log_std, bounds, rng)
        if self.kind == "box":
            actions = outputs if rng is None else outputs + np.exp(log_std) * rng.standard_normal(outputs.shape)
            return within_bounds(actions, self.low, self.high, bounds).reshape(*outputs.shape[:-1], *self.shape)
        if self.kind == "binary":
            noise = 0.0 if rng is None else rng.logistic(size=outputs.shape)
            return (outputs + noise > 0.0).astype(np.int64).reshape(*outputs.shape[:-1], *self.shape)
        if rng is not None:
            outputs = outputs + rng.gumbel(size=outputs.shape)
        each = [np.argmax(part, axis=-1) for part in np.split(outputs, np.cumsum(self.sizes)[:-1], axis=-1)]
        return each[0] if self.kind == "discrete" else np.stack(each, -1).reshape(*outputs.shape[:-1], *self.shape)

    def _act_jointly(self, outputs: np.ndarray, log_std: Any, bounds: str, rng: np.random.Generator | None) -> Any:
        own = np.split(outputs, np.cumsum([part.num_outputs for part in self.parts])[:-1], axis=-1)
        stds = np.split(np.asarray(log_std), np.cumsum([part.num_deviations for part in self.parts])[:-1])
        triples = zip(self.parts, own, stds, strict=True)
        actions = [part.act(part_outputs, part_stds, bounds, rng) for part, part_outputs, part_stds in triples]
        return tuple(actions) if self.names is None else dict(zip(self.names, actions, strict=True))


def within_bounds(actions: np.ndarray, low: Any, high: Any, bounds: str) -> np.ndarray:
    """Returns real actions `[..., A]` within their bounds; see `rollout.clip_to_bounds`."""
    if bounds != "clip" and low is not None and high is not None:
        within_one = np.tanh(actions) if bounds == "tanh" else np.clip(actions, -1.0, 1.0)
        actions = low + 0.5 * (within_one + 1.0) * (high - low)
    return np.clip(actions, low, high)


def read_leaves(found: Any) -> NumpyLeaves:
    """Returns what JSON says of an observation's arrays.

    Raises:
      ValueError: it says something else; or a KeyError or TypeError for what is not there.
    """
    mask = found["mask"]
    return NumpyLeaves(tuple(map(_read_leaf, found["seen"])), None if mask is None else _read_leaf(mask))


def _read_leaf(found: Any) -> NumpyLeaf:
    path = tuple(key if isinstance(key, str) else int(key) for key in found["path"])
    one_hot = found["one_hot"]
    encoding = None
    if one_hot is not None:
        sizes, starts = (np.asarray(one_hot[name], np.int64) for name in ("sizes", "starts"))
        encoding = NumpyOneHot(_sizes(one_hot["shape"]), sizes, starts)
    return NumpyLeaf(path, _sizes(found["shape"]), bool(found["normalized"]), encoding)


def read_actions(found: Any, depth: int = 0) -> NumpyActions:
    """Returns what JSON says of an action space.

    Raises:
      ValueError: it says something else; or a KeyError or TypeError for what is not there.
    """
    kind, names = str(found["kind"]), found.get("names")
    if kind not in ("discrete", "multi_discrete", "binary", "box", "joint") or depth > 8:
        raise ValueError("it is not a policy.npz: its actions are of no known kind")
    low, high = (None if found.get(name) is None else np.asarray(found[name], np.float64) for name in ("low", "high"))
    shape = _sizes(found.get("shape", ()))
    fits = kind != "box" or all(part is not None and part.shape == (math.prod(shape),) for part in (low, high))
    parts = tuple(read_actions(part, depth + 1) for part in found.get("parts", ()))
    fits &= bool(parts) == (kind == "joint") and (names is None or len(names) == len(parts))
    sizes = _sizes(found.get("sizes", ()))
    fits &= bool(sizes) == ("discrete" in kind) and (kind != "multi_discrete" or len(sizes) == math.prod(shape))
    if not fits:
        raise ValueError("it is not a policy.npz: its actions do not fit together")
    return NumpyActions(kind, shape, sizes, low, high, parts, None if names is None else tuple(map(str, names)))


def _sizes(found: Any) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in found)
    if any(size < 0 for size in sizes):
        raise ValueError("it is not a policy.npz: a size is negative")
    return sizes
