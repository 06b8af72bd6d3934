"""python -m benchmarks.trpo: whole TRPO runs against sb3-contrib's, at its settings, in turns in one process.

Pendulum-v1 with 2 environments x 1024 steps per update, 15 conjugate gradient steps, 15 passes of minibatches of 128
for the value function, two 64 x 64 tanh networks, no normalisation of rewards or observations. sb3-contrib gets
Gymnasium's Pendulum, we gymnax's. Seconds are those of training: the peer's from the first step of `learn` to its
last, ours of the compiled program with its results awaited; our compile time stands beside them. Many agents are
divided among the CPU's cores, each core a device of its own; the peer cannot train several at once, so its speed
counts as it is.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro

from benchmarks.all_cores import on_all_cores
from benchmarks.measure import Timing, print_table, write_json
from purejaxrl_gae import TRPOConfig, make_train

NUM_ENVS, NUM_STEPS = 2, 1024
REST = 0.5  # seconds between turns: threads of the side that has run last still spin for a while


@dataclass(frozen=True)
class Options:
    """Times TRPO; the first side is this library."""

    updates: int = 20
    """updates of a run"""
    repeats: int = 5
    """turns that count"""
    num_agents: int = 16
    """agents vmapped in the second setting"""
    output: Path | None = None
    """JSON file to write"""


def ours(updates: int):
    """`key -> parameters` of a whole run at sb3-contrib's settings."""
    config = TRPOConfig(
        env="Pendulum-v1",
        total_timesteps=NUM_ENVS * NUM_STEPS * updates,
        num_envs=NUM_ENVS,
        num_steps=NUM_STEPS,
        normalize_rewards=False,
        gamma=0.99,
        gae_lambda=0.95,
        target_kl=0.01,
        cg_max_steps=15,
        cg_damping=0.1,
        line_search_shrinking_factor=0.8,
        line_search_max_iter=10,
        learning_rate=1e-3,
        n_critic_updates=15,
        batch_size=128,
    )
    train = make_train(config)
    return lambda key: train(key).state.learner.params


def peer_seconds(updates: int, seed: int) -> float:
    """Seconds of one run of sb3-contrib's TRPO; its default networks are two of 64 x 64 with tanh."""
    import torch
    from sb3_contrib import TRPO
    from stable_baselines3.common.env_util import make_vec_env

    environments = make_vec_env("Pendulum-v1", n_envs=NUM_ENVS, seed=seed)
    model = TRPO(
        "MlpPolicy",
        environments,
        n_steps=NUM_STEPS,
        batch_size=128,
        gamma=0.99,
        gae_lambda=0.95,
        target_kl=0.01,
        cg_max_steps=15,
        cg_damping=0.1,
        line_search_shrinking_factor=0.8,
        line_search_max_iter=10,
        learning_rate=1e-3,
        n_critic_updates=15,
        seed=seed,
        device="cpu",
    )
    assert torch.get_num_threads() >= 1
    steps = NUM_ENVS * NUM_STEPS * updates
    started = time.perf_counter()
    model.learn(steps)
    seconds = time.perf_counter() - started
    assert model.num_timesteps == steps, "the peer counted other steps"
    environments.close()
    return seconds


def compare(updates: int, repeats: int, num_agents: int) -> dict[str, list[Timing]]:
    """One agent and many agents against one agent of the peer."""
    single = ours(updates)
    arguments = {1: lambda turn: jax.random.key(turn), num_agents: lambda turn: split(turn, num_agents)}
    programs, compile_seconds = {}, {}
    for agents, function in {1: single, num_agents: on_all_cores(single)}.items():
        # Each of several devices works with one thread; one device alone may use all.
        options = {"xla_cpu_multi_thread_eigen": agents == 1}
        started = time.perf_counter()
        programs[agents] = jax.jit(function).lower(arguments[agents](0)).compile(options)
        compile_seconds[agents] = time.perf_counter() - started
    seconds: dict[int, list[float]] = {agents: [] for agents in programs}
    peer: list[float] = []
    for turn in range(repeats + 1):
        for agents, program in programs.items():
            inputs = jax.block_until_ready(arguments[agents](turn))
            time.sleep(REST)
            started = time.perf_counter()
            jax.block_until_ready(program(inputs))
            seconds[agents].append(time.perf_counter() - started)
        time.sleep(REST)
        peer.append(peer_seconds(updates, turn))
    env_steps = NUM_ENVS * NUM_STEPS * updates
    results = {}
    for agents, own in seconds.items():
        ratios = [theirs * agents / mine for theirs, mine in zip(peer[1:], own[1:], strict=True)]
        own_median, peer_median = statistics.median(own[1:]), statistics.median(peer[1:])
        results[f"TRPO, {agents} agent{'s' if agents > 1 else ''}"] = [
            Timing(
                "purejaxrl_gae", round(compile_seconds[agents], 2), own_median, agents * env_steps / own_median, 1.0
            ),
            Timing("sb3-contrib, 1 agent", 0.0, peer_median, env_steps / peer_median, statistics.median(ratios)),
        ]
    return results


def split(turn: int, num_agents: int) -> jax.Array:
    """A key for each agent."""
    return jax.random.split(jax.random.key(turn), num_agents)


def main() -> None:
    options = tyro.cli(Options)
    results = compare(options.updates, options.repeats, options.num_agents)
    for setting, timings in results.items():
        print_table(setting, timings)
    if options.output is not None:
        write_json(options.output, results)


if __name__ == "__main__":
    main()
