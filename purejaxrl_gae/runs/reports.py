"""The reports of a run: a record for each report, and the summary at its end."""

import importlib.metadata
import platform
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from purejaxrl_gae.program.experience import SCORE_WINDOW
from purejaxrl_gae.program.types import Counters
from purejaxrl_gae.runs import scoring, statistics
from purejaxrl_gae.runs.programs import Stretch, describe_device
from purejaxrl_gae.runs.scoring import Scores
from purejaxrl_gae.settings import config
from purejaxrl_gae.settings.config import TrainingConfig

SOLVED_SCORES = {
    "Pendulum-v1": -200.0,
    "CartPole-v1": 475.0,
    "Acrobot-v1": -100.0,
    "MountainCar-v0": -110.0,
    "MountainCarContinuous-v0": 90.0,
}
PACKAGES = ("purejaxrl-gae", "jax", "jaxlib", "flax", "optax", "gymnax", "numpy")
WAYS = ("eval_return", "eval_sampled_return")  # names of the scores by mode and sampled
# Package -> module; named where the module has been imported.
OPTIONAL_PACKAGES = {
    "gymnasium": "gymnasium",
    "mujoco": "mujoco",
    "ale-py": "ale_py",
    "brax": "brax",
    "mujoco-mjx": "mujoco.mjx",
    "playground": "mujoco_playground",
    "optuna": "optuna",
}


@dataclass
class Clock:
    """Seconds of a run so far, over all its sessions.

    Attributes:
      compile: tracing and compiling.
      run: in the training loop, with logging and checkpoints, without evaluation.
      evaluation: evaluating.
    """

    compile: float = 0.0
    run: float = 0.0
    evaluation: float = 0.0


def of_run(values: Any) -> Any:
    """Lists values `[S]`, or returns the only one as a number."""
    plain = np.asarray(values).tolist()
    return plain[0] if len(plain) == 1 else plain


def record(training_config: TrainingConfig, clock: Clock, stretch: Stretch, updates: int) -> dict[str, Any]:
    """Returns what one report says; NaN where no episode ended. Of one agent numbers, of several lists."""
    env_steps, totals = updates * training_config.steps_per_update, stretch.totals
    episodes = np.where(totals.episodes > 0, totals.episodes, np.nan)
    of_agents: dict[str, Any] = {
        "episodes": totals.episodes,
        "episodic_return": totals.returns.astype(float) / episodes,
        "episodic_length": totals.lengths.astype(float) / episodes,
        "score_last100": scores(stretch.counters),
        **{name: values.astype(float) for name, values in stretch.metrics.items()},
    }
    if training_config.on_nonfinite == "skip":
        of_agents["skipped_updates"] = stretch.counters.skipped_updates
        of_agents["nonfinite_steps"] = stretch.counters.nonfinite_steps
    return {
        "update": updates,
        "env_steps": env_steps,
        "wall_seconds": round(clock.run + clock.evaluation, 6),
        "steps_per_second": env_steps * len(stretch.healthy) / clock.run,
        **{name: of_run(values) for name, values in of_agents.items()},
    }


def of_evaluation(scores: Scores) -> dict[str, Any]:
    """Returns means and deviations of the evaluation, by mode and sampled; of one agent numbers, of several lists."""
    found = {}
    for name, evaluation in zip(WAYS, scores, strict=True):
        returns = np.asarray(evaluation.returns)
        found[f"{name}_mean"] = of_run(returns.mean(axis=1))
        found[f"{name}_std"] = of_run(returns.std(axis=1))
    return found


def summary(
    training_config: TrainingConfig,
    clock: Clock,
    counters: Counters,
    updates: int,
    evaluated: Scores,
    seeds: np.ndarray,
    num_devices: int,
) -> dict[str, Any]:
    """Returns what summary.json says.

    Args:
      training_config: of the run.
      clock: its seconds.
      counters: `[S, ...]`.
      updates: made by each agent.
      evaluated: `[S, E]` episodes by mode, and as many sampled.
      seeds: `[S]`.
      num_devices: that it ran on.
    """
    env = config.to_plain(training_config)["env"]
    env_steps = updates * training_config.steps_per_update
    returns, sampled = (np.asarray(each.returns) for each in evaluated)
    solved_score, across = SOLVED_SCORES.get(env), statistics_of(returns.mean(axis=1))
    found = {
        "env": env,
        "algo": training_config.algorithm,
        "seed": training_config.seed,
        "num_seeds": len(seeds),
        "env_steps": env_steps,
        "updates": updates,
        "episodes": int(counters.episodes.sum()),
        "compile_seconds": round(clock.compile, 3),
        "run_seconds": round(clock.run, 3),
        "evaluation_seconds": round(clock.evaluation, 3),
        "steps_per_second": round(env_steps * len(seeds) / max(clock.run, 1e-9), 1),
        "train_return_last100": float(np.mean(scores(counters))),
        "eval_return_mean": float(returns.mean()),
        "eval_return_std": float(returns.std()),
        "eval_sampled_return_mean": float(sampled.mean()),
        "eval_sampled_return_std": float(sampled.std()),
        "eval_mode_and_sampled_differ": bool(scoring.differ(evaluated).any()),
        "eval_episodes": returns.size,
        "eval_cut_episodes": scoring.cut(evaluated.mode),
        "eval_sampled_cut_episodes": scoring.cut(evaluated.sampled),
        "solved_score": solved_score,
        "solved": None if solved_score is None else bool(across["iqm"].value >= solved_score),
        "skipped_updates": int(counters.skipped_updates.sum()),
        "nonfinite_steps": int(counters.nonfinite_steps.sum()),
        "versions": versions(),
        "device": describe_device(),
        "devices": num_devices,
        "matmul_precision": training_config.matmul_precision,
    }
    return found if len(seeds) == 1 else found | _over_seeds(evaluated, seeds, scores(counters))


def _over_seeds(evaluated: Scores, seeds: np.ndarray, train_scores: np.ndarray) -> dict[str, Any]:
    """Adds what the summary of several seeds says besides: aggregates with intervals, and each seed's own scores."""
    found: dict[str, Any] = {}
    for name, evaluation in zip(WAYS, evaluated, strict=True):
        across = statistics_of(np.asarray(evaluation.returns).mean(axis=1))
        found[f"{name}_over_seeds"] = {statistic: list(aggregate) for statistic, aggregate in across.items()}
    columns = of_evaluation(evaluated) | {
        "eval_mode_and_sampled_differ": scoring.differ(evaluated).tolist(),
        "train_return_last100": train_scores.tolist(),
    }
    found["seeds"] = [
        {"seed": int(seed), **{name: values[index] for name, values in columns.items()}}
        for index, seed in enumerate(seeds)
    ]
    return found


def statistics_of(agent_means: np.ndarray) -> dict[str, statistics.Aggregate]:
    """Computes IQM, median and mean over agents `[S]`, each with its 95% interval."""
    return {
        "iqm": statistics.with_interval(agent_means, statistics.interquartile_mean),
        "median": statistics.with_interval(agent_means, statistics.median),
        "mean": statistics.with_interval(agent_means, statistics.mean_of_task_means),
    }


def scores(counters: Counters) -> np.ndarray:
    """Returns the `[S]` mean returns of the last 100 training episodes, or of all if fewer; NaN before the first."""
    recent = np.asarray(counters.recent_returns, np.float64)
    number = np.minimum(counters.episodes, SCORE_WINDOW)
    inside = np.arange(recent.shape[1]) < number[:, None]
    return np.where(inside, recent, 0.0).sum(axis=1) / np.where(number > 0, number, np.nan)


def versions() -> dict[str, str]:
    """Returns versions of everything that computes: what every run needs, and of the rest what is in use."""
    found = {"python": platform.python_version()}
    used = [package for package, module in OPTIONAL_PACKAGES.items() if module in sys.modules]
    for package in (*PACKAGES, *used):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
