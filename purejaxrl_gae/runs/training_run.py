"""One run from start to summary: the compiled program in a loop, and what happens between its calls.

A run trains one agent, or several that differ in their seeds; what is reported then has one value for each seed.
"""

import time
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.environments import HostEnvironment
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.program.experience import SCORE_WINDOW
from purejaxrl_gae.program.optimizers import say_schedule
from purejaxrl_gae.program.types import Counters
from purejaxrl_gae.runs import devices, provenance, reports
from purejaxrl_gae.runs.announcements import (
    became_nonfinite,
    say_how_it_ended,
    say_what_next,
    say_what_runs,
    say_why_it_stopped,
)
from purejaxrl_gae.runs.callbacks import CallbackFailure, Callbacks, OnReport
from purejaxrl_gae.runs.compilation_cache import use_compilation_cache
from purejaxrl_gae.runs.device_memory import keep_freed_memory
from purejaxrl_gae.runs.display import Display
from purejaxrl_gae.runs.host_programs import HostAgent, refuse_what_needs_compiled_environments
from purejaxrl_gae.runs.interrupts import StopRequests
from purejaxrl_gae.runs.keeping import Keeping
from purejaxrl_gae.runs.playing import make_evaluator
from purejaxrl_gae.runs.policy_file import write_policies
from purejaxrl_gae.runs.programs import AgentPrograms, OneAgent, Programs
from purejaxrl_gae.runs.reports import Clock, scores
from purejaxrl_gae.runs.run_folder import RunFolder, new_run_path
from purejaxrl_gae.runs.run_options import HOST_REPORT_STEPS, REPORT_STEPS, RunOptions
from purejaxrl_gae.runs.saved import start_from
from purejaxrl_gae.runs.scoring import Scores, play_both_ways
from purejaxrl_gae.settings import config
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import EnvironmentFailure, RunError, described


def run(
    training_config: TrainingConfig, options: RunOptions, preset: str | None = None, on_report: OnReport | None = None
) -> dict[str, Any]:
    """Trains, or goes on training, and writes the run folder.

    Args:
      training_config: of any algorithm; for a resumed run the one its folder holds.
      options: see RunOptions.
      preset: that the config began with, for the summary.
      on_report: called between compiled stretches with what was reported, a dict of numbers, or lists of one for each
        seed; the run ends, evaluated and saved, once it returns True.

    Returns:
      The summary, as written to summary.json.

    Raises:
      UserError: a field is wrong.
      RunError: it met something not finite, no checkpoint fits, a callback raised, or something could not be written.
      Interrupted: Ctrl-C, SIGTERM or SIGHUP; the state has been saved.
    """
    options.validate()
    options.seeds_from(training_config.seed)
    callbacks = Callbacks(on_report, options.callback)
    keep_freed_memory()
    claimed = devices.claim(options, options.num_seeds)
    algorithm = algorithms.make_algorithm(training_config)
    refuse_what_needs_compiled_environments(algorithm, options)
    if options.compilation_cache:
        use_compilation_cache()
    writes = devices.is_writer()
    path = options.resume or options.run_dir
    if options.resume is None and writes:
        env = config.to_plain(training_config)["env"]
        path = new_run_path(options.run_dir, env, training_config.algorithm, training_config.seed)
    assert path is not None
    agents, steps = options.num_seeds, training_config.env_steps
    display = Display(steps, enabled=options.progress, muted=not writes, agents=agents)
    reserved = options.resume is None and options.run_dir is None
    folder = RunFolder(path, display.complain, tensorboard=options.tensorboard, writes=writes, reserved=reserved)
    origin = provenance.of_this_process(preset)
    with StopRequests() as stop:
        try:
            if options.resume is not None:
                folder.lock("resume")
            return Session(algorithm, options, folder, display, claimed, origin, callbacks).run(stop)
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
      claimed: devices to train on.
      origin: where this process came from.
      callbacks: called with each report.
    """

    def __init__(
        self,
        algorithm: Any,
        options: RunOptions,
        folder: RunFolder,
        display: Display,
        claimed: list[jax.Device],
        origin: dict[str, Any],
        callbacks: Callbacks,
    ):
        self.callbacks = callbacks
        self.algorithm, self.options, self.folder, self.display = algorithm, options, folder, display
        self.is_on_host = isinstance(algorithm.setup.environment, HostEnvironment)
        self.devices = claimed[:1] if self.is_on_host else claimed
        self.config: TrainingConfig = algorithm.setup.config
        self.seeds = options.seeds_from(self.config.seed)
        self.clock = Clock()
        self.keeping = Keeping(self.config, options, folder, display, self.clock, {**origin, "resumed": []})
        self._evaluate = make_evaluator(algorithm.setup, options.num_seeds, options.eval_episodes)

    def _scores(self, learners: Any) -> Scores:
        return play_both_ways(self._evaluate, learners, self.seeds)

    def run(self, stop: StopRequests) -> dict[str, Any]:
        """Runs everything from the first program to the summary."""
        say_what_runs(self.display, self.algorithm.setup, self.seeds, self.devices, self.folder.path)
        programs = self._compile()
        self.clock.compile = programs.compile_seconds
        try:
            state, updates = self._start(programs)
            self.display.start()
            state, updates, reached_goal = self._train(programs, state, updates, stop)
            saved = programs.save(state)
        finally:
            programs.close()
        return self._finish(saved, updates, reached_goal)

    def _compile(self) -> Programs:
        if self.is_on_host:
            return HostAgent(self.algorithm)
        meanwhile = self._evaluate.compile_ahead
        if len(self.seeds) == 1:  # its environments are divided among the devices, not agents
            return OneAgent(self.algorithm, self.devices, meanwhile)
        each = jax.tree.map(lambda value: np.full(len(self.seeds), value), self.algorithm.hyperparameters)
        return AgentPrograms(self.algorithm, len(self.seeds), self.devices, meanwhile).run_of(self.seeds, each)

    def _train(self, programs: Programs, state: Any, updates: int, stop: StopRequests) -> tuple[Any, int, bool]:
        """Loops until the last update, the goal score, a callback's word, or an exception."""
        report_steps = HOST_REPORT_STEPS if self.is_on_host else REPORT_STEPS
        report_every = self.options.report_every(self.config.steps_per_update, self.config.num_updates, report_steps)
        while updates < self.config.num_updates:
            if self._asked_to_stop(stop):
                self.keeping.stop(programs.save(state), updates, stop.signal)
            started = time.perf_counter()
            before = updates
            try:
                state, stretch = programs.advance(state, min(report_every, self.config.num_updates - updates))
            except EnvironmentFailure as failure:
                raise self.keeping.failed(failure, programs.save(state), updates) from failure
            updates += stretch.updates
            self.clock.run += time.perf_counter() - started
            if not stretch.healthy.all():
                saved, checkpoints = programs.save(state), self.keeping.checkpoints
                raise became_nonfinite(self.algorithm.setup, updates, self.seeds, stretch.healthy, saved, checkpoints)

            started = time.perf_counter()
            record = reports.record(self.config, self.clock, stretch, updates)
            try:
                evaluated = self._evaluate_if_due(programs, state, before, updates, record)
            except EnvironmentFailure as failure:
                raise self.keeping.failed(failure, programs.save(state), updates) from failure
            finally:
                self.folder.report(record, list(self.seeds))
            last = updates == self.config.num_updates
            speed = record["steps_per_second"]
            self.display.update(record["env_steps"], speed, float(np.mean(record["score_last100"])), last=last)
            if not last and self.keeping.is_due(before, updates):
                self.keeping.save(programs.save(state), updates)
            self.clock.run += time.perf_counter() - started - evaluated
            try:
                stops = self.callbacks.stop_after(record)
            except CallbackFailure as failure:
                raise self.keeping.failed(failure, programs.save(state), updates) from failure
            reached = self._goal_reached(stretch.counters)
            if (reached or stops) and not last:
                say_why_it_stopped(self.display, record["env_steps"], self.options.goal_score if reached else None)
            if reached or stops:
                return state, updates, reached
        return state, updates, False

    def _start(self, programs: Programs) -> tuple[Any, int]:
        """Returns the first state, or the newest that was saved, and the updates made until then."""
        if self.options.resume is None:
            state = self._fresh(programs)
            self.keeping.begin()
            return state, 0
        restored = self.keeping.restore(programs.saved_types)
        if restored is None:
            return self._fresh(programs), 0
        name = self.algorithm.setup.environment.name
        anew = f", with new episodes: {name} runs on the host, and its state is not saved"
        updates = restored.step // self.config.steps_per_update
        self.display.say(f"resumed at step {restored.step:,}{anew if self.is_on_host else ''}")
        if schedule := say_schedule(self.config, updates):
            self.display.say(f"schedule: {schedule}")
        return programs.load(restored.state), updates

    def _fresh(self, programs: Programs) -> Any:
        """Makes the first state, with another run's weights where the options name one."""
        state = programs.init()
        if self.options.init_from is None:
            return state
        return programs.load(start_from(self.options.init_from, programs.save(state)))

    def _evaluate_if_due(
        self, programs: Programs, state: Any, before: int, updates: int, record: dict[str, Any]
    ) -> float:
        """Adds an evaluation to the record where one is due; seconds it took."""
        if not self.config.crossed(self.options.eval_freq, before, updates) or updates == self.config.num_updates:
            return 0.0
        started = time.perf_counter()
        record |= reports.of_evaluation(self._scores(programs.save(state).learner))
        seconds = time.perf_counter() - started
        self.clock.evaluation += seconds
        return seconds

    def _goal_reached(self, counters: Counters) -> bool:
        goal = self.options.goal_score
        full = np.all(counters.episodes >= SCORE_WINDOW)
        return goal is not None and bool(full) and bool(np.all(scores(counters) >= goal))

    def _asked_to_stop(self, stop: StopRequests) -> bool:
        return devices.agree(stop.signal is not None)

    def _finish(self, saved: Any, updates: int, reached_goal: bool) -> dict[str, Any]:
        """Writes policy files and the last checkpoint before anything that can fail, then evaluation and summary."""
        self.folder.complain_no_more()
        complain = self.display.complain
        policy, rescued = write_policies(self.folder, self.algorithm.setup, saved.learner, self.seeds, complain)
        self.keeping.save(saved, updates)
        evaluated = self._evaluated(saved.learner, rescued)
        self.display.stop()
        summary = reports.summary(
            self.config, self.clock, saved.counters, updates, evaluated, self.seeds, len(self.devices)
        ) | {"goal_score": self.options.goal_score, "goal_reached": reached_goal, **self.keeping.origin}
        self.folder.write_summary(summary)
        self.folder.flush()
        say_how_it_ended(self.display, summary, evaluated)
        if self.folder.failing:
            raise RunError(f"training ended well, but {self._unwritten(rescued)}")
        say_what_next(self.display, self.folder.path, self.config, policy)
        return summary

    def _evaluated(self, learner: Any, rescued: str) -> Scores:
        """Makes the last evaluation.

        Raises:
          RunError: it failed, in whatever way; the training is in its folder by then.
        """
        started = time.perf_counter()
        try:
            evaluated = self._scores(learner)
        except Exception as error:
            kept = self._unwritten(rescued) if self.folder.failing else f"it is saved in {self.folder.path}"
            raise RunError(
                f"training ended and {kept}, but its evaluation failed ({described(error)}); evaluate it by "
                f"{self.keeping.resume_command} --eval-episodes NUMBER"
            ) from error
        self.clock.evaluation += time.perf_counter() - started
        return evaluated

    def _unwritten(self, rescued: str) -> str:
        return f"{self.folder.missing()} could not be written to {self.folder.path}{rescued}"
