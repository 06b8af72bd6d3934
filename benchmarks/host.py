"""python -m benchmarks.host: training on environments that step on the host, beside Stable-Baselines3, in turns.

Both sides get the same network, hyperparameters and counted steps, no evaluation and no normalisation. Ours is what the
command line runs: on Gymnasium's copies, on EnvPool's where it is installed, on copies in worker processes.
Building models and environments does not count.

    halfcheetah   PPO, HalfCheetah-v5, 8 environments x 256 steps, 10 epochs of minibatches of 64
    pong          PPO with the Nature CNN on four stacked frames, 8 x 128 steps, 4 epochs of minibatches of 256

A peer whose packages clash with this environment's runs with another Python: `--peer sb3=venv/bin/python`.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from benchmarks.arguments import pythons_of_peers, refuse_unknown_rows
from benchmarks.measure import Side, bar, interleave, peer_side, print_table, write_json
from benchmarks.worker import Prepared, Unavailable

HYPERPARAMETERS = {
    "learning_rate": 3e-4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_coef": 0.2,
    "ent_coef": 0.0,
    "vf_coef": 1.0,
    "max_grad_norm": 0.5,
}


@dataclass(frozen=True)
class Row:
    """One row of the benchmark.

    Attributes:
      ours: side -> fields of PPOConfig that make it, the environment above all.
      peer: function of `benchmarks.peers`.
      peer_env: its environment.
      num_envs: N.
      num_steps: T.
      update_epochs: passes of the optimizer over a rollout.
      num_minibatches: of a pass.
      updates: of a run.
      bar: how many times faster than the peer our first side is to be.
    """

    ours: dict[str, dict[str, Any]]
    peer: str
    peer_env: str
    num_envs: int
    num_steps: int
    update_epochs: int
    num_minibatches: int
    updates: int
    bar: float


CNN = {"network": "shared", "encoder": "nature_cnn", "hidden_sizes": (512,), "activation": "relu"}
ROWS = {
    "halfcheetah": Row(
        ours={
            "EnvPool": {"env": "envpool:HalfCheetah-v5"},
            "Gymnasium": {"env": "gymnasium:HalfCheetah-v5"},
            "Gymnasium, 2 workers": {"env": "gymnasium:HalfCheetah-v5", "env_workers": 2},
        },
        peer="sb3_ppo",
        peer_env="HalfCheetah-v5",
        num_envs=8,
        num_steps=256,
        update_epochs=10,
        num_minibatches=32,
        updates=4,
        bar=4.0,
    ),
    "pong": Row(
        ours={
            "Gymnasium": {"env": "gymnasium:ALE/Pong-v5", **CNN},
            "EnvPool": {"env": "envpool:Pong-v5", **CNN},
        },
        peer="sb3_atari_ppo",
        peer_env="PongNoFrameskip-v4",
        num_envs=8,
        num_steps=128,
        update_epochs=4,
        num_minibatches=4,
        updates=1,
        bar=1.5,
    ),
}


@dataclass(frozen=True)
class Options:
    """Times training on the host; the ratios are to this library's first side."""

    rows: tuple[str, ...] = tuple(ROWS)
    """which rows"""
    repeats: int = 5
    """turns that count"""
    peer: tuple[str, ...] = ()
    """NAME=PATH of the Python that has a peer (sb3); by default this one"""
    quick: bool = False
    """runs of one short update, to see that everything works; the figures mean nothing"""
    json: Path | None = None
    """file to write"""


def ours(fields: dict[str, Any]) -> Prepared:
    """Gets a run ready with the programs of the command line; called in a process of its own."""
    from purejaxrl_gae import PPOConfig
    from purejaxrl_gae.program import algorithms
    from purejaxrl_gae.runs.host_programs import HostAgent
    from purejaxrl_gae.settings.errors import UserError

    try:
        config = PPOConfig(**fields)
        programs = HostAgent(algorithms.make_algorithm(config))
    except UserError as error:
        raise Unavailable(str(error)) from error
    state = programs.init()

    def run(_: int) -> float:
        nonlocal state
        started = time.perf_counter()
        state, stretch = programs.advance(state, config.num_updates)
        assert stretch.updates == config.num_updates, "an update was left out"
        return time.perf_counter() - started

    return Prepared(programs.compile_seconds, run, config.env_steps, programs.close)


def sides(row: Row, pythons: dict[str, str]) -> dict[str, Side]:
    """Ours, each in a process of its own, and the peer's."""
    shape = {"num_envs": row.num_envs, "num_steps": row.num_steps}
    passes = {"update_epochs": row.update_epochs, "num_minibatches": row.num_minibatches}
    own = shape | passes | HYPERPARAMETERS | {"total_timesteps": row.num_envs * row.num_steps * row.updates}
    own |= {"normalize_observations": False, "normalize_rewards": False, "anneal_lr": False}
    found: dict[str, Side] = {
        f"purejaxrl_gae, {name}": peer_side("benchmarks.host:ours", {"fields": own | fields}, {}, "")
        for name, fields in row.ours.items()
    }
    spec = {"env": row.peer_env, "updates": row.updates, "hyperparameters": HYPERPARAMETERS | passes} | shape
    return found | {"sb3": peer_side(f"benchmarks.peers:{row.peer}", spec, pythons, "sb3")}


def main() -> None:
    options = tyro.cli(Options, prog="python -m benchmarks.host")
    refuse_unknown_rows(options.rows, ROWS)
    pythons, results = pythons_of_peers(options.peer), {}
    for name in options.rows:
        row = replace(ROWS[name], updates=1, num_steps=32, update_epochs=1) if options.quick else ROWS[name]
        timings = interleave(sides(row, pythons), options.repeats)
        print_table(f"PPO {row.peer_env}", timings)
        ratios = [timing.ratio for timing in timings if timing.name == "sb3"]
        bars = [bar(f"{name}, over sb3", ratio, row.bar, at_least=True) for ratio in ratios]
        results[name] = {"row": row, "timings": timings, "bars": bars}
        write_json(options.json, results)


if __name__ == "__main__":
    main()
