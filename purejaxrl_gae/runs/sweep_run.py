"""A sweep from its list of configurations to the ranked table; what differs only in traced values compiles once."""

import json
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs import devices, sweep_results
from purejaxrl_gae.runs.checkpoints import CHECKPOINT_SECONDS, Checkpoints
from purejaxrl_gae.runs.compilation_cache import use_compilation_cache
from purejaxrl_gae.runs.device_memory import available_bytes, bytes_per_agent, keep_freed_memory
from purejaxrl_gae.runs.display import Display
from purejaxrl_gae.runs.folder import Folder, rescue
from purejaxrl_gae.runs.interrupts import StopRequests
from purejaxrl_gae.runs.playing import make_evaluator
from purejaxrl_gae.runs.programs import AgentPrograms, describe_device
from purejaxrl_gae.runs.reports import scores, versions
from purejaxrl_gae.runs.run_folder import plain_number
from purejaxrl_gae.runs.run_options import SweepOptions
from purejaxrl_gae.runs.sweep_chunks import Chunk, divide
from purejaxrl_gae.settings import config
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import Interrupted, RunError, described

TABLE_ROWS = 20
RESULTS = "results.jsonl"


class Sweep:
    """One sweep in one process.

    Args:
      base: config that every configuration changes.
      options: see SweepOptions.
      folder: of the sweep; a new one is made once the first program is compiled.
      display: what to show.
      claimed: devices to train on.
    """

    def __init__(
        self, base: TrainingConfig, options: SweepOptions, folder: Folder, display: Display, claimed: list[jax.Device]
    ):
        self.base, self.options, self.folder, self.path, self.display = base, options, folder, folder.path, display
        self.devices = claimed
        self.seeds = options.seeds_from(base.seed)
        self._is_made = options.resume is not None
        self._stored = sweep_results.read(self.path / RESULTS, display.complain) if self._is_made else {}
        self.results: dict[int, sweep_results.Result] = {}
        self.compiled: dict[tuple[str, int], tuple[AgentPrograms, Any]] = {}
        self.env_steps, self.run_seconds, self.compile_seconds = 0, 0.0, 0.0

    def train(self, configurations: list[dict[str, Any]], first_index: int, stop: StopRequests) -> None:
        """Trains what has no result yet; results are in `self.results` and results.jsonl."""
        chunks = self._chunks(configurations, first_index)
        about = (configurations, first_index, self.seeds)
        self.results |= sweep_results.of_configurations(self._stored, *about, self.display.complain)
        for number, chunk in enumerate(chunks):
            if all(index in self.results for index in chunk.indices):
                continue
            self._train_chunk(chunk, f"chunk {number + 1} of {len(chunks)}", stop)

    def _chunks(self, configurations: list[dict[str, Any]], first_index: int) -> list[Chunk]:
        """Divides the configurations, and says into what."""
        options, number = self.options, len(self.seeds)
        chunks = divide(self.base, configurations, first_index, number, options.max_agents, self.devices)
        agents = len(configurations) * number
        needed = bytes_per_agent(algorithms.make_algorithm(self.base)).held * agents
        self.display.say(
            f"{len(configurations)} configurations x {number} seeds = {agents} agents: "
            f"{_counted(len({chunk.group for chunk in chunks}), 'program')}, {_counted(len(chunks), 'chunk')}; "
            f"about {needed / 1e9:.2f} GB for all of them, {available_bytes() / 1e9:.0f} GB there"
        )
        return chunks

    def _train_chunk(self, chunk: Chunk, name: str, stop: StopRequests) -> None:
        some = replace(self.base, **chunk.values[0])
        values = chunk.values + [chunk.values[-1]] * (chunk.slots - len(chunk.values))  # idle repetitions
        programs, evaluate = self._programs(some, chunk)
        self._make_folder()
        kind, names = type(programs.algorithm.hyperparameters), list(vars(programs.algorithm.hyperparameters))
        seeds = np.tile(self.seeds, chunk.slots)
        run = programs.run_of(seeds, kind(**{field: self._column(some, values, field) for field in names}))
        checkpoints = Checkpoints(self._checkpoint_folder(chunk), 1)
        restored = checkpoints.restore(run.saved_types, self.display.complain)
        state = run.init() if restored is None else run.load(restored.state)
        updates = 0 if restored is None else restored.step
        real = len(chunk.values) * len(self.seeds)
        curves = sweep_results.LearningCurves(real, None if restored is None else restored.about.get("curves"))
        if restored is not None:
            self.display.say(f"{name}: resumed at step {updates * some.steps_per_update:,} of each agent")
        last_checkpoint = time.monotonic()
        while updates < some.num_updates:
            if devices.agree(stop.signal is not None):
                if not self._save(checkpoints, updates, run.save(state), curves):
                    raise RunError(f"stopped, but {name} could not be saved: {self.folder.missing()}")
                raise Interrupted(128 + int(stop.signal or 15))
            started = time.perf_counter()
            wanted = self.options.report_every(some.steps_per_update, some.num_updates)
            state, stretch = run.advance(state, min(wanted, some.num_updates - updates))
            self.run_seconds += time.perf_counter() - started
            updates += stretch.updates
            self.env_steps += stretch.updates * some.steps_per_update * real
            speed = self.env_steps / self.run_seconds
            done = updates == some.num_updates
            scores_now = scores(stretch.counters)[:real]
            curves.add(scores_now, stretch.updates)
            self.display.update(self._steps_shown(chunk, updates), speed, _best(scores_now), last=done)
            if not done and devices.agree(time.monotonic() - last_checkpoint >= CHECKPOINT_SECONDS):
                self._save(checkpoints, updates, run.save(state), curves)
                last_checkpoint = time.monotonic()
        saved = run.save(state)
        try:
            returns = np.asarray(evaluate(saved.learner, seeds).returns, np.float64).mean(axis=1)[:real]
        except Exception as error:
            kept = "is saved" if self._save(checkpoints, updates, saved, curves) else "could not be saved"
            raise RunError(f"{name} is trained and {kept}, but its evaluation failed ({described(error)})") from error
        if some.on_nonfinite == "halt":
            returns = np.where(saved.counters.skipped_updates[:real] > 0, np.nan, returns)  # diverged
        written = self._add_results(chunk, some.env_steps, returns, scores(saved.counters)[:real], curves.areas())
        if written and devices.is_writer():
            remove_checkpoints(self._checkpoint_folder(chunk))

    def _checkpoint_folder(self, chunk: Chunk) -> Path:
        return self.path / "checkpoints" / f"chunk_{chunk.indices[0]}"

    def _programs(self, some: TrainingConfig, chunk: Chunk) -> tuple[AgentPrograms, Any]:
        """Compiles once for each set of static values and number of slots."""
        key = (chunk.group, chunk.slots)
        if key not in self.compiled:
            algorithm = algorithms.make_algorithm(some)
            agents = chunk.slots * len(self.seeds)
            evaluator = make_evaluator(algorithm.setup, agents, self.options.eval_episodes)
            programs = AgentPrograms(algorithm, agents, self.devices, evaluator.compile_ahead)
            self.compile_seconds += programs.compile_seconds
            self.compiled[key] = programs, evaluator
        return self.compiled[key]

    def _column(self, some: TrainingConfig, values: list[dict[str, Any]], field: str) -> np.ndarray | None:
        """Returns a hyperparameter of all agents, `[slots * S]`, or None where it is switched off."""
        of_configurations = [value.get(field, getattr(some, field)) for value in values]
        if of_configurations[0] is None:
            return None
        return np.repeat(np.asarray(of_configurations, np.float32), len(self.seeds))

    def _steps_shown(self, chunk: Chunk, updates: int) -> int:
        finished = len(self.results) * len(self.seeds) * self.base.env_steps
        return finished + updates * self.base.steps_per_update * len(chunk.values) * len(self.seeds)

    def _make_folder(self) -> None:
        if not self._is_made:
            self.folder.make("sweep.yaml", sweep_results.saved_values(self.base, self.options))
            self._is_made = True

    def _save(self, checkpoints: Checkpoints, updates: int, saved: Any, curves: sweep_results.LearningCurves) -> bool:
        about = {"versions": versions(), "curves": curves.state()}
        return self.folder.attempt("a checkpoint", lambda: checkpoints.save(updates, saved, about))

    def _add_results(self, chunk: Chunk, env_steps: int, *of_agents: np.ndarray) -> bool:
        """Keeps what came of a chunk; True if it could be written.

        Args:
          chunk: that was trained.
          env_steps: of each agent.
          of_agents: `[C * S]` each: evaluation returns, scores in training, areas under the learning curves.
        """
        by_configuration = (values.reshape(-1, len(self.seeds)) for values in of_agents)
        for index, values, own, train, areas in zip(chunk.indices, chunk.values, *by_configuration, strict=True):
            self.results[index] = sweep_results.result(index, values, self.seeds, own, train, areas, env_steps)
        return self.folder.write_file(RESULTS, sweep_results.text(self.results).encode())

    def finish(self) -> dict[str, Any]:
        """Writes the ranked table, best.yaml and summary.json."""
        ranked = sweep_results.ranked(self.results)
        self.display.stop()
        self.display.table(*sweep_results.table(self.base, ranked[:TABLE_ROWS]))
        if len(ranked) > TABLE_ROWS:
            self.display.say(f"the best {TABLE_ROWS} of {len(ranked)}; all are in {self.path / RESULTS}")
        self.display.say(f"ranked by {sweep_results.RANKING}")
        summary = {
            "env": config.to_plain(self.base)["env"],
            "algo": self.base.algorithm,
            "configurations": len(ranked),
            "seeds": self.seeds.tolist(),
            "env_steps": sum(record["env_steps"] for record in ranked) * len(self.seeds),
            "programs_compiled": len(self.compiled),
            "compile_seconds": round(self.compile_seconds, 3),
            "run_seconds": round(self.run_seconds, 3),
            "steps_per_second": round(self.env_steps / self.run_seconds, 1) if self.run_seconds else None,
            "best": ranked[0],
            "versions": versions(),
            "device": describe_device(),
            "devices": len(self.devices),
            "matmul_precision": self.base.matmul_precision,
        }
        rescued = self._write_at_end(summary)
        speed = f" ({self.env_steps / self.run_seconds:,.0f} steps/s)" if self.run_seconds else ""
        best = "" if "best.yaml" in self.folder.failing else f"; best: {self.path / 'best.yaml'}"
        self.display.say(
            f"{self.env_steps:,} steps in {self.run_seconds:.1f} s{speed} after {self.compile_seconds:.1f} s of "
            f"compiling {_counted(len(self.compiled), 'program')}{best}"
        )
        if self.folder.failing:
            raise RunError(f"the sweep ended well, but {self.folder.missing()} could not be written{rescued}")
        return summary

    def _write_at_end(self, summary: dict[str, Any]) -> str:
        """Writes results, best.yaml and summary.json; where they cannot be, names where they are instead."""
        self.folder.complain_no_more()
        files = {
            RESULTS: sweep_results.text(self.results).encode(),
            "best.yaml": sweep_results.best(self.base, summary["best"], str(self.path / RESULTS)).encode(),
            "summary.json": (json.dumps(plain_number(summary), indent=2) + "\n").encode(),
        }
        homeless = {name: contents for name, contents in files.items() if not self.folder.write_file(name, contents)}
        if not homeless:
            return ""
        refuge = rescue(self.path.resolve().name, homeless)
        return f"; they are in {refuge}" if refuge else "; no other place took them either"


def run(base: TrainingConfig, options: SweepOptions, path: Path) -> dict[str, Any]:
    """Trains every configuration with every seed.

    Args:
      base: config that the configurations change.
      options: see SweepOptions.
      path: the sweep's folder; a new one is not yet made, or empty.

    Returns:
      The summary, as written to summary.json.

    Raises:
      UserError: a configuration is not valid.
      RunError: nothing could be trained.
      Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    keep_freed_memory()
    if options.compilation_cache:
        use_compilation_cache()
    agents = (len(options.grid_points(type(base))) + options.number_of_draws()) * options.num_seeds
    claimed = devices.claim(options, agents)
    display = Display(agents * base.env_steps, enabled=options.progress, muted=not devices.is_writer())
    reserved = options.resume is None and options.run_dir is None
    folder = Folder(path, display.complain, writes=devices.is_writer(), reserved=reserved)
    with StopRequests() as stop:
        try:
            if options.resume is not None:
                folder.lock("resume")
            sweep = Sweep(base, options, folder, display, claimed)
            display.start()
            for first_index, configurations in _rounds(sweep, options, base):
                sweep.train(configurations, first_index, stop)
        except Interrupted:
            display.stop()
            display.say(f"saved; continue with: python -m purejaxrl_gae.sweep --resume {shlex.quote(str(path))}")
            raise
        else:
            if not sweep.results:
                raise RunError("the sweep has no configuration")
            return sweep.finish()
        finally:
            display.stop()
            folder.close()


def _rounds(sweep: Sweep, options: SweepOptions, base: TrainingConfig) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Lists of configurations to be trained together; under Optuna each list depends on the results before it."""
    points = options.grid_points(type(base))
    if options.optuna_rounds == 0:
        yield 0, points + options.random_points(type(base), base.seed)
        return
    from purejaxrl_gae.runs.optuna_search import OptunaSearch

    search = OptunaSearch(options.random_dimensions(type(base)), base.seed)
    for round_number in range(options.optuna_rounds):
        asked = search.ask(options.draws)
        first_index = round_number * options.draws
        yield first_index, asked
        search.tell([sweep.results[first_index + place]["iqm"] for place in range(len(asked))])


def remove_checkpoints(folder: Path) -> None:
    """Removes a finished chunk's checkpoints; of a link in their place nothing, wherever it leads."""
    shutil.rmtree(folder, ignore_errors=True)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _best(of_agents: np.ndarray) -> float:
    return float(np.nanmax(of_agents)) if np.isfinite(of_agents).any() else float("nan")
