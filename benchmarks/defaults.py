"""python -m benchmarks.defaults: PPO as it comes, without presets, beside Stable-Baselines3's, on ten tasks.

    python -m benchmarks.defaults --side ours           # in this library's environment
    python -m benchmarks.defaults --side sb3            # in one that has stable-baselines3 and this library's packages
    python -m benchmarks.defaults --side sb3_settings   # its settings in this library's program, a tenth of its time
    python -m benchmarks.defaults --side table          # prints the table of what has been run

Both sides train for as many environment steps with nothing set but the task and the seed. Policies of both are played
by the same code, by their mode and by their samples: 100 episodes of gymnax's tasks, 20 of Gymnasium's. Results are
kept in one JSON file; what it already has is not run again.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import yaml

from purejaxrl_gae import PPOConfig, make_train, ppo
from purejaxrl_gae.environments import Environment, HostEnvironment
from purejaxrl_gae.program import training
from purejaxrl_gae.program.types import Learner, Setup
from purejaxrl_gae.runs import playing
from purejaxrl_gae.runs.host_programs import HostAgent
from purejaxrl_gae.runs.statistics import interquartile_mean
from purejaxrl_gae.settings.config import with_values

TASKS = (
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCarContinuous-v0",
    "Catch-bsuite",
    "DeepSea-bsuite",
    "FourRooms-misc",
    "gymnasium:LunarLander-v3",
    "gymnasium:BipedalWalker-v3",
    "gymnasium:Hopper-v5",
    "gymnasium:Swimmer-v5",
)
Side = Literal["ours", "sb3_settings", "sb3"]
Played = Literal["mode", "sampled"]
EPISODES_JAX, EPISODES_HOST, EVALUATION_STREAM = 100, 20, 1000
# Stable-Baselines3's defaults as ours would be set; its value loss has no half
SB3_SETTINGS: dict[str, Any] = dict(
    num_envs=1,
    num_steps=2048,
    num_minibatches=32,
    update_epochs=10,
    learning_rate=3e-4,
    anneal_lr=False,
    vf_coef=1.0,
    normalize_observations=False,
    normalize_rewards=False,
)


@dataclass(frozen=True)
class Options:
    """Compares defaults."""

    side: Literal["ours", "sb3_settings", "sb3", "table"] = "table"
    """what to train, or print what there is"""
    tasks: tuple[str, ...] = TASKS
    """environments"""
    num_seeds: int = 5
    """agents on each task"""
    first_seed: int = 100
    """seed of the first; the next follow it"""
    total_timesteps: int = 100_000
    """environment steps of each"""
    changes: tuple[str, ...] = ()
    """FIELD=VALUE that ours is to train with instead; give it an output of its own"""
    output: Path = Path("docs/defaults.json")
    """results, read and added to"""


def make_player(setup: Setup) -> Callable[..., float]:
    """`(learner, seed, deterministic) -> mean return` over whole episodes."""
    pure = isinstance(setup.environment, Environment)
    play = playing.make_player(setup, EPISODES_JAX if pure else EPISODES_HOST)
    whole = jax.jit(play) if pure else play

    def mean_return(learner: Learner, seed: int, deterministic: bool) -> float:
        return float(whole(learner, jax.random.key(seed + EVALUATION_STREAM), deterministic).returns.mean())

    return mean_return


def score(setup: Setup, agents: dict[int, Learner]) -> list[dict[str, float]]:
    """Mean returns of trained agents, by seed."""
    player = make_player(setup)
    return [
        {played: player(learner, seed, played == "mode") for played in get_args(Played)}
        for seed, learner in agents.items()
    ]


def train_ours(config: PPOConfig, seeds: list[int]) -> list[dict[str, float]]:
    """Trains this library's PPO with each seed: what each scored, and the seconds of it."""
    algorithm, started = ppo.make_algorithm(config), time.perf_counter()
    if isinstance(algorithm.setup.environment, HostEnvironment):
        learners = [_on_host(config, seed) for seed in seeds]
    else:
        train = make_train(config)
        one_by_one = jax.jit(lambda keys: jax.lax.map(lambda key: train(key).state.learner, keys))
        together = one_by_one(jax.vmap(jax.random.key)(jnp.array(seeds, jnp.uint32)))
        learners = [jax.tree.map(lambda leaf, index=index: leaf[index], together) for index in range(len(seeds))]
    seconds = (time.perf_counter() - started) / len(seeds)
    agents = dict(zip(seeds, learners, strict=True))
    return [{**scores, "seconds": seconds} for scores in score(algorithm.setup, agents)]


def _on_host(config: PPOConfig, seed: int) -> Learner:
    config = dataclasses.replace(config, seed=seed)
    programs = HostAgent(ppo.make_algorithm(config))
    try:
        state, stretch = programs.advance(programs.init(), config.num_updates)
    finally:
        programs.close()
    assert stretch.updates == config.num_updates, "training stopped"
    return state.learner


def train_sb3(config: PPOConfig, seeds: list[int]) -> list[dict[str, float]]:
    """The same of Stable-Baselines3's PPO, with its own defaults."""
    from benchmarks.defaults_sb3 import train

    setup = training.prepare(dataclasses.replace(config, normalize_observations=False, normalize_rewards=False))
    results = []
    for seed in seeds:
        started = time.perf_counter()
        learner = Learner(train(config.env, seed, config.total_timesteps), ())
        seconds = time.perf_counter() - started
        results += [{**scores, "seconds": seconds} for scores in score(setup, {seed: learner})]
    return results


def read(path: Path) -> dict[str, Any]:
    """Results so far: side -> task -> seed -> scores."""
    nothing: dict[str, Any] = {side: {} for side in get_args(Side)}
    return nothing | (json.loads(path.read_text()) if path.exists() else {})


def run(side: Side, options: Options) -> None:
    """Trains what there are no results of."""
    trainer = train_sb3 if side == "sb3" else train_ours
    settings = SB3_SETTINGS if side == "sb3_settings" else {}
    changes = {name: yaml.safe_load(value) for name, value in (change.split("=", 1) for change in options.changes)}
    for task in options.tasks:
        config = PPOConfig(env=task, total_timesteps=options.total_timesteps, **settings)
        config = with_values(config, changes, "--changes")
        done = read(options.output)[side].get(task, {})
        wanted = range(options.first_seed, options.first_seed + options.num_seeds)
        missing = [seed for seed in wanted if str(seed) not in done]
        is_pure = ":" not in task and side != "sb3"
        for seeds in ([missing] if missing else []) if is_pure else [[seed] for seed in missing]:
            scores = trainer(config, seeds)
            results = read(options.output)
            results[side].setdefault(task, {}).update(
                {str(seed): _rounded(one) for seed, one in zip(seeds, scores, strict=True)}
            )
            options.output.write_text(json.dumps(results, indent=1) + "\n")
            print(side, task, seeds, [_rounded(one) for one in scores], flush=True)


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}


def table(results: dict[str, Any], played: Played) -> Iterator[str]:
    """The table's lines for one kind of policy: of each task the IQM over seeds, and in brackets the worst seed."""
    yield f"| task, {played} | ours | SB3's settings in our program | SB3 | seeds |"
    yield "|---|---|---|---|---|"
    for task in TASKS:
        cells, counts = [], []
        for side in get_args(Side):
            values = np.array([scores[played] for scores in results[side].get(task, {}).values()])
            counts.append(str(len(values)))
            cells.append(f"{interquartile_mean(values[:, None]):.4g} ({values.min():.4g})" if len(values) else "")
        yield f"| {task} | {' | '.join(cells)} | {', '.join(counts)} |"


def main(options: Options) -> None:
    """Runs a side, or prints the table."""
    if options.side != "table":
        run(options.side, options)
    for played in get_args(Played):
        print("\n".join(table(read(options.output), played)) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
