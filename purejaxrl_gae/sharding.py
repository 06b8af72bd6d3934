"""One agent on many devices: its environments are divided among them, and XLA divides what follows from them.

The program is the one of a single device. Its state says where the environments lie; the constraints here say where
the samples of a minibatch are to lie, and the compiler puts in the sums over devices. So every algorithm runs sharded,
and computes the same up to rounding. Outside a mesh the constraints do nothing.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "environments"


def environment_mesh(devices: list[jax.Device]) -> Mesh:
    """The devices in a row."""
    return Mesh(np.array(devices), (AXIS,))


def state_shardings(mesh: Mesh, state_types: Any, num_envs: int) -> Any:
    """Where each leaf of a TrainState lies: what belongs to environments divided, everything else on every device."""
    everywhere, divided = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))

    def of_world(leaf):
        return divided if leaf.ndim > 0 and leaf.shape[0] == num_envs else everywhere

    shardings = jax.tree.map(lambda _: everywhere, state_types)
    world = jax.tree.map(of_world, state_types.world).replace(key=everywhere)
    return shardings.replace(world=world)


def divided(tree: Any) -> Any:
    """Arrays `[B, ...]`, the first axis divided among the devices; as they are where it cannot be."""
    devices = _num_devices()

    def constrain(leaf):
        if leaf.ndim == 0 or leaf.shape[0] % devices:
            return leaf
        return jax.lax.with_sharding_constraint(leaf, PartitionSpec(AXIS))

    return tree if devices == 1 else jax.tree.map(constrain, tree)


def everywhere(tree: Any) -> Any:
    """Arrays whole on every device."""
    if _num_devices() == 1:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, PartitionSpec()), tree)


def _num_devices() -> int:
    """Devices that environments are divided among where this is traced."""
    return dict(jax.sharding.get_abstract_mesh().shape).get(AXIS, 1)
