"""python -m benchmarks.kernels: the kernels against rlax's, torchrl's and plain NumPy and SciPy, in turns.

Advantages are those of `[T, N]` rollouts with ends of both kinds; rlax, which knows one kind of end, gets discounts
that are 0 there, and is vmapped over environments. JAX's sides are repeated inside one program, as a kernel stands in a
training program, so no dispatch counts; the others are repeated from Python, so theirs does. NumPy's estimate is the
usual loop over time, vectorised over environments; SciPy's is `lfilter` over each episode. torchrl and PyTorch run in a
process of their own: `--peer torch=venv/bin/python`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.arguments import pythons_of_peers
from benchmarks.measure import (
    Side,
    Timing,
    bar,
    interleave,
    kernel_side,
    peer_side,
    python_side,
    write_json,
)
from benchmarks.worker import Prepared, Unavailable
from purejaxrl_gae import kernels

SIZES = ((128, 16), (128, 256), (128, 2048), (1000, 4096), (16384, 1))
GAMMA, GAE_LAMBDA, DAMPING, CG_STEPS = 0.99, 0.95, 0.1, 10
REST = 0.02
GAE_METHODS = ("scan", "blocks", "associative")


@dataclass(frozen=True)
class Options:
    """Times kernels; the first side of each setting is this library."""

    kernels: tuple[str, ...] = ("gae", "returns", "lambda-returns", "shuffle", "fisher")
    """which"""
    sizes: tuple[str, ...] = tuple(f"{steps}x{envs}" for steps, envs in SIZES)
    """of gae and returns, steps x environments"""
    repeats: int = 15
    """turns that count"""
    peer: tuple[str, ...] = ()
    """torch=PATH of a Python that has torchrl; by default this one"""
    json: Path | None = None
    """file to write"""


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


def scipy_gae(rewards, values, next_values, terminated, truncated):
    """A recursive filter over every episode, backwards."""
    from scipy.signal import lfilter

    deltas = rewards + GAMMA * np.where(terminated, 0.0, next_values) - values
    ended = terminated | truncated
    advantages = np.empty_like(rewards)
    for column in range(rewards.shape[1]):
        start = 0
        for stop in [*(np.flatnonzero(ended[:, column]) + 1), len(rewards)]:
            episode = deltas[start:stop, column][::-1]
            advantages[start:stop, column] = lfilter([1.0], [1.0, -GAMMA * GAE_LAMBDA], episode)[::-1]
            start = stop
    return advantages, advantages + values


def numpy_returns(rewards, next_values, terminated, truncated):
    """The loop over time, bootstrapped at time limits and at the cut."""
    returns, running = np.empty_like(rewards), next_values[-1]
    for step in range(len(rewards) - 1, -1, -1):
        beyond = np.where(terminated[step], 0.0, np.where(truncated[step], next_values[step], running))
        running = rewards[step] + GAMMA * beyond
        returns[step] = running
    return returns


def rlax_function(name: str) -> Callable[..., Any]:
    """One of rlax's estimates for `[T, N]` arrays.

    Raises:
      Unavailable: rlax is not installed.
    """
    try:
        import rlax
    except ImportError:
        raise Unavailable("rlax is not installed") from None

    def of_gae(rewards, values, next_values, terminated, truncated):
        discounts = GAMMA * (1.0 - (terminated | truncated))
        all_values = jnp.append(values, next_values[-1])
        return rlax.truncated_generalized_advantage_estimation(rewards, discounts, GAE_LAMBDA, all_values)

    def of_returns(rewards, next_values, terminated, truncated):
        return rlax.discounted_returns(rewards, GAMMA * (1.0 - (terminated | truncated)), next_values[-1])

    def of_lambda_returns(rewards, values, next_values, terminated, truncated):
        return rlax.lambda_returns(rewards, GAMMA * (1.0 - (terminated | truncated)), next_values, GAE_LAMBDA)

    function = {"gae": of_gae, "returns": of_returns, "lambda-returns": of_lambda_returns}[name]
    return jax.vmap(function, in_axes=1, out_axes=1)


def rlax_side(name: str, batch: tuple, items: int) -> Side:
    """The same as a side, found out when it gets ready."""

    def prepare() -> Prepared:
        return kernel_side(rlax_function(name), batch, items)()

    return prepare


def gae_sides(num_steps: int, num_envs: int, pythons: dict[str, str]) -> dict[str, Side]:
    """Ours as it chooses, each of its methods, and everyone else's."""
    batch, items = rollout(num_steps, num_envs), num_steps * num_envs
    own = partial(kernels.gae, gamma=GAMMA, gae_lambda=GAE_LAMBDA)
    spec = {"num_steps": num_steps, "num_envs": num_envs, "gamma": GAMMA, "gae_lambda": GAE_LAMBDA}
    sides = {"purejaxrl_gae": kernel_side(own, batch, items)}
    sides |= {f"ours, {method}": kernel_side(partial(own, method=method), batch, items) for method in GAE_METHODS}
    return sides | {
        "rlax": rlax_side("gae", batch, items),
        "torchrl": peer_side("benchmarks.peers:torchrl_gae", spec, pythons, "torch"),
        "numpy": python_side(lambda: numpy_gae(*batch), items),
        "scipy": python_side(lambda: scipy_gae(*batch), items),
    }


def returns_sides(num_steps: int, num_envs: int) -> dict[str, Side]:
    """Discounted returns."""
    rewards, _, *rest = rollout(num_steps, num_envs)
    batch, items = (rewards, *rest), num_steps * num_envs
    return {
        "purejaxrl_gae": kernel_side(partial(kernels.discounted_returns, gamma=GAMMA), batch, items),
        "rlax": rlax_side("returns", batch, items),
        "numpy": python_side(lambda: numpy_returns(*batch), items),
    }


def lambda_returns_sides(num_steps: int, num_envs: int) -> dict[str, Side]:
    """Lambda-returns, which are the targets of our GAE."""
    batch, items = rollout(num_steps, num_envs), num_steps * num_envs

    def own(*transitions):
        return kernels.gae(*transitions, gamma=GAMMA, gae_lambda=GAE_LAMBDA)[1]

    return {
        "purejaxrl_gae": kernel_side(own, batch, items),
        "rlax": rlax_side("lambda-returns", batch, items),
    }


def shuffle_sides(size: int) -> dict[str, Side]:
    """Permutations of so many indices."""
    keys = (jax.random.key(0),)
    return {
        "purejaxrl_gae": kernel_side(partial(kernels.permutation, n=size), keys, size),
        "jax.random.permutation": kernel_side(partial(jax.random.permutation, x=size), keys, size),
        "numpy": python_side(lambda: np.random.default_rng(0).permutation(size), size),
    }


def network(params, observations):
    """Two layers of 64 tanh units, one Gaussian action."""
    hidden = observations
    for weights in params[:-1]:
        hidden = jnp.tanh(hidden @ weights)
    mean = hidden @ params[-1]
    return kernels.DiagonalGaussian(mean, jnp.zeros_like(mean))


def fisher_sides(size: int, pythons: dict[str, str]) -> dict[str, Side]:
    """Conjugate gradient steps with products linearised once, with the Hessian of the KL, and in PyTorch."""
    generator = np.random.default_rng(0)
    params = [generator.normal(size=shape).astype(np.float32) / 8.0 for shape in ((8, 64), (64, 64), (64, 1))]
    observations = generator.normal(size=(size, 8)).astype(np.float32)
    arguments = params, observations, [generator.normal(size=each.shape).astype(np.float32) for each in params]

    def linearised(params, observations, b):
        product = kernels.make_fisher_vector_product(network, params, observations, damping=DAMPING)
        return kernels.conjugate_gradient(product, b, max_iters=CG_STEPS, tol=0.0).x

    def hessian_of_kl(params, observations, b):
        old = network(params, observations)

        def kl(params):
            return jnp.mean(old.kl_divergence(network(params, observations)))

        def product(vector):
            curved = jax.jvp(jax.grad(kl), (params,), (vector,))[1]
            return jax.tree.map(lambda hv, v: hv + DAMPING * v, curved, vector)

        return kernels.conjugate_gradient(product, b, max_iters=CG_STEPS, tol=0.0).x

    spec = {"size": size, "cg_steps": CG_STEPS, "damping": DAMPING}
    return {
        "purejaxrl_gae": kernel_side(linearised, arguments, CG_STEPS * size),
        "jvp of grad of KL": kernel_side(hessian_of_kl, arguments, CG_STEPS * size),
        "torch": peer_side("benchmarks.peers:torch_conjugate_gradient", spec, pythons, "torch"),
    }


def settings(options: Options):
    """`(name, sides)` of each setting."""
    pythons = pythons_of_peers(options.peer)
    sizes = [tuple(int(number) for number in size.split("x")) for size in options.sizes]
    of_size = {
        "gae": partial(gae_sides, pythons=pythons),
        "returns": returns_sides,
        "lambda-returns": lambda_returns_sides,
    }
    for kernel in options.kernels:
        if kernel in of_size:
            for size in sizes:
                yield f"{kernel} {size[0]}x{size[1]}", of_size[kernel](*size)
        elif kernel == "shuffle":
            for size in (2048, 65536, 1_000_000):
                yield f"shuffle {size}", shuffle_sides(size)
        elif kernel == "fisher":
            for size in (2048, 16384):
                yield f"{CG_STEPS} CG steps, {size} states", fisher_sides(size, pythons)
        else:
            raise SystemExit(f"kernels has {kernel!r}; it must be some of {', '.join(Options.kernels)}")


def bars(setting: str, results: list[Timing]) -> list[dict[str, Any]]:
    """GAE on a CPU: at least 2.5 times rlax, 1.2 times a NumPy loop and 5 times torchrl."""
    if not setting.startswith("gae ") or jax.default_backend() != "cpu":
        return []
    limits = {"rlax": 2.5, "numpy": 1.2, "torchrl": 5.0}
    return [
        bar(f"{setting} over {timing.name}", timing.ratio, limits[timing.name], at_least=True)
        for timing in results
        if timing.name in limits
    ]


def main() -> None:
    options = tyro.cli(Options)
    results = {}
    for name, sides in settings(options):
        timings = interleave(sides, options.repeats, rest=REST)
        for timing in timings:
            print(
                f"{name:<26} {timing.name:<24} {timing.seconds * 1e6:>12,.1f} µs   first is {timing.ratio:>8.2f}x",
                flush=True,
            )
        results[name] = {"timings": timings, "bars": bars(name, timings)}
    write_json(options.json, results)


if __name__ == "__main__":
    main()
