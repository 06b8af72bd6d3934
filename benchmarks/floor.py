"""The least that an environment step costs: its matrix products, counted from the layers, and the machine's peak.

A layer of `inputs x outputs` weights costs 2 * inputs * outputs operations for each sample and each of: its forward
pass, the gradient of its weights, the gradient of its inputs (which the first layer does not need). Activations,
losses, environments and everything else that is no matrix product count as nothing, so the fraction of the peak that a
run reaches is an understatement of how busy the machine is.
"""

import itertools
import math
import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import Side, interleave, kernel_side
from benchmarks.worker import Prepared, start
from purejaxrl_gae.environments import BoxActions
from purejaxrl_gae.program.policy_curvature import uses_dense_product
from purejaxrl_gae.program.types import Setup

GEMM = 2048  # rows and columns of the matrices that the peak is measured with


def weights(sizes: tuple[int, ...]) -> int:
    """Counts the weights of dense layers, without biases."""
    return sum(inputs * outputs for inputs, outputs in itertools.pairwise(sizes))


def forward(sizes: tuple[int, ...]) -> int:
    """Operations of one sample's forward pass."""
    return 2 * weights(sizes)


def backward(sizes: tuple[int, ...]) -> int:
    """Operations of one sample's backward pass to the weights."""
    return 2 * weights(sizes) + 2 * weights(sizes[1:])


def linearized_product(sizes: tuple[int, ...]) -> int:
    """J^T M J v for one sample by one tangent and one cotangent sweep, the network linearised before."""
    tangent = 2 * weights(sizes) + 2 * weights(sizes[1:])
    return tangent + backward(sizes)


def dense_product(sizes: tuple[int, ...]) -> int:
    """The same where each layer's inputs and output derivatives are kept: one product per layer each way."""
    return 4 * weights(sizes)


def network_sizes(setup: Setup) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths of the separate policy and value networks from observation to output."""
    observation = max(1, math.prod(setup.environment.observation_shape))
    actions = setup.environment.actions
    outputs = actions.size if isinstance(actions, BoxActions) else actions.n
    hidden = tuple(setup.config.hidden_sizes)
    return (observation, *hidden, outputs), (observation, *hidden, 1)


def ppo(setup: Setup) -> dict[str, float]:
    """Operations of PPO for each environment step."""
    policy, value = network_sizes(setup)
    config = setup.config
    return {
        "rollout": forward(policy),
        "values": forward(value) * (config.num_steps + 1) / config.num_steps,
        "forward": config.update_epochs * (forward(policy) + forward(value)),
        "backward": config.update_epochs * (backward(policy) + backward(value)),
    }


def trpo(setup: Setup) -> dict[str, float]:
    """Operations of TRPO for each environment step, with one try of the line search."""
    policy, value = network_sizes(setup)
    config = setup.config
    dense = uses_dense_product(setup.network)
    products = config.cg_max_steps + 1  # one more measures the step's length
    linearization = forward(policy) + (backward(policy) if dense else 0)
    product = (dense_product if dense else linearized_product)(policy)
    return {
        "rollout": forward(policy),
        "values": forward(value) * (config.num_steps + 1) / config.num_steps,
        "gradient": forward(policy) + backward(policy),
        "Fisher products": (linearization + products * product) / config.fisher_subsampling,
        "line search": forward(policy),
        "value function": config.n_critic_updates * (forward(value) + backward(value)),
    }


def compiled_operations(function: Any, *arguments: Any) -> float | None:
    """Returns what XLA counts for a program without loops, or None where it does not say."""
    analysis = jax.jit(function).lower(*arguments).compile().cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return None if not analysis or "flops" not in analysis else float(analysis["flops"])


def matmul_peak(repeats: int, size: int = GEMM) -> dict[str, float]:
    """Operations per second of a large float32 product, on all cores and on one; of a GPU in full float32."""
    sides = {"all cores" if jax.default_backend() == "cpu" else "the device": matmul_side(size)}
    if jax.default_backend() == "cpu" and hasattr(os, "sched_setaffinity"):
        sides["one core"] = lambda: start("benchmarks.floor:on_one_core", {"size": size})
    return {timing.name: timing.per_second for timing in interleave(sides, repeats)}


def matmul_side(size: int) -> Side:
    """A product of square matrices."""
    square = jnp.ones((size, size), jnp.float32)
    return kernel_side(partial(jnp.matmul, precision="highest"), (square, square), 2.0 * size**3)


def on_one_core(size: int) -> Prepared:
    """The same in a process that may use one core only; XLA's options do not keep a product to one thread."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before JAX counts the cores
    return matmul_side(size)()
