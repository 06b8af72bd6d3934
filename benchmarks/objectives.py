"""python -m benchmarks.objectives: PPO's objectives against each other, as in table 1 of its paper.

Eleven rows: no clipping or penalty, clipping with three ranges, the adaptive KL penalty with three targets, the fixed
one with four coefficients. Every row is trained with every seed on every task, at the paper's hyperparameters (batches
of 2048 steps, 10 epochs of minibatches of 64, Adam at 3e-4, gamma 0.99, lambda 0.95, two layers of 64 tanh units,
separate networks, no entropy bonus), from 16 environments instead of one. A score is the mean return of the last 100
training episodes, shifted and scaled so that a random policy has 0 and the task's best score is 1; a row's figure is
the mean over tasks and seeds, with its 95% stratified-bootstrap interval.

The tasks are gymnax's continuous ones, not the paper's MuJoCo tasks, so only the order can be compared.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.environments import BoxActions, make_environment
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs.figures import picture
from purejaxrl_gae.runs.programs import AgentPrograms
from purejaxrl_gae.runs.reports import scores
from purejaxrl_gae.runs.statistics import Aggregate, mean_of_task_means, with_interval

TASKS = ("Pendulum-v1", "MountainCarContinuous-v0", "Reacher-misc", "Swimmer-misc", "PointRobot-misc")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      name: as printed.
      objective: of PPOConfig.
      traced: the hyperparameter that distinguishes it, and its value.
      paper: the paper's figure.
    """

    name: str
    objective: str
    traced: dict[str, float]
    paper: float


HEAD = "# PPO's objectives by task\n\nBy `python -m benchmarks.objectives`; [what it shows](experiments.md)."
ROWS = (
    Row("no clipping or penalty", "none", {}, -0.39),
    *(Row(f"clipping, ε = {e}", "clip", {"clip_coef": e}, p) for e, p in ((0.1, 0.76), (0.2, 0.82), (0.3, 0.70))),
    *(
        Row(f"adaptive KL, d_targ = {d}", "kl_adaptive", {"desired_kl": d}, p)
        for d, p in ((0.003, 0.68), (0.01, 0.74), (0.03, 0.71))
    ),
    *(
        Row(f"fixed KL, β = {b:g}", "kl_fixed", {"kl_coef": b}, p)
        for b, p in ((0.3, 0.62), (1.0, 0.71), (3.0, 0.72), (10.0, 0.69))
    ),
)


@dataclass(frozen=True)
class Options:
    """Trains the table's rows."""

    total_timesteps: int = 300_000
    """environment steps of each agent"""
    num_seeds: int = 3
    """agents of each row on each task"""
    tasks: tuple[str, ...] = TASKS
    """gymnax ids of environments with continuous actions"""
    learning_rate: float = 3e-4
    """Adam's step size; the paper's"""
    picture: Path | None = Path("objectives.png")
    """picture to write"""
    markdown: Path | None = Path("objectives.md")
    """table to write"""
    output: Path | None = None
    """JSON file to write"""


def train_task(task: str, options: Options) -> np.ndarray:
    """`[rows, seeds]` mean return of the last 100 training episodes; one program for each objective."""
    found = np.full((len(ROWS), options.num_seeds), np.nan)
    for objective in dict.fromkeys(row.objective for row in ROWS):
        members = [index for index, row in enumerate(ROWS) if row.objective == objective]
        config = PPOConfig(
            env=task,
            total_timesteps=options.total_timesteps,
            num_envs=16,
            num_steps=128,
            objective=objective,  # type: ignore[arg-type]
            learning_rate=options.learning_rate,
            anneal_lr=False,
            num_minibatches=32,
            update_epochs=10,
            stagger_episodes=True,
            normalize_observations=False,
        )
        algorithm = algorithms.make_algorithm(config)
        changed = [
            {**vars(algorithm.hyperparameters), **ROWS[index].traced}
            for index in members
            for _ in range(options.num_seeds)
        ]
        hyperparameters = type(algorithm.hyperparameters)(
            **{
                name: None if value is None else np.array([values[name] for values in changed], np.float32)
                for name, value in vars(algorithm.hyperparameters).items()
            }
        )
        programs = AgentPrograms(algorithm, len(changed), jax.devices())
        seeds = np.tile(np.arange(options.num_seeds), len(members))
        run = programs.run_of(seeds, hyperparameters)
        _, stretch = run.advance(run.init(), config.num_updates)
        found[members] = scores(stretch.counters).reshape(len(members), -1)
    return found


def random_return(task: str, num_episodes: int = 256) -> float:
    """Mean return of actions drawn uniformly between their bounds."""
    environment = make_environment(task)
    assert isinstance(environment.actions, BoxActions) and environment.max_episode_steps is not None
    low, high = jnp.array(environment.actions.low), jnp.array(environment.actions.high)
    key, reset_key = jax.random.split(jax.random.key(0))
    states, _ = environment.reset(reset_key, num_episodes)

    def step(carry, key):
        states, running = carry
        action_key, step_key = jax.random.split(key)
        actions = jax.random.uniform(action_key, (num_episodes, low.size), minval=low, maxval=high)
        result = environment.step(step_key, states, actions.reshape(num_episodes, *environment.actions.shape))
        return (result.states, running & ~(result.terminated | result.truncated)), result.rewards * running

    carry = states, jnp.ones(num_episodes, bool)
    _, rewards = jax.lax.scan(step, carry, jax.random.split(key, environment.max_episode_steps))
    return float(rewards.sum(axis=0).mean())


def normalized(raw: np.ndarray, random: float) -> np.ndarray:
    """Scores `[rows, seeds]` of one task with a random policy at 0 and the best row's mean at 1."""
    return (raw - random) / (raw.mean(axis=1).max() - random)


def table(figures: list[Aggregate], by_task: np.ndarray, tasks: tuple[str, ...]) -> str:
    """The eleven rows as Markdown."""
    titles = ["objective", "here", "95% interval", "paper", *(task.split("-")[0] for task in tasks)]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for row, figure, tasks_scores in zip(ROWS, figures, by_task, strict=True):
        cells = [row.name, f"{figure.value:.2f}", f"{figure.low:.2f} .. {figure.high:.2f}", f"{row.paper:.2f}"]
        lines.append("| " + " | ".join([*cells, *(f"{score:.2f}" for score in tasks_scores)]) + " |")
    return "\n".join(lines) + "\n"


def draw(figures: list[Aggregate], path: Path) -> None:
    """Our figures with their intervals, the paper's beside them."""
    places = np.arange(len(ROWS))[::-1]
    values = np.array([figure.value for figure in figures])
    below = values - np.array([figure.low for figure in figures])
    above = np.array([figure.high for figure in figures]) - values
    with picture(path, "PPO's objectives: mean over tasks and seeds", (7.5, 4.6)) as axes:
        axes.errorbar(
            values, places, xerr=[below, above], fmt="o", capsize=3, label="here, five gymnax tasks, 95% interval"
        )
        axes.plot([row.paper for row in ROWS], places, "kx", label="paper, seven MuJoCo tasks")
        axes.set_yticks(places, [row.name for row in ROWS])
        axes.set_xlabel("normalised score: 0 random policy, 1 best of the task")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", frameon=False)


def main() -> None:
    options = tyro.cli(Options)
    from benchmarks import all_cores  # noqa: F401  (makes every core a device)

    started = time.perf_counter()
    raw: dict[str, Any] = {}
    randoms: dict[str, float] = {}
    for task in options.tasks:
        raw[task], randoms[task] = train_task(task, options), random_return(task)
        shown = ", ".join(f"{score:.1f}" for score in raw[task].mean(axis=1))
        print(f"{task}: random {randoms[task]:.1f}; rows {shown}  [{time.perf_counter() - started:.0f} s]", flush=True)
    scaled = np.stack([normalized(raw[task], randoms[task]) for task in options.tasks], axis=-1)  # [rows, seeds, tasks]
    figures = [with_interval(of_row, mean_of_task_means) for of_row in scaled]
    text = table(figures, scaled.mean(axis=1), options.tasks)
    agents = len(ROWS) * options.num_seeds * len(options.tasks)
    print(text)
    print(f"{agents} agents of {options.total_timesteps:,} steps in {time.perf_counter() - started:.0f} s")
    if options.markdown is not None:
        options.markdown.write_text(f"{HEAD}\n\n{text}")
    if options.picture is not None:
        draw(figures, options.picture)
    if options.output is not None:
        document = {
            "random": randoms,
            "raw": {task: scores_of.round(3).tolist() for task, scores_of in raw.items()},
            "rows": [
                {"name": row.name, "paper": row.paper, "here": list(f)} for row, f in zip(ROWS, figures, strict=True)
            ],
        }
        options.output.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
