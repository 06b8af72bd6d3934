"""The sentences that a run tells its user: what it begins, how it ended, and why it stopped."""

import shlex
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.environments.structures import mask_name
from purejaxrl_gae.program.types import Setup, TrainState
from purejaxrl_gae.runs import scoring
from purejaxrl_gae.runs.checkpoints import Checkpoints
from purejaxrl_gae.runs.display import Display
from purejaxrl_gae.runs.programs import agent_of, describe_device
from purejaxrl_gae.runs.reports import WAYS
from purejaxrl_gae.runs.scoring import Scores
from purejaxrl_gae.settings import config, parts
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import RunError

HARMLESS = 1e12  # what is larger than this can make a loss of float32 overflow


def say_what_runs(display: Display, setup: Setup, seeds: np.ndarray, used: list[jax.Device], path: Path) -> None:
    """Prints one line that names the run, then the notes on its config."""
    training_config: TrainingConfig = setup.config
    plain, steps = config.to_plain(training_config), training_config.env_steps
    wanted = training_config.total_timesteps
    rounded = "" if steps == wanted else f", rounded up from {wanted:,}"
    alone = len(seeds) == 1
    who = f"seed {seeds[0]}" if alone else f"seeds {seeds[0]} to {seeds[-1]}"
    each = "" if alone else " each"
    number = f", {len(used)} devices" if len(used) > 1 else ""
    display.say(
        f"{training_config.algorithm} on {plain['env']}, {who}, {describe_device()}{number}: "
        f"{steps:,} steps{each}{rounded}, {training_config.num_updates:,} updates -> {path}"
    )
    nameless = parts.without_import_name(config.parts_of(training_config))
    for note in (*training_config.notes(), *setup.notes, *nameless):
        display.complain(f"note: {note}")


def say_why_it_stopped(display: Display, env_steps: int, goal_score: float | None) -> None:
    """Prints what ended a run before its last step: a score that was reached, or else a callback."""
    why = "a callback returned True" if goal_score is None else f"the last 100 episodes reached {goal_score:g}"
    display.say(f"stopped at step {env_steps:,}: {why}")


def say_how_it_ended(display: Display, summary: dict[str, Any], scores: Scores) -> None:
    """Prints steps, speed and scores, and what the scores hide; of several seeds a table too.

    Args:
      display: where.
      summary: as written to summary.json.
      scores: of the evaluation.
    """
    _say_scores(display, summary, *np.shape(scores.mode.returns))
    for note in scoring.notes(scores):
        display.complain(f"note: {note}")


def say_what_next(display: Display, path: Path, training_config: TrainingConfig, policy: Path | None) -> None:
    """Prints where a run is saved, and the two commands that look at it.

    Args:
      display: where.
      path: of the run's folder.
      training_config: of the run.
      policy: file of the (first) policy, where there is one.
    """
    plot = f"python -m purejaxrl_gae.plot {shlex.quote(str(path))}"
    display.say(f"saved in {path}; next: {how_to_evaluate(training_config, path, policy)} && {plot}")


def how_to_evaluate(training_config: TrainingConfig, path: Path, policy: Path | None) -> str:
    """Returns the command that does; of the policy's file where an object without an import name is in the way."""
    command, env = "python -m purejaxrl_gae.evaluate", training_config.env
    if not parts.without_import_name({"env": env, **config.parts_of(training_config)}):
        return f"{command} --run-dir {shlex.quote(str(path))}"
    if policy is not None and not parts.without_import_name({"env": env}):
        return f"{command} --policy {shlex.quote(str(policy))}"
    return f"purejaxrl_gae.load({str(path)!r}, config) in Python"


def _say_scores(display: Display, summary: dict[str, Any], num_agents: int, num_episodes: int) -> None:
    solved = {None: "", True: "  solved", False: "  not solved"}[summary["solved"]]
    began = (
        f"{summary['env_steps']:,} steps in {summary['run_seconds']:.1f} s ({summary['steps_per_second']:,.0f} "
        f"steps/s) after {summary['compile_seconds']:.1f} s of compiling; "
    )
    if num_agents == 1:
        mode, sampled = (f"{summary[f'{name}_mean']:.1f} ± {summary[f'{name}_std']:.1f}" for name in WAYS)
        display.say(f"{began}evaluation over {num_episodes} episodes: {mode} by mode, {sampled} sampled{solved}")
        return
    iqms = (summary[f"{name}_over_seeds"]["iqm"] for name in WAYS)
    mode, sampled = (f"{iqm:.1f} [{low:.1f}, {high:.1f}]" for iqm, low, high in iqms)
    display.say(
        f"{num_agents} x {began}evaluation over {num_episodes} episodes each: IQM {mode} by mode, "
        f"{sampled} sampled{solved}"
    )
    columns = ("eval_return_mean", "eval_return_std", "eval_sampled_return_mean", "train_return_last100")
    display.table(
        ("seed", "by mode", "deviation", "sampled", "last 100 in training"),
        [(row["seed"], *(row[name] for name in columns)) for row in summary["seeds"]],
    )


def became_nonfinite(
    setup: Setup,
    updates: int,
    seeds: np.ndarray,
    healthy: np.ndarray,
    saved: TrainState,
    checkpoints: Checkpoints,
) -> RunError:
    """Words the error of a run that met something NaN or infinite.

    Args:
      setup: of the run.
      updates: at which it was found.
      seeds: `[S]`.
      healthy: `[S]` bool; False for those it happened to.
      saved: the states then, `[S]`.
      checkpoints: of the run, the newest of which is named.
    """
    steps = checkpoints.steps()
    good = str(checkpoints.path(steps[-1])) if steps else "none was written yet (see --checkpoint-freq)"
    step = updates * setup.config.steps_per_update
    culprit = _culprit(setup.environment, agent_of(saved, int(np.argmin(healthy))))
    if len(seeds) > 1:
        sick = ", ".join(map(str, seeds[~healthy]))
        return RunError(
            f"a loss or a parameter of seed {sick} became NaN or infinite by update {updates} (step {step:,})"
            f"{culprit}; "
            f"the run stops. Last good checkpoint: {good}. --on-nonfinite skip leaves such updates out"
        )
    return RunError(
        f"update {updates} (step {step:,}) made a loss or a parameter NaN or infinite{culprit}; "
        f"the run stops before it. Last good checkpoint: {good}"
    )


def _culprit(environment: Any, saved: TrainState) -> str:
    """Names what the environment returned that the update could not bear, as far as the state of one agent shows it."""
    world, counters = saved.world, saved.counters
    returns = np.concatenate([world.episode_returns, counters.recent_returns[: counters.episodes]])
    observations = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(world.observations)])
    for values, what in ((observations, "observation"), (returns, "reward")):
        if not np.all(np.isfinite(values)):
            return f", as {what} of the environment is"
    if counters.nonfinite_steps:
        mask = mask_name(environment)
        or_mask = "" if mask is None else f", or {mask} of {environment.name} allowed no action,"
        return f", as a reward or an observation of the environment was{or_mask} in {counters.nonfinite_steps:,} steps"
    for values, what in ((returns, "returns"), (observations, "observations")):
        largest = np.max(np.abs(values))
        if largest > HARMLESS:
            option = "observations" if what == "observations" else "rewards"
            return f", as {what} of the environment are as large as {largest:.0e} (--normalize-{option} scales them)"
    return ""
