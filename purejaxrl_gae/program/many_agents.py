"""Many agents in one program: whole training runs side by side, differing in their seeds and hyperparameters.

Agents are computed in groups. Within a group they are vmapped; a device goes through its groups one after another;
devices divide the groups among them. How wide a group is follows from the number of agents alone (on a CPU), because
XLA rounds differently for other widths: so the bits of an agent do not depend on how many devices there are.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from purejaxrl_gae.program import guarded_update, training
from purejaxrl_gae.program.types import Algorithm, EpisodeTotals, Hyperparameters, Metrics, TrainState

AXIS = "agents"
GROUPS_WANTED = 8
WIDEST_GROUP = 4


class Layout(NamedTuple):
    """The place of agents on the devices.

    Attributes:
      mesh: one axis, "agents".
      num_agents: S that were asked for.
      width: agents that are vmapped together.
      padded: S and as many idle repetitions of the last agent as fill the devices evenly.
    """

    mesh: Mesh
    num_agents: int
    width: int
    padded: int


class AgentsProgress(NamedTuple):
    """The updates that `advance` made of S agents.

    Attributes:
      healthy: `[S]` bool; False for agents that met something not finite under `on_nonfinite = halt` and stand still.
      metrics: `[S]` each, means over the updates that were made.
      totals: `[S]` each, sums over the episodes that ended in them.
    """

    healthy: jax.Array
    metrics: Metrics
    totals: EpisodeTotals


def lay_out(num_agents: int, devices: list[jax.Device]) -> Layout:
    """Divides agents among devices."""
    if devices[0].platform == "cpu":
        widths = (width for width in (WIDEST_GROUP, 2) if num_agents >= GROUPS_WANTED * width)
        width = next(widths, 1)
    else:
        width = -(-num_agents // len(devices))
    multiple = width * len(devices)
    return Layout(Mesh(np.array(devices), (AXIS,)), num_agents, width, -(-num_agents // multiple) * multiple)


def on_devices(layout: Layout) -> NamedSharding:
    """Says where arrays `[padded, ...]` lie."""
    return NamedSharding(layout.mesh, PartitionSpec(AXIS))


def spread(layout: Layout, tree: Any) -> Any:
    """Puts arrays `[S, ...]` of the host on the devices, padded."""
    repeats = np.minimum(np.arange(layout.padded), layout.num_agents - 1)
    return place(on_devices(layout), jax.tree.map(lambda leaf: leaf[repeats], tree))


def spread_types(layout: Layout, tree: Any) -> Any:
    """Returns the types of what `spread` makes of arrays `[S, ...]` of these types."""
    where = on_devices(layout)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((layout.padded, *leaf.shape[1:]), leaf.dtype, sharding=where), tree
    )


def place(where: Any, tree: Any) -> Any:
    """Puts arrays that every process has where a sharding says, which may be other processes' devices too."""

    def put(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf)))
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, where, lambda index: values[index])

    return jax.tree.map(put, tree)


def fetch(tree: Any) -> Any:
    """Brings arrays of any devices of any processes here: as NumPy arrays, random keys on one device."""

    def get(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(get(jax.random.key_data(leaf))))
        if leaf.is_fully_addressable or leaf.is_fully_replicated:
            return np.asarray(leaf)
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(get, tree)


def init(layout: Layout, algorithm: Algorithm, keys: jax.Array, hyperparameters: Hyperparameters) -> TrainState:
    """Makes the states before the first update; everything with a leading axis of `layout.padded` agents."""
    return over_agents(layout, partial(training.init_state, algorithm))(keys, hyperparameters)


def advance(
    layout: Layout, algorithm: Algorithm, hyperparameters: Hyperparameters, states: TrainState, num_updates: jax.Array
) -> tuple[TrainState, AgentsProgress]:
    """Makes exactly `num_updates` (traced) updates of every agent; see `training.advance`.

    An agent that meets something not finite while the config says halt keeps the parameters it had before; the others
    go on.
    """

    def several_updates(hyperparameters, state):
        return _several_updates(algorithm, hyperparameters, state, num_updates)

    return over_agents(layout, several_updates)(hyperparameters, states)


def over_agents(layout: Layout, function: Any) -> Any:
    """Makes a function of one agent one of `[padded, ...]` agents: vmap in a group, map over groups, shard_map."""

    def one_group(group):
        # The barriers keep the compiler from fusing a group with what is around it, which may round differently.
        group = jax.lax.optimization_barrier(group)
        return jax.lax.optimization_barrier(jax.vmap(function)(*group))

    def one_device(*arguments):
        in_groups = jax.tree.map(lambda leaf: leaf.reshape(-1, layout.width, *leaf.shape[1:]), arguments)
        outputs = jax.lax.map(one_group, in_groups)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), outputs)

    spec = PartitionSpec(AXIS)
    return jax.shard_map(one_device, mesh=layout.mesh, in_specs=spec, out_specs=spec, check_vma=False)


def _several_updates(
    algorithm: Algorithm, hyperparameters: Hyperparameters, state: TrainState, num_updates: jax.Array
) -> tuple[TrainState, AgentsProgress]:
    """Makes several updates of one agent; as many for all, so that the loop stays a loop under vmap."""
    update = partial(training.update, algorithm)
    names, sums = guarded_update.no_sums(hyperparameters, state, update)

    def one_update(_, carry):
        state, sums = carry
        return guarded_update.summed_update(algorithm, hyperparameters, state, sums, update)[:2]

    state, sums = jax.lax.fori_loop(0, num_updates, one_update, (state, sums))
    halts = algorithm.setup.config.on_nonfinite == "halt"
    healthy = jnp.logical_not(halts) | (state.counters.skipped_updates == 0)
    return state, AgentsProgress(healthy, guarded_update.mean_metrics(names, sums), sums.totals)
