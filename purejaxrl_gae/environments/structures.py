"""Observations of one array or of several: dictionaries and tuples of arrays, whose leaves have names.

One array, the most common, is its own only leaf, of the empty name; it reaches networks as float32. In a structure
every leaf keeps its type: real ones are float32, pixels uint8, flags bool.
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl_gae.settings.errors import UserError, closest

ACTION_MASK = "action_mask"  # the leaf that says which actions are allowed, where the environment names no other


def types_of(shape: Any, dtype: Any = np.float32) -> Any:
    """Returns an observation's types: of one array from its shape, of several as they are given.

    Args:
      shape: tuple of whole numbers, or a pytree of `jax.ShapeDtypeStruct`.
      dtype: of one array.
    """
    if isinstance(shape, tuple) and all(isinstance(size, (int, np.integer)) for size in shape):
        return jax.ShapeDtypeStruct(shape, dtype)
    return shape


def parts_of(library: Any, space: Any) -> Any:
    """Returns the spaces in a Dict or Tuple as a dictionary or tuple; any other space as it is.

    Args:
      library: whose `Dict` and `Tuple` are meant: gymnax's spaces, or Gymnasium's.
      space: one of its spaces.
    """
    if isinstance(space, library.Dict):
        return {key: parts_of(library, part) for key, part in space.spaces.items()}
    if isinstance(space, library.Tuple):
        return tuple(parts_of(library, part) for part in space.spaces)
    return space


def is_structured(observations: Any) -> bool:
    """Returns whether it is a dictionary or tuple, of arrays or of their types, and not one of them."""
    return not hasattr(observations, "shape")


def kept_type(dtype: Any) -> Any:
    """Returns the type in which a structure's leaf is kept: float32 of what is real, 32 bits of longer integers."""
    dtype = np.dtype(dtype)
    if np.issubdtype(dtype, np.floating):
        return np.dtype(np.float32)
    return {8: {"i": np.dtype(np.int32), "u": np.dtype(np.uint32)}}.get(dtype.itemsize, {}).get(dtype.kind, dtype)


def kept_types(types: Any) -> Any:
    """Returns the types in which a structure's leaves are kept, of anything with their shapes and types."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(tuple(leaf.shape), kept_type(leaf.dtype)), types)


def shape_of(types: Any) -> Any:
    """Returns what `types_of` makes these types of: of one array its shape, a structure as it is."""
    return types if is_structured(types) else tuple(types.shape)


def shape_and_dtype_of(types: Any) -> tuple[Any, Any]:
    """Returns the `observation_shape` and `observation_dtype` of a HostEnvironment; a structure has its own types."""
    return shape_of(types), np.float32 if is_structured(types) else types.dtype


def in_words(outputs: Any) -> str:
    """Names what a function returned that was to return something else."""
    return f"{len(outputs)} values" if isinstance(outputs, tuple) else f"a {type(outputs).__name__}"


def leaf_names(types: Any) -> list[str]:
    """Returns the leaves' names in their order: keys and places with `/` in between, `""` of one array."""
    paths, _ = jax.tree_util.tree_flatten_with_path(types)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths]


def named_leaves(observations: Any) -> dict[str, Any]:
    """Returns the leaves by their names, in order."""
    return dict(zip(leaf_names(observations), jax.tree.leaves(observations), strict=True))


def batch_shape(types: Any, observations: Any) -> tuple[int, ...]:
    """Returns what stands before the shape of one observation."""
    kind, leaf = jax.tree.leaves(types)[0], jax.tree.leaves(observations)[0]
    return tuple(leaf.shape[: leaf.ndim - len(kind.shape)])


def batched(types: Any, *leading: int) -> Any:
    """Returns the types of a batch of observations."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*leading, *leaf.shape), leaf.dtype), types)


def reshaped(types: Any, observations: Any, *leading: int) -> Any:
    """Returns observations with these axes before the shape of one; -1 stands for what there is."""
    return jax.tree.map(lambda kind, leaf: leaf.reshape(*leading, *kind.shape), types, observations)


def as_kept(types: Any, observations: Any) -> Any:
    """Returns observations in the types in which they are kept."""
    return jax.tree.map(lambda kind, leaf: leaf.astype(kind.dtype), types, observations)


def for_networks(observations: Any) -> Any:
    """Returns one array as float32, and a structure as it is."""
    return observations if is_structured(observations) else observations.astype(np.float32)


def seen_types(environment: Any) -> Any:
    """Returns the types of one observation as networks see it; see `for_networks`."""
    types = environment.observations
    return types if is_structured(types) else jax.ShapeDtypeStruct(types.shape, np.float32)


def all_finite(observations: Any, leading: tuple[int, ...]) -> Any:
    """Returns `[*leading]` bool, NumPy's or JAX's: no real number of an observation is NaN or infinite."""
    leaves = jax.tree.leaves(observations)
    real = [leaf for leaf in leaves if np.issubdtype(leaf.dtype, np.floating)]
    module: Any = np if all(isinstance(leaf, np.ndarray) for leaf in leaves) else jnp
    each = [module.isfinite(leaf).reshape(*leading, -1).all(axis=-1) for leaf in real]
    return functools.reduce(operator.and_, each, module.ones(leading, bool)) if len(each) != 1 else each[0]


def allows_action(environment: Any, observations: Any, leading: tuple[int, ...]) -> Any:
    """Returns `[*leading]` bool: a masked environment's mask allows an action, of several numbers one of each."""
    name, actions = mask_name(environment), environment.actions
    assert name is not None
    mask = named_leaves(observations)[name]
    flat, start, some = mask.reshape(*leading, -1) != 0, 0, []
    for size in getattr(actions, "sizes", (actions.num_outputs,)):
        some.append(flat[..., start : start + size].any(axis=-1))
        start += size
    return functools.reduce(operator.and_, some)


def described(types: Any) -> str:
    """Returns shapes in words: `[4]`, or `{camera: [84, 84, 3] uint8, speed: [2]}`."""
    if not is_structured(types):
        return str(list(types.shape))
    named = named_leaves(types).items()
    kinds = {name: "" if leaf.dtype == np.float32 else f" {np.dtype(leaf.dtype).name}" for name, leaf in named}
    return "{" + ", ".join(f"{name}: {list(leaf.shape)}{kinds[name]}" for name, leaf in named) + "}"


def same_structure(one: Any, other: Any) -> bool:
    """Returns whether two pytrees differ in their leaves only."""
    structure: Any = jax.tree.structure(one)
    return structure == jax.tree.structure(other)


def check_same(types: Any, observations: Any, message: str) -> None:
    """Refuses observations of another structure or of other shapes, with any axes before them.

    Raises:
      UserError: the message, with what they are.
    """
    same = same_structure(types, observations)
    if same:
        leading = batch_shape(types, observations)
        pairs = zip(jax.tree.leaves(types), jax.tree.leaves(observations), strict=True)
        same = all(tuple(leaf.shape) == (*leading, *kind.shape) for kind, leaf in pairs)
    if not same:
        raise UserError(message)


def mask_name(environment: Any) -> str | None:
    """Returns the name of the leaf that masks an environment's actions, or None where none does.

    Raises:
      UserError: the environment names a leaf that there is not, or one that does not fit its actions.
    """
    leaves = named_leaves(environment.observations)
    name = environment.action_mask
    if name is None:
        return ACTION_MASK if ACTION_MASK in leaves and _fits(environment, leaves[ACTION_MASK]) else None
    if name not in leaves:
        raise UserError(
            f"action_mask of {environment.name} is {name!r}, which is no leaf of its observations"
            f"{closest(name, leaves)}; they have {', '.join(leaves)}"
        )
    if not _fits(environment, leaves[name]):
        raise UserError(
            f"action_mask of {environment.name} is {name!r} of shape {list(leaves[name].shape)}; for its actions, "
            f"{environment.actions}, it must be [{environment.actions.num_outputs}]"
        )
    return name


def _fits(environment: Any, leaf: Any) -> bool:
    maskable = hasattr(environment.actions, "n") or hasattr(environment.actions, "sizes")
    return maskable and int(np.prod(leaf.shape, dtype=int)) == environment.actions.num_outputs
