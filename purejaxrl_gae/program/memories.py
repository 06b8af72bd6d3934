"""Networks with memory and without, step by step and over stretches, behind the same few functions.

Without memory what is remembered is (), and a network's inputs are observations as they are.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments.wrappers import select_copies
from purejaxrl_gae.program.types import Distribution, Inputs, Network, Params, Sequence, Setup


def initial_memory(network: Network, n: int) -> Any:
    """Returns what `n` environments remember when an episode begins; () of a network that does not say."""
    return _own_arrays(network.initial_memory(n)) if hasattr(network, "initial_memory") else ()


def has_memory(network: Network) -> bool:
    """Returns whether the network remembers anything from one step to the next."""
    return bool(jax.tree.leaves(jax.eval_shape(lambda: initial_memory(network, 1))))


def act(
    network: Network, params: Params, observations: Any, memory: Any, starts: jax.Array
) -> tuple[Distribution, Any]:
    """Returns the distribution of the next action of N environments, and what is remembered behind this step.

    Args:
      network: with memory or without.
      params: its parameters.
      observations: `[N, *shape]` as the network sees them.
      memory: what is remembered before them.
      starts: `[N]` bool, an episode begins here.
    """
    inputs = one_step(observations, memory, starts)
    if not isinstance(inputs, Sequence):
        return network.policy(params, inputs), ()
    distribution = jax.tree.map(lambda leaf: leaf[0], network.policy(params, inputs))
    return distribution, _own_arrays(network.remember(params, inputs))


def value(network: Network, params: Params, observations: Any, memory: Any) -> jax.Array:
    """Returns V `[N]` of what N environments show next in the episode that the memory is of; see `act`."""
    inputs = one_step(observations, memory, jnp.zeros(jax.tree.leaves(observations)[0].shape[0], bool))
    values = network.value(params, inputs)
    return values[0] if isinstance(inputs, Sequence) else values


def one_step(observations: Any, memory: Any, starts: jax.Array) -> Inputs:
    """Returns observations `[N, *shape]` as a network's inputs, with memory as a stretch of one step."""
    if not jax.tree.leaves(memory):
        return observations
    return Sequence(jax.tree.map(lambda leaf: leaf[None], observations), starts[None], memory)


def renewed(network: Network, memory: Any, ended: jax.Array) -> Any:
    """Returns the memory with that of a new episode where `ended` `[N]` is set."""
    return select_copies(ended, initial_memory(network, ended.shape[0]), memory)


def values_along(
    network: Network, params: Params, inputs: Inputs, last_observations: Any, last_starts: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns V of T steps and V of what came next in each environment, `[T, N]` both.

    Where an episode ended, what came next is the first observation of another.

    Args:
      network: with memory or without.
      params: its parameters.
      inputs: of `[T, N]` steps.
      last_observations: `[N, *shape]` behind the last.
      last_starts: `[N]` bool, an episode begins there.
    """
    if not isinstance(inputs, Sequence):
        values = network.value(params, inputs)
        return values, jnp.concatenate([values[1:], network.value(params, last_observations)[None]])
    values = network.value(
        params,
        inputs._replace(
            observations=jax.tree.map(
                lambda steps, last: jnp.concatenate([steps, last[None]]), inputs.observations, last_observations
            ),
            starts=jnp.concatenate([inputs.starts, last_starts[None]]),
        ),
    )
    return values[:-1], values[1:]


def starts_after(ended: jax.Array) -> jax.Array:
    """Returns `[T, N]` bool, where an episode begins, of where one ends; none at the first, whose memory is renewed."""
    return jnp.concatenate([jnp.zeros_like(ended[:1]), ended[:-1]])


def example_inputs(network: Network, observation: Any, batch_size: int) -> Inputs:
    """Returns shapes and types of a network's inputs: a batch of observations, with memory a stretch of one step.

    Args:
      network: with memory or without.
      observation: pytree of shapes and types of one.
      batch_size: of the batch.
    """

    def make(memory):
        observations = jax.tree.map(lambda leaf: jnp.zeros((batch_size, *leaf.shape), leaf.dtype), observation)
        return one_step(observations, memory, jnp.zeros(batch_size, bool))

    return jax.eval_shape(lambda: make(initial_memory(network, batch_size)))


def with_whole_trajectories(setup: Setup) -> Setup:
    """Returns the setup with minibatches of whole trajectories where its network has memory.

    Numbers that would cut trajectories become the closest ones that leave at least one in each minibatch, with a note.
    """
    if not has_memory(setup.network):
        return setup
    asked = {name: getattr(setup.config, name) for name in _FITTED if getattr(setup.config, name, 0)}
    fitted = {name: _FITTED[name](value, setup.config) for name, value in asked.items()}
    notes = tuple(
        f"{name} is {fitted[name]} in place of {value}: with memory a minibatch is whole trajectories of "
        f"num_steps = {setup.config.num_steps} steps in some of num_envs = {setup.config.num_envs} environments"
        for name, value in asked.items()
        if fitted[name] != value
    )
    return setup._replace(config=dataclasses.replace(setup.config, **fitted), notes=setup.notes + notes)


def _own_arrays(memory: Any) -> Any:
    """Returns arrays of their own that keep their types: `jnp.full(n, 0.5)` is float32 only until it meets another.

    Each is a copy: programs that the host calls overwrite a memory in place, and one array may stand in it twice.
    """
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.result_type(leaf)), memory)


def _num_minibatches(wanted: int, config: Any) -> int:
    return max(number for number in _divisors(config.num_envs) if number <= wanted)


def _batch_size(wanted: int, config: Any) -> int:
    return min(
        number * config.num_steps for number in _divisors(config.num_envs) if number * config.num_steps >= wanted
    )


def _fisher_subsampling(wanted: int, config: Any) -> int:
    return min(wanted, config.num_envs)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


_FITTED = {
    "num_minibatches": _num_minibatches,
    "batch_size": _batch_size,
    "fisher_subsampling": _fisher_subsampling,
}
