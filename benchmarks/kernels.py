"""python -m benchmarks.kernels: the kernels against rlax's and against plain NumPy, in turns in one process.

Advantages are those of `[T, N]` rollouts with ends of both kinds; rlax, which knows one kind of end, gets discounts
that are 0 there, and is vmapped over environments. NumPy's is the usual loop over time, vectorised over environments.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.measure import Timing, write_json
from purejaxrl_gae import kernels

SIZES = ((128, 16), (128, 2048), (1000, 16), (1000, 4096), (16384, 1))
GAMMA, GAE_LAMBDA = 0.99, 0.95


@dataclass(frozen=True)
class Options:
    """Times kernels; the first side of each setting is this library."""

    repeats: int = 15
    """turns that count"""
    output: Path | None = None
    """JSON file to write"""


def rollout(num_steps: int, num_envs: int) -> tuple[np.ndarray, ...]:
    """Rewards, values, next values, terminated, truncated."""
    generator = np.random.default_rng(0)
    shape = (num_steps, num_envs)
    rewards, values, next_values = (generator.normal(size=shape).astype(np.float32) for _ in range(3))
    return rewards, values, next_values, generator.random(shape) < 0.005, generator.random(shape) < 0.005


def numpy_gae(rewards, values, next_values, terminated, truncated):
    """The loop that most PyTorch libraries run on the host."""
    deltas = rewards + GAMMA * np.where(terminated, 0.0, next_values) - values
    decay = GAMMA * GAE_LAMBDA * ~(terminated | truncated)
    advantages, running = np.empty_like(rewards), np.zeros_like(rewards[0])
    for step in range(len(rewards) - 1, -1, -1):
        running = deltas[step] + decay[step] * running
        advantages[step] = running
    return advantages, advantages + values


def rlax_gae() -> Callable[..., Any] | None:
    """Rlax's estimate, or None where it is not installed."""
    try:
        import rlax
    except ImportError:
        return None

    def one_environment(rewards, values, next_values, terminated, truncated):
        discounts = GAMMA * (1.0 - (terminated | truncated))
        all_values = jnp.append(values, next_values[-1])
        return rlax.truncated_generalized_advantage_estimation(rewards, discounts, GAE_LAMBDA, all_values)

    return jax.vmap(one_environment, in_axes=1, out_axes=1)


def compare(sides: dict[str, Callable[..., Any]], arguments: tuple[Any, ...], items: int, repeats: int) -> list[Timing]:
    """Median seconds of each side, in turns; sides called "numpy" run as they are, others compiled."""
    programs, compile_seconds = {}, {}
    for name, function in sides.items():
        started = time.perf_counter()
        programs[name] = function if name == "numpy" else jax.jit(function).lower(*arguments).compile()
        compile_seconds[name] = round(time.perf_counter() - started, 2)
    on_device = jax.block_until_ready(jax.tree.map(jnp.asarray, arguments))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, program in programs.items():
            inputs = arguments if name == "numpy" else on_device
            program(*inputs)  # its own data into the caches, not the other side's
            started = time.perf_counter()
            for _ in range(3):
                jax.block_until_ready(program(*inputs))
            seconds[name].append((time.perf_counter() - started) / 3)
    medians = {name: float(np.median(times[1:])) for name, times in seconds.items()}
    first = seconds[next(iter(sides))]
    return [
        Timing(
            name,
            compile_seconds[name],
            medians[name],
            items / medians[name],
            float(np.median(np.array(seconds[name][1:]) / np.array(first[1:]))),
        )
        for name in sides
    ]


def settings(repeats: int):
    """`(name, timings)` of each setting."""
    peer = rlax_gae()
    for num_steps, num_envs in SIZES:
        batch = rollout(num_steps, num_envs)
        sides = {"purejaxrl_gae": partial(kernels.gae, gamma=GAMMA, gae_lambda=GAE_LAMBDA)}
        if peer is not None:
            sides["rlax"] = peer
        sides["numpy"] = numpy_gae
        yield f"gae {num_steps} x {num_envs}", compare(sides, batch, num_steps * num_envs, repeats)
    for size in (2048, 65536):
        keys = (jax.random.key(0),)
        sides = {
            "purejaxrl_gae": partial(kernels.permutation, n=size),
            "jax.random.permutation": partial(jax.random.permutation, x=size),
        }
        yield f"shuffle {size}", compare(sides, keys, size, repeats)
    for size in (2048, 16384):
        yield f"10 CG steps, {size} states", compare(fisher_sides(), fisher_arguments(size), 10 * size, repeats)


def network(params, observations):
    """Two layers of 64 tanh units, one Gaussian action."""
    hidden = observations
    for weights in params[:-1]:
        hidden = jnp.tanh(hidden @ weights)
    mean = hidden @ params[-1]
    return kernels.DiagonalGaussian(mean, jnp.zeros_like(mean))


def fisher_arguments(size: int):
    """Parameters, observations and a right side."""
    generator = np.random.default_rng(0)
    params = [generator.normal(size=shape).astype(np.float32) / 8.0 for shape in ((8, 64), (64, 64), (64, 1))]
    observations = generator.normal(size=(size, 8)).astype(np.float32)
    return params, observations, [generator.normal(size=each.shape).astype(np.float32) for each in params]


def fisher_sides() -> dict[str, Callable[..., Any]]:
    """Ten conjugate gradient steps with products linearised once, and with the Hessian of the KL."""

    def linearised(params, observations, b):
        product = kernels.make_fisher_vector_product(network, params, observations, damping=0.1)
        return kernels.conjugate_gradient(product, b, max_iters=10, tol=0.0).x

    def hessian_of_kl(params, observations, b):
        old = network(params, observations)

        def kl(params):
            return jnp.mean(old.kl_divergence(network(params, observations)))

        def product(vector):
            curved = jax.jvp(jax.grad(kl), (params,), (vector,))[1]
            return jax.tree.map(lambda hv, v: hv + 0.1 * v, curved, vector)

        return kernels.conjugate_gradient(product, b, max_iters=10, tol=0.0).x

    return {"purejaxrl_gae": linearised, "jvp of grad of KL": hessian_of_kl}


def main() -> None:
    options = tyro.cli(Options)
    results = {}
    for name, timings in settings(options.repeats):
        results[name] = timings
        for timing in timings:
            print(
                f"{name:<26} {timing.name:<24} {timing.seconds * 1e6:>10,.0f} µs   first is {timing.ratio:.2f}x",
                flush=True,
            )
    if options.output is not None:
        write_json(options.output, results)


if __name__ == "__main__":
    main()
