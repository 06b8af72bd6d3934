"""One run from start to summary: the compiled program in a loop, and what happens between its calls.

A run trains one agent, or several that differ in their seeds; what is reported then has one value for each seed.
"""

import signal
import time
from typing import Any

import jax
import numpy as np

from purejaxrl_gae import algorithms, config, training
from purejaxrl_gae.config import TrainingConfig
from purejaxrl_gae.environments import HostEnvironment
from purejaxrl_gae.errors import Interrupted, RunError
from purejaxrl_gae.host import devices, provenance, reports
from purejaxrl_gae.host.announcements import became_nonfinite, say_how_it_ended, say_what_runs
from purejaxrl_gae.host.checkpoints import CHECKPOINT_SECONDS, Checkpoints
from purejaxrl_gae.host.display import Display
from purejaxrl_gae.host.host_programs import compile_host_agent
from purejaxrl_gae.host.interrupts import StopRequests
from purejaxrl_gae.host.memory import keep_freed_memory
from purejaxrl_gae.host.options import HOST_REPORT_STEPS, REPORT_STEPS, SAVED_OPTIONS, RunOptions
from purejaxrl_gae.host.policy_file import has_numpy_form, policy_bytes
from purejaxrl_gae.host.programs import (
    AgentPrograms,
    Programs,
    compile_one_agent,
    make_agents_evaluator,
    make_evaluator,
    use_compilation_cache,
)
from purejaxrl_gae.host.reports import Clock, scores, versions
from purejaxrl_gae.host.run_folder import RunFolder, new_run_path, replace_file, seed_folder
from purejaxrl_gae.host.scoring import play_both_ways
from purejaxrl_gae.optimizers import say_schedule
from purejaxrl_gae.program.types import Counters
from purejaxrl_gae.rollout import SCORE_WINDOW


def run(training_config: TrainingConfig, options: RunOptions, preset: str | None = None) -> dict[str, Any]:
    """Trains, or goes on training, and writes the run folder.

    Args:
      training_config: of any algorithm; for a resumed run the one its folder holds.
      options: see RunOptions.
      preset: that the config began with, for the summary.

    Returns:
      The summary, as written to summary.json.

    Raises:
      UserError: a field is wrong.
      RunError: the run met something not finite, or no checkpoint fits.
      Interrupted: Ctrl-C or SIGTERM; the state has been saved.
    """
    options.validate()
    options.seeds_from(training_config.seed)
    keep_freed_memory()
    claimed = devices.claim(options, options.num_seeds)
    algorithm = algorithms.make_algorithm(training_config)
    _refuse_what_only_pure_environments_can(algorithm, options)
    if options.compilation_cache:
        use_compilation_cache()
    writes = devices.is_writer()
    path = options.resume or options.run_dir
    if options.resume is None and writes:
        env = config.to_plain(training_config)["env"]
        path = new_run_path(options.run_dir, env, training_config.algorithm, training_config.seed)
    assert path is not None
    display = Display(training_config.env_steps, enabled=options.progress, muted=not writes)
    folder = RunFolder(path, display.complain, tensorboard=options.tensorboard, writes=writes)
    if options.resume is None:
        saved_options = {name: getattr(options, name) for name in SAVED_OPTIONS}
        folder.write_config(
            {"algorithm": training_config.algorithm, **config.to_plain(training_config), **saved_options}
        )
    session = Session(algorithm, options, folder, display, claimed, provenance.of_this_process(preset))
    with StopRequests() as stop:
        try:
            return session.run(stop)
        finally:
            display.stop()
            folder.close()


def _refuse_what_only_pure_environments_can(algorithm: Any, options: RunOptions) -> None:
    """Options that need the environment inside the compiled program."""
    for name in ("num_seeds", "devices", "num_processes"):
        if getattr(options, name) > 1:
            training.require_pure(algorithm.setup.environment, f"{name} = {getattr(options, name)}")


class Session:
    """The parts of one run in one process.

    Args:
      algorithm: what to train.
      options: see RunOptions.
      folder: where to write.
      display: what to show.
      claimed: devices to train on.
      origin: where this process came from.
    """

    def __init__(
        self,
        algorithm: Any,
        options: RunOptions,
        folder: RunFolder,
        display: Display,
        claimed: list[jax.Device],
        origin: dict[str, Any],
    ):
        self.origin: dict[str, Any] = {**origin, "resumed": []}
        self.algorithm, self.options, self.folder, self.display = algorithm, options, folder, display
        self.is_on_host = isinstance(algorithm.setup.environment, HostEnvironment)
        self.devices = claimed[:1] if self.is_on_host else claimed
        self.config: TrainingConfig = algorithm.setup.config
        self.seeds = options.seeds_from(self.config.seed)
        self.checkpoints = Checkpoints(folder.path / "checkpoints", options.keep_checkpoints)
        self.clock = Clock()
        self.last_checkpoint = time.monotonic()
        if self._is_alone:
            evaluate = make_evaluator(algorithm, options.eval_episodes)
            self._scores = lambda learner: play_both_ways(evaluate, learner, self.config.seed)
        else:
            evaluate_agents = make_agents_evaluator(algorithm, options.num_seeds, options.eval_episodes)
            self._scores = lambda learners: play_both_ways(evaluate_agents, learners, self.seeds)

    @property
    def _is_alone(self) -> bool:
        return self.options.num_seeds == 1

    def run(self, stop: StopRequests) -> dict[str, Any]:
        """From the first program to the summary."""
        say_what_runs(self.display, self.config, self.seeds, self.devices, self.folder.path)
        programs = self._compile()
        self.clock.compile = programs.compile_seconds
        try:
            state, updates = self._start(programs)
            self.display.start()
            state, updates, reached_goal = self._train(programs, state, updates, stop)
            saved = programs.save(state)
        finally:
            programs.close()
        self._checkpoint(saved, updates)
        return self._finish(saved, updates, reached_goal)

    def _compile(self) -> Programs:
        if self.is_on_host:
            return compile_host_agent(self.algorithm)
        if self._is_alone:
            return compile_one_agent(self.algorithm, self.devices)
        each = jax.tree.map(lambda value: np.full(len(self.seeds), value), self.algorithm.hyperparameters)
        return AgentPrograms(self.algorithm, len(self.seeds), self.devices).run_of(self.seeds, each)

    def _train(self, programs: Programs, state: Any, updates: int, stop: StopRequests) -> tuple[Any, int, bool]:
        """The loop; ends at the last update, at the goal score, or by an exception."""
        report_steps = HOST_REPORT_STEPS if self.is_on_host else REPORT_STEPS
        report_every = self.options.report_every(self.config.steps_per_update, self.config.num_updates, report_steps)
        while updates < self.config.num_updates:
            if self._asked_to_stop(stop):
                self._stop(programs.save(state), updates, stop)
            started = time.perf_counter()
            before = updates
            state, stretch = programs.advance(state, min(report_every, self.config.num_updates - updates))
            updates += stretch.updates
            self.clock.run += time.perf_counter() - started
            if not stretch.healthy.all():
                sick = self.seeds[:0] if self._is_alone else self.seeds[~stretch.healthy]
                raise became_nonfinite(self.config, updates, sick, programs.save(state), self.checkpoints)

            started = time.perf_counter()
            record = reports.record(self.config, self.clock, stretch, updates)
            evaluated = self._evaluate_if_due(programs, state, before, updates, record)
            self.folder.report(record, list(self.seeds))
            last = updates == self.config.num_updates
            speed = record["steps_per_second"]
            self.display.update(record["env_steps"], speed, float(np.mean(record["score_last100"])), last=last)
            if not last and self._checkpoint_is_due(before, updates):
                self._checkpoint(programs.save(state), updates)
            self.clock.run += time.perf_counter() - started - evaluated
            if self._goal_reached(stretch.counters):
                return state, updates, True
        return state, updates, False

    def _start(self, programs: Programs) -> tuple[Any, int]:
        """The first state, or the newest that was saved, and the updates made until then."""
        if self.options.resume is None:
            return programs.init(), 0
        restored = self.checkpoints.restore(programs.saved_types, self.display.complain)
        if restored is None:
            self.display.say("no checkpoint had been written yet: starting from the first step")
            self.folder.forget_after(0)
            return programs.init(), 0
        self.folder.forget_after(restored.step)
        self.clock.run = restored.about["run_seconds"]
        self.clock.evaluation = restored.about["evaluation_seconds"]
        self.clock.compile += restored.about["compile_seconds"]
        self.origin = provenance.continued(restored.about.get("origin"), self.origin)
        name = self.algorithm.setup.environment.name
        anew = f", with new episodes: {name} runs on the host, and its state is not saved"
        updates = restored.step // self.config.steps_per_update
        self.display.say(f"resumed at step {restored.step:,}{anew if self.is_on_host else ''}")
        if schedule := say_schedule(self.config, updates):
            self.display.say(f"annealed: {schedule}")
        return programs.load(restored.state), updates

    def _evaluate_if_due(
        self, programs: Programs, state: Any, before: int, updates: int, record: dict[str, Any]
    ) -> float:
        """Adds an evaluation to the record where one is due; seconds it took."""
        if not self._crossed(self.options.eval_freq, before, updates) or updates == self.config.num_updates:
            return 0.0
        started = time.perf_counter()
        record |= reports.of_evaluation(self._scores(programs.save(state).learner))
        seconds = time.perf_counter() - started
        self.clock.evaluation += seconds
        return seconds

    def _checkpoint_is_due(self, before: int, updates: int) -> bool:
        if self.options.checkpoint_freq:
            return self._crossed(self.options.checkpoint_freq, before, updates)
        return devices.agree(time.monotonic() - self.last_checkpoint >= CHECKPOINT_SECONDS)

    def _checkpoint(self, saved: Any, updates: int) -> bool:
        about = {
            "run_seconds": self.clock.run,
            "evaluation_seconds": self.clock.evaluation,
            "compile_seconds": self.clock.compile,
            "versions": versions(),
            "origin": self.origin,
        }
        self.last_checkpoint = time.monotonic()
        step = updates * self.config.steps_per_update
        return self.folder.attempt("a checkpoint", lambda: self.checkpoints.save(step, saved, about))

    def _crossed(self, frequency: int, before: int, updates: int) -> bool:
        """A multiple of `frequency` environment steps lies between two update counts."""
        per_update = self.config.steps_per_update
        return frequency > 0 and before * per_update // frequency != updates * per_update // frequency

    def _goal_reached(self, counters: Counters) -> bool:
        goal = self.options.goal_score
        full = np.all(counters.episodes >= SCORE_WINDOW)
        return goal is not None and bool(full) and bool(np.all(scores(counters) >= goal))

    def _asked_to_stop(self, stop: StopRequests) -> bool:
        return devices.agree(stop.signal is not None)

    def _stop(self, saved: Any, updates: int, stop: StopRequests) -> None:
        self.display.stop()
        step = updates * self.config.steps_per_update
        number = stop.signal or signal.SIGTERM  # where another process got the signal
        if self._checkpoint(saved, updates):
            module = f"purejaxrl_gae.{self.config.algorithm}"
            self.display.say(
                f"{number.name}: saved at step {step:,}; continue with: python -m {module} --resume {self.folder.path}"
            )
        raise Interrupted(128 + int(number))

    def _finish(self, saved: Any, updates: int, reached_goal: bool) -> dict[str, Any]:
        """Evaluation, policy files, summary."""
        started = time.perf_counter()
        evaluated = self._scores(saved.learner)
        self.clock.evaluation += time.perf_counter() - started
        self.display.stop()
        self._write_policies(saved.learner)
        counters = jax.tree.map(lambda leaf: np.asarray(leaf)[None], saved.counters)
        counters = counters if self._is_alone else saved.counters
        summary = reports.summary(
            self.config, self.clock, counters, updates, evaluated, self.seeds, len(self.devices)
        ) | {"goal_score": self.options.goal_score, "goal_reached": reached_goal, **self.origin}
        self.folder.write_summary(summary)
        say_how_it_ended(self.display, summary, evaluated, self.folder.path)
        if self.folder.is_damaged:
            raise RunError(f"training ended well, but not everything could be written to {self.folder.path}; see above")
        return summary

    def _write_policies(self, learner: Any) -> None:
        """policy.npz, or one in each seed's folder; none of a network of the user's own."""
        if not has_numpy_form(self.algorithm.setup):
            return
        learners = jax.tree.map(lambda leaf: np.asarray(leaf)[None], learner) if self._is_alone else learner
        for index, seed in enumerate(self.seeds):
            policy = policy_bytes(self.algorithm.setup, jax.tree.map(lambda leaf, i=index: leaf[i], learners))
            folder = self.folder.path if self._is_alone else seed_folder(self.folder.path, int(seed))
            self.folder.attempt("policy.npz", lambda: replace_file(folder / "policy.npz", policy))  # noqa: B023
