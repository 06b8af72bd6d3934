"""The memory that agents need and that there is, estimated before anything is compiled; and keeping it."""

import contextlib
import ctypes
import math
import os
from functools import partial
from typing import Any, NamedTuple

import jax

from purejaxrl_gae.environments.structures import seen_types
from purejaxrl_gae.program import training
from purejaxrl_gae.program.memories import example_inputs
from purejaxrl_gae.program.types import Algorithm, Params, Setup
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import UserError

MALLOC_TRIM_THRESHOLD, MALLOC_MMAP_MAX = -1, -4  # numbers of glibc's malloc.h
COPIES_OF_STATE = 3  # what goes in, what comes out, and what is being changed
COPIES_OF_ROLLOUT = 4  # collected, flattened, packed into rows, and a minibatch's activations


class AgentBytes(NamedTuple):
    """Bytes of one agent.

    Attributes:
      held: as long as it is being trained.
      working: while its rollout is collected and learned from.
    """

    held: int
    working: int


def bytes_per_agent(algorithm: Algorithm) -> AgentBytes:
    """Estimates what an agent needs from shapes alone."""
    setup, hyperparameters = algorithm.setup, algorithm.hyperparameters
    training.require_pure(setup.environment, "training several agents in one program")
    key = jax.eval_shape(jax.random.key, 0)
    state = jax.eval_shape(partial(training.init_state, algorithm), key, hyperparameters)
    experience = jax.eval_shape(partial(training.collect, algorithm), hyperparameters, state)[1]
    activations = _activation_bytes(setup, state.learner.params) * setup.config.steps_per_update
    return AgentBytes(COPIES_OF_STATE * _bytes(state), COPIES_OF_ROLLOUT * _bytes(experience) + activations)


def _activation_bytes(setup: Setup, params: Params) -> int:
    """Returns what differentiating policy and value function by their parameters keeps of each observation."""
    network = setup.network

    def differentiated(params, inputs):
        outputs = lambda params: (network.policy(params, inputs), network.value(params, inputs))  # noqa: E731
        return jax.vjp(outputs, params)[1]

    def kept(batch_size: int) -> int:
        inputs = example_inputs(network, seen_types(setup.environment), batch_size)
        return _bytes(jax.eval_shape(differentiated, params, inputs))

    return kept(2) - kept(1)


def available_bytes() -> int:
    """Returns the memory of the devices together, or of the machine where they are its cores."""
    device = jax.local_devices()[0]
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"]) * jax.device_count()
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def keep_freed_memory() -> None:
    """Has the C library keep what the compiler's programs free, for their next call, where it can be told so.

    Every call allocates its temporaries anew. Given back to the system each time, they come back as pages to be
    zeroed one by one: a tenth of an update of 2048 environments.
    """
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(MALLOC_MMAP_MAX, 0)
        mallopt(MALLOC_TRIM_THRESHOLD, 2**31 - 1)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * max(1, leaf.dtype.itemsize) for leaf in jax.tree.leaves(tree))


def bytes_held(analysis: Any) -> int:
    """Adds up arguments, outputs and temporaries of a compiled program on one device."""
    if analysis is None:
        return 0
    return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes


def refuse_too_large(config: TrainingConfig, needed: int) -> None:
    """Compares the bytes a compiled program will hold with the machine's memory, before any of it is allocated.

    Raises:
      UserError: there is less.
    """
    if jax.default_backend() != "cpu":
        return
    available = available_bytes()
    if needed > available:
        fitting = int(config.num_envs * available / needed)
        needs = f"needs about {needed / 1e9:.1f} GB and this machine has {available / 1e9:.1f} GB"
        if fitting < 1:
            raise UserError(f"hidden_sizes is {config.hidden_sizes}: training {needs}; layers must be narrower")
        raise UserError(
            f"num_envs is {config.num_envs}: with num_steps = {config.num_steps} training {needs}; "
            f"about {fitting} environments fit"
        )
