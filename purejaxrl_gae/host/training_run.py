"""One run from start to summary: the compiled program in a loop, and what happens between its calls."""

import importlib.metadata
import platform
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from purejaxrl_gae import algorithms, config
from purejaxrl_gae.config import TrainingConfig
from purejaxrl_gae.errors import Interrupted, RunError
from purejaxrl_gae.host.checkpoints import Checkpoints
from purejaxrl_gae.host.display import Display
from purejaxrl_gae.host.interrupts import StopRequests
from purejaxrl_gae.host.options import SAVED_OPTIONS, RunOptions
from purejaxrl_gae.host.policy_file import policy_bytes
from purejaxrl_gae.host.programs import (
    Programs,
    compile_programs,
    describe_device,
    make_evaluator,
    use_compilation_cache,
)
from purejaxrl_gae.host.run_folder import RunFolder, new_run_path, replace_file
from purejaxrl_gae.rollout import SCORE_WINDOW
from purejaxrl_gae.training import Progress, TrainState

CHECKPOINT_SECONDS = 30.0
SOLVED_SCORES = {
    "Pendulum-v1": -200.0,
    "CartPole-v1": 475.0,
    "Acrobot-v1": -100.0,
    "MountainCar-v0": -110.0,
    "MountainCarContinuous-v0": 90.0,
}
PACKAGES = ("purejaxrl-gae", "jax", "jaxlib", "flax", "optax", "gymnax", "numpy")


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


def run(training_config: TrainingConfig, options: RunOptions) -> dict[str, Any]:
    """Trains, or goes on training, and writes the run folder.

    Args:
      training_config: of any algorithm; for a resumed run the one its folder holds.
      options: see RunOptions.

    Returns:
      The summary, as written to summary.json.

    Raises:
      UserError: a field is wrong.
      RunError: the run met something not finite, or no checkpoint fits.
      Interrupted: Ctrl-C or SIGTERM; the state has been saved.
    """
    options.validate()
    algorithm = algorithms.make_algorithm(training_config)
    if options.compilation_cache:
        use_compilation_cache()
    path = options.resume or new_run_path(
        options.run_dir, config.to_plain(training_config)["env"], training_config.algorithm, training_config.seed
    )
    display = Display(training_config.env_steps, enabled=options.progress)
    folder = RunFolder(path, display.complain, tensorboard=options.tensorboard)
    if options.resume is None:
        saved_options = {name: getattr(options, name) for name in SAVED_OPTIONS}
        folder.write_config(
            {"algorithm": training_config.algorithm, **config.to_plain(training_config), **saved_options}
        )
    session = Session(algorithm, options, folder, display)
    with StopRequests() as stop:
        try:
            return session.run(stop)
        finally:
            display.stop()
            folder.close()


class Session:
    """The parts of one run in one process.

    Args:
      algorithm: what to train.
      options: see RunOptions.
      folder: where to write.
      display: what to show.
    """

    def __init__(self, algorithm: Any, options: RunOptions, folder: RunFolder, display: Display):
        self.algorithm, self.options, self.folder, self.display = algorithm, options, folder, display
        self.config: TrainingConfig = algorithm.setup.config
        self.checkpoints = Checkpoints(folder.path / "checkpoints", options.keep_checkpoints)
        self.evaluate = make_evaluator(algorithm, options.eval_episodes)
        self.clock = Clock()
        self.last_checkpoint = time.monotonic()

    def run(self, stop: StopRequests) -> dict[str, Any]:
        """From the first program to the summary."""
        self._say_what_runs()
        programs = compile_programs(self.algorithm)
        self.clock.compile = programs.compile_seconds
        state = self._starting_state(programs)
        self.display.start()
        state, reached_goal = self._train(programs, state, stop)
        self._checkpoint(state)
        return self._finish(state, reached_goal)

    def _train(self, programs: Programs, state: TrainState, stop: StopRequests) -> tuple[TrainState, bool]:
        """The loop; ends at the last update, at the goal score, or by an exception."""
        report_every = self.options.report_every(self.config.steps_per_update)
        updates = int(state.counters.updates)
        while updates < self.config.num_updates:
            if stop.signal is not None:
                self._stop(state, stop)
            started = time.perf_counter()
            before = updates
            state, progress = programs.advance(state, min(report_every, self.config.num_updates - updates))
            updates += int(progress.updates)
            self.clock.run += time.perf_counter() - started
            if not progress.healthy:
                raise self._nonfinite(updates)

            started = time.perf_counter()
            record = self._record(state, progress, before, updates)
            evaluated = self._evaluate_if_due(state, before, updates, record)
            self.folder.report(record)
            last = updates == self.config.num_updates
            self.display.update(record["env_steps"], record["steps_per_second"], record["score_last100"], last=last)
            if not last:
                self._checkpoint_if_due(state, before, updates)
            self.clock.run += time.perf_counter() - started - evaluated
            if self._goal_reached(state):
                return state, True
        return state, False

    def _starting_state(self, programs: Programs) -> TrainState:
        if self.options.resume is None:
            return programs.init()
        restored = self.checkpoints.restore(programs.state_types, self.display.complain)
        if restored is None:
            self.display.say("no checkpoint had been written yet: starting from the first step")
            self.folder.forget_after(0)
            return programs.init()
        self.folder.forget_after(restored.step)
        self.clock.run = restored.about["run_seconds"]
        self.clock.evaluation = restored.about["evaluation_seconds"]
        self.clock.compile += restored.about["compile_seconds"]
        self.display.say(f"resumed at step {restored.step:,}")
        return restored.state

    def _record(self, state: TrainState, progress: Progress, before: int, updates: int) -> dict[str, Any]:
        """What one report says; NaN where no episode ended."""
        env_steps = updates * self.config.steps_per_update
        episodes = int(progress.totals.episodes)
        record: dict[str, Any] = {
            "update": updates,
            "env_steps": env_steps,
            "wall_seconds": round(self.clock.run + self.clock.evaluation, 6),
            "steps_per_second": env_steps / self.clock.run,
            "episodes": episodes,
            "episodic_return": float(progress.totals.returns) / episodes if episodes else float("nan"),
            "episodic_length": float(progress.totals.lengths) / episodes if episodes else float("nan"),
            "score_last100": score(state),
        }
        record |= {name: float(value) for name, value in progress.metrics.items()}
        if self.config.on_nonfinite == "skip":
            record["skipped_updates"] = int(state.counters.skipped_updates)
            record["nonfinite_steps"] = int(state.counters.nonfinite_steps)
        return record

    def _evaluate_if_due(self, state: TrainState, before: int, updates: int, record: dict[str, Any]) -> float:
        """Adds an evaluation to the record where one is due; seconds it took."""
        if not self._crossed(self.options.eval_freq, before, updates) or updates == self.config.num_updates:
            return 0.0
        started = time.perf_counter()
        returns = self.evaluate(state.learner, self.config.seed).returns
        record["eval_return_mean"], record["eval_return_std"] = float(returns.mean()), float(returns.std())
        seconds = time.perf_counter() - started
        self.clock.evaluation += seconds
        return seconds

    def _checkpoint_if_due(self, state: TrainState, before: int, updates: int) -> None:
        if self.options.checkpoint_freq:
            due = self._crossed(self.options.checkpoint_freq, before, updates)
        else:
            due = time.monotonic() - self.last_checkpoint >= CHECKPOINT_SECONDS
        if due:
            self._checkpoint(state)

    def _checkpoint(self, state: TrainState) -> bool:
        step = int(state.counters.updates) * self.config.steps_per_update
        about = {
            "run_seconds": self.clock.run,
            "evaluation_seconds": self.clock.evaluation,
            "compile_seconds": self.clock.compile,
            "versions": versions(),
        }
        self.last_checkpoint = time.monotonic()
        return self.folder.attempt("a checkpoint", lambda: self.checkpoints.save(step, state, about))

    def _crossed(self, frequency: int, before: int, updates: int) -> bool:
        """A multiple of `frequency` environment steps lies between two update counts."""
        per_update = self.config.steps_per_update
        return frequency > 0 and before * per_update // frequency != updates * per_update // frequency

    def _goal_reached(self, state: TrainState) -> bool:
        goal = self.options.goal_score
        full = int(state.counters.episodes) >= SCORE_WINDOW
        return goal is not None and full and score(state) >= goal

    def _stop(self, state: TrainState, stop: StopRequests) -> None:
        self.display.stop()
        assert stop.signal is not None
        step = int(state.counters.updates) * self.config.steps_per_update
        if self._checkpoint(state):
            module = f"purejaxrl_gae.{self.config.algorithm}"
            self.display.say(
                f"{stop.signal.name}: saved at step {step:,}; continue with: "
                f"python -m {module} --resume {self.folder.path}"
            )
        raise Interrupted(128 + int(stop.signal))

    def _nonfinite(self, updates: int) -> RunError:
        steps = self.checkpoints.steps()
        good = str(self.checkpoints.path(steps[-1])) if steps else "none was written yet (see --checkpoint-freq)"
        step = updates * self.config.steps_per_update
        return RunError(
            f"update {updates} (step {step:,}) made a loss or a parameter NaN or infinite; the run stops before it. "
            f"Last good checkpoint: {good}"
        )

    def _say_what_runs(self) -> None:
        plain, steps = config.to_plain(self.config), self.config.env_steps
        rounded = "" if steps == self.config.total_timesteps else f", rounded up from {self.config.total_timesteps:,}"
        self.display.say(
            f"{self.config.algorithm} on {plain['env']}, seed {self.config.seed}, {describe_device()}: "
            f"{steps:,} steps{rounded}, {self.config.num_updates:,} updates -> {self.folder.path}"
        )
        for note in self.config.notes():
            self.display.complain(f"note: {note}")

    def _finish(self, state: TrainState, reached_goal: bool) -> dict[str, Any]:
        """Evaluation, policy file, summary."""
        started = time.perf_counter()
        returns = np.asarray(self.evaluate(state.learner, self.config.seed).returns)
        self.clock.evaluation += time.perf_counter() - started
        self.display.stop()
        policy = policy_bytes(self.algorithm.setup, state.learner)
        self.folder.attempt("policy.npz", lambda: replace_file(self.folder.path / "policy.npz", policy))
        summary = self._summary(state, returns, reached_goal)
        self.folder.write_summary(summary)
        solved = {None: "", True: "  solved", False: "  not solved"}[summary["solved"]]
        self.display.say(
            f"{summary['env_steps']:,} steps in {summary['run_seconds']:.1f} s ({summary['steps_per_second']:,.0f} "
            f"steps/s) after {summary['compile_seconds']:.1f} s of compiling; "
            f"evaluation over {len(returns)} episodes: {returns.mean():.1f} ± {returns.std():.1f}{solved}"
        )
        if self.folder.is_damaged:
            raise RunError(f"training ended well, but not everything could be written to {self.folder.path}; see above")
        return summary

    def _summary(self, state: TrainState, returns: np.ndarray, reached_goal: bool) -> dict[str, Any]:
        env = config.to_plain(self.config)["env"]
        env_steps = int(state.counters.updates) * self.config.steps_per_update
        solved_score = SOLVED_SCORES.get(env)
        return {
            "env": env,
            "algo": self.config.algorithm,
            "seed": self.config.seed,
            "env_steps": env_steps,
            "updates": int(state.counters.updates),
            "episodes": int(state.counters.episodes),
            "compile_seconds": round(self.clock.compile, 3),
            "run_seconds": round(self.clock.run, 3),
            "evaluation_seconds": round(self.clock.evaluation, 3),
            "steps_per_second": round(env_steps / max(self.clock.run, 1e-9), 1),
            "train_return_last100": score(state),
            "eval_return_mean": float(returns.mean()),
            "eval_return_std": float(returns.std()),
            "eval_episodes": len(returns),
            "solved_score": solved_score,
            "solved": None if solved_score is None else bool(returns.mean() >= solved_score),
            "goal_score": self.options.goal_score,
            "goal_reached": reached_goal,
            "skipped_updates": int(state.counters.skipped_updates),
            "nonfinite_steps": int(state.counters.nonfinite_steps),
            "versions": versions(),
            "device": describe_device(),
        }


def score(state: TrainState) -> float:
    """Mean return of the last 100 training episodes, or of all where there were fewer; NaN before the first."""
    recent = np.asarray(state.counters.recent_returns, np.float64)
    ended = recent[: min(int(state.counters.episodes), SCORE_WINDOW)]
    return float(ended.mean()) if ended.size else float("nan")


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
