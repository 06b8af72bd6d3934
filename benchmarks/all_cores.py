"""Every CPU core a device of its own; import this before anything that runs a JAX operation.

A program on one of these devices can still use all cores, unless it is compiled without
`xla_cpu_multi_thread_eigen`. On a GPU this changes nothing.
"""

import contextlib
import os

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

with contextlib.suppress(RuntimeError):  # too late where JAX has run already, as in tests
    jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)


def on_all_cores(train):
    """The function of a key vmapped over agents, which are divided among all devices."""
    mesh = Mesh(np.array(jax.devices()), ("agents",))
    spec = PartitionSpec("agents")
    return jax.shard_map(jax.vmap(train), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
