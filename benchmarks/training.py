"""python -m benchmarks.training: whole training runs against other libraries', in turns.

Every peer gets the same network, hyperparameters and counted steps of one update, and no evaluation; the slow ones make
fewer updates, and speeds are compared for one environment step. Compile time stands apart; a peer's start-up does not
count.

    reference      `benchmarks.reference_ppo`, the common way to write PPO as one JAX program, in this process; in rows
                   of memory `benchmarks.reference_ppo_rnn`
    rejax          its PPO, in a process of its own
    sb3, sbx       Stable-Baselines3's PPO and A2C in PyTorch, SBX's PPO in JAX, on Gymnasium's environments;
                   they train one agent, so in rows of many seeds their speed counts as it is
    sb3-contrib    its TRPO; see `benchmarks.trpo`

A peer whose packages clash with this environment's runs with another Python: `--peer sb3=venv/bin/python`. One that is
not installed is left out, which is said. Seeds are divided among devices, on a CPU its cores, as `--num-seeds` does
it; the reference and rejax are vmapped, and, as a second side, divided among the cores too.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import tyro

from benchmarks import all_cores, memory, ours, reference_ppo, trpo
from benchmarks.arguments import pythons_of_peers, refuse_unknown_rows
from benchmarks.measure import (
    Side,
    Timing,
    bar,
    interleave,
    jax_side,
    peer_side,
    print_table,
    write_json,
)
from purejaxrl_gae import A2CConfig, PPOConfig

PPO_PASSED_ON = ("learning_rate", "gamma", "gae_lambda", "num_minibatches", "update_epochs", "clip_coef")
PPO_PASSED_ON += ("ent_coef", "vf_coef", "max_grad_norm")
A2C_PASSED_ON = ("learning_rate", "gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm")

SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {
        "num_minibatches": 4,
        "update_epochs": 4,
        "normalize_observations": False,
        "learning_rate": 3e-4,
        "anneal_lr": False,
        "ent_coef": 0.01,
        "normalize_rewards": False,
    },
    "a2c": {"learning_rate": 7e-4, "gae_lambda": 1.0, "normalize_rewards": False},
    "trpo": trpo.SETTINGS,
}


@dataclass(frozen=True)
class Row:
    """One row of the benchmark.

    Attributes:
      title: as printed.
      algorithm: which peers there are; `memory` is PPO with a gated recurrent unit, `memory-shared` with one trunk.
      env: environment.
      num_envs: N.
      num_steps: T.
      updates: of a run.
      peer_updates: of a run of the PyTorch libraries and SBX.
      num_seeds: agents trained side by side.
    """

    title: str
    algorithm: str
    env: str
    num_envs: int
    num_steps: int
    updates: int
    peer_updates: int
    num_seeds: int = 1


ROWS = {
    "cartpole": Row("PPO CartPole 4x128", "ppo", "CartPole-v1", 4, 128, 160, 8),
    "pendulum": Row("PPO Pendulum 16x128", "ppo", "Pendulum-v1", 16, 128, 80, 4),
    "wide": Row("PPO Pendulum 2048x32", "ppo", "Pendulum-v1", 2048, 32, 8, 1),
    "seeds-16": Row("PPO Pendulum 16x128, 16 seeds", "ppo", "Pendulum-v1", 16, 128, 16, 4, 16),
    "seeds-64": Row("PPO Pendulum 16x128, 64 seeds", "ppo", "Pendulum-v1", 16, 128, 8, 4, 64),
    "a2c": Row("A2C CartPole 8x5", "a2c", "CartPole-v1", 8, 5, 2000, 100),
    "a2c-pendulum": Row("A2C Pendulum 16x16", "a2c", "Pendulum-v1", 16, 16, 600, 16),
    "trpo": Row("TRPO Pendulum 2x1024", "trpo", "Pendulum-v1", 2, 1024, 20, 4),
    "trpo-16": Row("TRPO Pendulum 2x1024, 16 seeds", "trpo", "Pendulum-v1", 2, 1024, 20, 4, 16),
    "memory": Row("PPO, GRU, CartPole 64x128", "memory", "CartPole-v1", 64, 128, 8, 0),
    "memory-shared": Row("the same, one trunk", "memory-shared", "CartPole-v1", 64, 128, 8, 0),
    "memory-pendulum": Row("PPO, GRU, Pendulum 16x128", "memory", "Pendulum-v1", 16, 128, 24, 0),
    "memory-chain": Row("PPO, GRU, MemoryChain 64x32", "memory", "MemoryChain-bsuite", 64, 32, 24, 0),
}


@dataclass(frozen=True)
class Options:
    """Times training; the first side is this library."""

    rows: tuple[str, ...] = tuple(ROWS)
    """which rows"""
    repeats: int = 5
    """turns that count"""
    peer: tuple[str, ...] = ()
    """NAME=PATH of the Python that has a peer (rejax, sb3, sbx, sb3-contrib); by default this one"""
    skip: tuple[str, ...] = ()
    """peers to leave out"""
    quick: bool = False
    """runs of one update, to see that everything works; the figures mean nothing"""
    json: Path | None = None
    """file to write"""


def ppo_config(row: Row) -> PPOConfig:
    """The hyperparameters of every PPO here."""
    return PPOConfig(
        env=row.env,
        total_timesteps=row.num_envs * row.num_steps * row.updates,
        num_envs=row.num_envs,
        num_steps=row.num_steps,
        **SETTINGS["ppo"],
    )


def a2c_config(row: Row) -> A2CConfig:
    """Stable-Baselines3's defaults."""
    return A2CConfig(
        env=row.env,
        total_timesteps=row.num_envs * row.num_steps * row.updates,
        num_envs=row.num_envs,
        num_steps=row.num_steps,
        **SETTINGS["a2c"],
    )


def reference_config(config: PPOConfig) -> dict[str, Any]:
    """Our config as the reference's dictionary."""
    return {
        "ENV_NAME": config.env,
        "TOTAL_TIMESTEPS": config.env_steps,
        "NUM_ENVS": config.num_envs,
        "NUM_STEPS": config.num_steps,
        "LR": config.learning_rate,
        "ANNEAL_LR": config.anneal_lr,
        "UPDATE_EPOCHS": config.update_epochs,
        "NUM_MINIBATCHES": config.num_minibatches,
        "GAMMA": config.gamma,
        "GAE_LAMBDA": config.gae_lambda,
        "CLIP_EPS": config.clip_coef,
        "ENT_COEF": config.ent_coef,
        "VF_COEF": config.vf_coef,
        "MAX_GRAD_NORM": config.max_grad_norm,
    }


def reference_sides(config: PPOConfig, num_seeds: int) -> dict[str, Side]:
    """One agent; or many, vmapped and divided among the cores."""
    train = reference_ppo.make_train(reference_config(config))

    def results(key):
        output = train(key)
        return output["runner_state"][0].params, output["metrics"]

    items = num_seeds * config.env_steps
    if num_seeds == 1:
        return {"reference": jax_side(results, lambda turn: (jax.random.key(turn),), items)}

    def keys(turn):
        return (jax.random.split(jax.random.key(turn), num_seeds),)

    sides = {"reference, vmapped": jax_side(jax.vmap(results), keys, items)}
    if num_seeds % jax.device_count() == 0 and jax.device_count() > 1:
        divided = jax_side(all_cores.on_all_cores(results), keys, items, multi_thread=False)
        sides["reference, on all cores"] = divided
    return sides


def ppo_sides(row: Row, pythons: dict[str, str]) -> dict[str, Side]:
    """Ours, the reference, rejax, Stable-Baselines3, SBX."""
    config = ppo_config(row)
    if row.num_seeds == 1:
        sides = {
            "purejaxrl_gae": ours.one_agent(config),
            "purejaxrl_gae, all devices": ours.one_agent_on_all_devices(config),
        }
    else:
        sides = {"purejaxrl_gae": ours.agents(config, row.num_seeds)}
    sides |= reference_sides(config, row.num_seeds)
    spec = ours.settings(config, PPO_PASSED_ON, row.updates)
    for cores in (False, True) if row.num_seeds > 1 else (False,):
        name = "rejax" if row.num_seeds == 1 else f"rejax, {'on all cores' if cores else 'vmapped'}"
        more = {"num_seeds": row.num_seeds, "cores": cores}
        sides[name] = peer_side("benchmarks.peers:rejax_ppo", spec | more, pythons, "rejax")
    spec |= {"updates": row.peer_updates}
    one = ", 1 agent" if row.num_seeds > 1 else ""
    for name in ("sb3", "sbx"):
        sides[name + one] = peer_side(f"benchmarks.peers:{name}_ppo", spec, pythons, name)
    return sides


def a2c_sides(row: Row, pythons: dict[str, str]) -> dict[str, Side]:
    """Ours and Stable-Baselines3's."""
    config = a2c_config(row)
    spec = ours.settings(config, A2C_PASSED_ON, row.peer_updates)
    return {
        "purejaxrl_gae": ours.one_agent(config),
        "sb3": peer_side("benchmarks.peers:sb3_a2c", spec, pythons, "sb3"),
    }


def trpo_sides(row: Row, pythons: dict[str, str]) -> dict[str, Side]:
    """Ours and sb3-contrib's."""
    return trpo.sides(row.num_seeds, row.updates, row.peer_updates, pythons)


def memory_sides(row: Row, _: dict[str, str]) -> dict[str, Side]:
    """Ours and the reference with memory."""
    config = memory.config(row.env, row.num_envs, row.num_steps, row.updates, shared=row.algorithm == "memory-shared")
    return memory.sides(config, reference_config(config))


SIDES: dict[str, Callable[[Row, dict[str, str]], dict[str, Side]]] = {
    "ppo": ppo_sides,
    "a2c": a2c_sides,
    "trpo": trpo_sides,
    "memory": memory_sides,
    "memory-shared": memory_sides,
}


def bars(row: Row, results: list[Timing]) -> list[dict]:
    """PPO on Pendulum: at least 1.5 times the fastest form of the reference; others: see their modules."""
    if row.algorithm == "trpo":
        return trpo.bars(row.num_seeds, results)
    if row.algorithm.startswith("memory"):
        return memory.bars(row.title, results)
    references = [timing.ratio for timing in results if timing.name.startswith("reference")]
    if row.algorithm != "ppo" or row.env != "Pendulum-v1" or not references:
        return []
    return [bar(f"{row.title}, over the reference", min(references), 1.5, at_least=True)]


def main() -> None:
    options = tyro.cli(Options)
    refuse_unknown_rows(options.rows, ROWS)
    pythons = pythons_of_peers(options.peer)
    results = {}
    for name in options.rows:
        row = replace(ROWS[name], updates=1, peer_updates=1) if options.quick else ROWS[name]
        sides = SIDES[row.algorithm](row, pythons)
        sides = {side: prepare for side, prepare in sides.items() if side.split(",")[0] not in options.skip}
        timings = interleave(sides, options.repeats)
        print_table(row.title, timings)
        results[name] = {"row": row, "timings": timings, "bars": bars(row, timings)}
        write_json(options.json, results)  # after every row, so that an interrupted benchmark leaves what it has


if __name__ == "__main__":
    main()
