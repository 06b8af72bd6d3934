"""One agent on many devices: its environments are divided among them, and XLA divides what follows from them.

The program is the one of a single device. The rollout is a `shard_map` over the environments, in which devices need
nothing of each other. Behind it, constraints say where the samples of a minibatch lie, and the compiler puts in the
sums over devices. So every algorithm runs sharded, and computes the same up to rounding: random numbers are those of
one device too. Outside a mesh all of this does nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "environments"


def environment_mesh(devices: list[jax.Device]) -> Mesh:
    """Lays the devices in a row."""
    return Mesh(np.array(devices), (AXIS,))


def state_shardings(mesh: Mesh, state_types: Any, num_envs: int) -> Any:
    """Says where each leaf of a TrainState lies: what belongs to environments divided, all else on every device."""
    everywhere, divided = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))

    def of_world(leaf):
        return divided if leaf.ndim > 0 and leaf.shape[0] == num_envs else everywhere

    shardings = jax.tree.map(lambda _: everywhere, state_types)
    world = jax.tree.map(of_world, state_types.world).replace(key=everywhere)
    return shardings.replace(world=world)


def over_environments(function: Callable[..., Any], *, whole: Any, by_environment: Any, by_step: Any) -> Any:
    """Calls a function on each device's share of the environments.

    Args:
      function: `(whole, by_environment, by_step) -> (by_environment, by_step, count)`; a count is summed over devices.
      whole: pytree that every device gets as it is.
      by_environment: pytree of `[N, ...]`.
      by_step: pytree of `[T, N, ...]`.
    """
    if num_devices() == 1:
        return function(whole, by_environment, by_step)

    def of_share(*arguments):
        by_environment, by_step, count = function(*arguments)
        return by_environment, by_step, jax.lax.psum(count, AXIS)

    specs = (PartitionSpec(), PartitionSpec(AXIS), PartitionSpec(None, AXIS))
    outputs = (specs[1], specs[2], specs[0])
    return jax.shard_map(of_share, in_specs=specs, out_specs=outputs, check_vma=False)(whole, by_environment, by_step)


def keys_of_copies(key: jax.Array, num_copies: int, groups: int) -> list[jax.Array]:
    """Splits keys `[num_copies]` for each of several uses; in a device's share, its share of all environments' keys."""
    shares = num_devices() if _in_share() else 1
    keys = jax.random.split(key, groups * num_copies * shares).reshape(groups, -1)
    if shares > 1:
        keys = jax.lax.dynamic_slice_in_dim(keys, jax.lax.axis_index(AXIS) * num_copies, num_copies, axis=1)
    return [keys[group] for group in range(groups)]


def divided(tree: Any, axis: int = 0) -> Any:
    """Divides one axis of arrays among the devices; leaves them as they are where it cannot be."""
    devices = 1 if _in_share() else num_devices()

    def constrain(leaf):
        if leaf.ndim <= axis or leaf.shape[axis] % devices:
            return leaf
        return jax.lax.with_sharding_constraint(leaf, PartitionSpec(*[None] * axis, AXIS))

    return tree if devices == 1 else jax.tree.map(constrain, tree)


def everywhere(tree: Any) -> Any:
    """Puts arrays whole on every device."""
    if num_devices() == 1:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, PartitionSpec()), tree)


def num_devices() -> int:
    """Returns the number of devices that environments are divided among where this is traced."""
    return dict(jax.sharding.get_abstract_mesh().shape).get(AXIS, 1)


def _in_share() -> bool:
    """Says whether what is traced is one device's share, inside `over_environments`."""
    mesh = jax.sharding.get_abstract_mesh()
    return AXIS in mesh.manual_axes
