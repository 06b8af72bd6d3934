"""python -m benchmarks.budget: where each millisecond of an update goes, and how far from the floor it is.

Pieces of the real code, at the row's real shapes, are compiled and timed alone, in turns with the whole update. What
the compiler fuses or overlaps in the whole is separate here, so the sum need not be the whole; both are shown. The
floor (`benchmarks.floor`) is the matrix products an environment step needs, at the speed of this machine's largest.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from jax.flatten_util import ravel_pytree

from benchmarks import floor, pieces
from benchmarks import trpo as trpo_benchmark
from benchmarks.measure import Side, Timing, bar, interleave, kernel_side, write_json
from benchmarks.worker import Prepared
from purejaxrl_gae import PPOConfig, kernels, ppo, trpo
from purejaxrl_gae.program import minibatches, training
from purejaxrl_gae.program.optimizers import make_optimizer
from purejaxrl_gae.program.types import Algorithm
from purejaxrl_gae.runs.run_options import RunOptions

ROWS = ("16x128", "2048x32", "trpo")
WANTED = 0.5  # of the peak on all cores, for 2048x32


@dataclass(frozen=True)
class Options:
    """Times the pieces of an update on Pendulum-v1."""

    rows: tuple[str, ...] = ROWS
    """PPO with environments x steps, or trpo at sb3-contrib's settings"""
    repeats: int = 7
    """turns that count"""
    gemm: int = floor.GEMM
    """rows and columns of the matrices that the peak is measured with"""
    markdown: Path | None = None
    """table to write"""
    json: Path | None = None
    """file to write"""


def algorithm_of(row: str) -> Algorithm:
    """The row's config at its real shapes.

    Raises:
      SystemExit: there is no such row.
    """
    if row == "trpo":
        return trpo.make_algorithm(trpo_benchmark.config(1000))
    if row not in ROWS:
        raise SystemExit(f"rows has {row!r}; it must be some of {', '.join(ROWS)}")
    num_envs, num_steps = (int(number) for number in row.split("x"))
    config = PPOConfig(
        env="Pendulum-v1",
        total_timesteps=1000 * num_envs * num_steps,
        num_envs=num_envs,
        num_steps=num_steps,
        num_minibatches=4,
        update_epochs=4,
        normalize_observations=False,
        normalize_rewards=False,
    )
    return ppo.make_algorithm(config)


def ppo_pieces(algorithm: Algorithm) -> pieces.Pieces:
    """Name -> function and arguments: GAE, packing, shuffling, gathering, forward, forward and backward, optimizer."""
    setup, hyperparameters = algorithm.setup, algorithm.hyperparameters
    config, (learner, trajectory) = setup.config, pieces.sample_rollout(algorithm)
    gae = partial(kernels.gae, gamma=hyperparameters.gamma, gae_lambda=hyperparameters.gae_lambda)
    advantages, targets = jax.jit(gae)(**trajectory.transitions)
    fields = (trajectory.observations, trajectory.actions, trajectory.log_probs, trajectory.values, advantages, targets)
    samples = minibatches.flatten_time(ppo.Samples(*fields, distribution=None))
    rows, unpack = minibatches.pack(samples)
    minibatch_size = rows.shape[0] // config.num_minibatches
    keys = jax.random.split(jax.random.key(1), config.update_epochs)
    flat, unravel = ravel_pytree(learner.params)
    loss = partial(ppo.loss, setup, hyperparameters)
    optimizer = make_optimizer(config, hyperparameters, learner.params, max_grad_norm=hyperparameters.max_grad_norm)

    def shuffle(keys):
        indices = jax.lax.map(lambda key: minibatches.shuffled_indices(key, rows.shape[0], minibatch_size), keys)
        return indices.reshape(-1, minibatch_size)

    def minibatch_of(some_rows):
        minibatch = unpack(some_rows)
        return minibatch._replace(advantages=kernels.normalize_advantages(minibatch.advantages))

    def forward(flat, gathered):
        return jax.lax.map(lambda some_rows: loss(unravel(flat), minibatch_of(some_rows)), gathered)

    def forward_and_backward(flat, gathered):
        def add(total, some_rows):
            gradient, _ = minibatches.mean_gradient(loss, unravel(flat), minibatch_of(some_rows), config.gradient_chunk)
            return total + ravel_pytree(gradient)[0], None

        return jax.lax.scan(add, jnp.zeros_like(flat), gathered)[0]

    def optimize(flat, gradient, optimizer_state):
        def step(_, carry):
            flat, optimizer_state = carry
            changes, optimizer_state = optimizer.update(gradient, optimizer_state)
            return flat + changes, optimizer_state

        return jax.lax.fori_loop(0, config.update_epochs * config.num_minibatches, step, (flat, optimizer_state))

    indices = jax.jit(shuffle)(keys)
    gathered = jax.jit(lambda rows, indices: rows[indices])(rows, indices)
    return {
        "GAE": (gae, tuple(trajectory.transitions.values())),
        "pack": (lambda samples: minibatches.pack(samples)[0], (samples,)),
        "shuffle": (shuffle, (keys,)),
        "gather": (lambda rows, indices: jax.lax.map(lambda some: rows[some], indices), (rows, indices)),
        "forward": (forward, (flat, gathered)),
        "forward and backward": (forward_and_backward, (flat, gathered)),
        "optimizer": (optimize, (flat, flat, learner.optimizer_state)),
    }


def whole_and_dispatch(algorithm: Algorithm) -> dict[str, Side]:
    """The whole update in a program of several, and what a call of that program costs besides."""
    hyperparameters = algorithm.hyperparameters
    state = jax.jit(partial(training.init_state, algorithm))(jax.random.key(0), hyperparameters)
    advance = jax.jit(partial(training.advance, algorithm), donate_argnums=1)
    program = advance.lower(hyperparameters, state, jnp.int32(1)).compile()
    held = {"state": state}

    def seconds(updates: int, calls: int) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            held["state"], _ = program(hyperparameters, held["state"], jnp.int32(updates))
            jax.block_until_ready(held["state"])
        return (time.perf_counter() - started) / calls

    seconds(3, 1)
    updates = max(1, round(0.3 / seconds(1, 3)))
    return {
        "whole update": lambda: Prepared(0.0, lambda _: seconds(updates, 1) / updates, 1),
        "one call": lambda: Prepared(0.0, lambda _: seconds(0, 100), 1),
    }


def budget(row: str, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of every part of an update that add up, and of the whole; all medians."""
    algorithm = algorithm_of(row)
    alone = pieces.rollout_pieces(algorithm)
    alone |= pieces.trpo_pieces(algorithm) if row == "trpo" else ppo_pieces(algorithm)
    sides = {name: kernel_side(function, arguments, 1) for name, (function, arguments) in alone.items()}
    results: list[Timing] = interleave(whole_and_dispatch(algorithm) | sides, repeats, rest=0.02)
    seconds = {timing.name: timing.seconds for timing in results}
    config = algorithm.setup.config
    calls = 1.0 / RunOptions().report_every(config.steps_per_update, config.num_updates)
    parts = pieces.additive(seconds) if row == "trpo" else additive(seconds)
    return parts | {"dispatch": seconds["one call"] * calls}, seconds


def additive(seconds: dict[str, float]) -> dict[str, float]:
    """Parts of PPO's update that do not contain one another, from pieces that do."""
    inside = ("environment", "policy", "values")
    parts = {name: seconds[name] for name in inside}
    parts["rollout, rest"] = seconds["rollout"] - sum(parts.values())
    parts |= {name: seconds[name] for name in ("GAE", "pack", "shuffle", "gather", "forward")}
    parts["backward"] = seconds["forward and backward"] - seconds["forward"]
    return parts | {"optimizer": seconds["optimizer"]}


def table(row: str, parts: dict[str, float], whole: float) -> str:
    """Markdown."""
    lines = [f"| {row} | ms | of the update |", "|---|---|---|"]
    lines += [f"| {name} | {value * 1e3:.3f} | {value / whole:.1%} |" for name, value in parts.items()]
    total = sum(parts.values())
    lines.append(f"| sum of the parts | {total * 1e3:.3f} | {total / whole:.1%} |")
    return "\n".join([*lines, f"| whole update | {whole * 1e3:.3f} | 100.0% |"])


def floor_of(row: str, whole: float, peaks: dict[str, float]) -> dict[str, Any]:
    """Operations for each environment step and the share of the peak that the whole update reaches."""
    setup = algorithm_of(row).setup
    operations = floor.trpo(setup) if row == "trpo" else floor.ppo(setup)
    per_step = sum(operations.values())
    reached = per_step * setup.config.steps_per_update / whole
    print(f"{row}: {per_step:,.0f} operations for each environment step, {reached / 1e9:.1f} GFLOP/s", end="")
    print("".join(f", {reached / peak:.1%} of {name} ({peak / 1e9:.0f})" for name, peak in peaks.items()), flush=True)
    return {
        "operations": operations,
        "operations_per_env_step": per_step,
        "reached_per_second": reached,
        "fractions": {name: reached / peak for name, peak in peaks.items()},
        "counted": pieces.compare_counts(algorithm_of(row)),
    }


def main() -> None:
    options = tyro.cli(Options)
    for row in options.rows:
        algorithm_of(row)  # a wrong name ends it here
    peaks = floor.matmul_peak(options.repeats, options.gemm)
    results: dict[str, Any] = {"peaks": peaks}
    tables = []
    for row in options.rows:
        parts, seconds = budget(row, options.repeats)
        tables.append(table(row, parts, seconds["whole update"]))
        print(f"\n{tables[-1]}\n", flush=True)
        reached = floor_of(row, seconds["whole update"], peaks)
        bars = []
        if row == "2048x32" and jax.default_backend() == "cpu":
            bars.append(bar("2048x32, share of the peak", reached["fractions"]["all cores"], WANTED, at_least=True))
        results[row] = {"parts": parts, "pieces": seconds, "floor": reached, "bars": bars}
    if options.markdown is not None:
        options.markdown.write_text("\n\n".join(tables) + "\n")
    write_json(options.json, results)


if __name__ == "__main__":
    main()
