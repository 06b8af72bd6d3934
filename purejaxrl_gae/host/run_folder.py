"""A run's folder: config.yaml, metrics.jsonl, tensorboard events, policy.npz, summary.json.

Writing must never cost a training its result: the first write that fails is reported in one line, that file is given
up, and the run goes on.
"""

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from purejaxrl_gae import trust
from purejaxrl_gae.config import file_name
from purejaxrl_gae.errors import UserError

# tensorboard tags as in CleanRL; anything else goes under losses/
TAGS = {
    "episodic_return": "charts/episodic_return",
    "episodic_length": "charts/episodic_length",
    "score_last100": "charts/score_last100",
    "steps_per_second": "charts/SPS",
    "learning_rate": "charts/learning_rate",
    "eval_return_mean": "charts/eval_return_mean",
    "eval_sampled_return_mean": "charts/eval_sampled_return_mean",
    "clip_fraction": "losses/clipfrac",
}
NOT_PLOTTED = ("env_steps", "wall_seconds", "update", "episodes", "eval_return_std", "eval_sampled_return_std")


class RunFolder:
    """The folder and its open files.

    Args:
      path: the folder.
      complain: told, once for each kind of file, that it cannot be written.
      tensorboard: write events.
      writes: write at all; of several processes only one does.
    """

    def __init__(self, path: Path, complain: Callable[[str], None], *, tensorboard: bool, writes: bool = True):
        self.path = path
        self._writes = writes
        self._complain = complain
        self._given_up: set[str] = set()
        self._events: dict[Path, Any] = {}
        self._tensorboard = tensorboard

    @property
    def is_damaged(self) -> bool:
        """Something could not be written."""
        return bool(self._given_up)

    def attempt(self, what: str, write: Callable[[], None]) -> bool:
        """Runs a write; on the first failure complains and gives this kind of file up. True if written."""
        if not self._writes:
            return True
        if what in self._given_up:
            return False
        try:
            write()
        except OSError as error:
            self._given_up.add(what)
            reason = error.strerror or str(error)
            self._complain(f"{what} in {self.path} cannot be written ({reason}); training goes on without it")
            return False
        return True

    def write_config(self, values: dict[str, Any]) -> None:
        """What ran, in a form that --config takes."""
        text = yaml.safe_dump(trust.signed(values), sort_keys=False, default_flow_style=None)
        self.attempt("config.yaml", lambda: replace_file(self.path / "config.yaml", text))

    def report(self, record: dict[str, Any], seeds: list[int]) -> None:
        """One line of metrics.jsonl and one point of every tensorboard curve.

        Args:
          record: name -> value, or -> list of values, one for each seed.
          seeds: of the agents; where there are several, each has events of its own.
        """
        line = json.dumps({name: plain_number(value) for name, value in record.items()}) + "\n"
        self.attempt("metrics.jsonl", lambda: _append(self.path / "metrics.jsonl", line))
        if self._tensorboard:
            self.attempt("tensorboard events", lambda: self._plot(record, seeds))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """summary.json."""
        text = json.dumps({name: plain_number(value) for name, value in summary.items()}, indent=2) + "\n"
        self.attempt("summary.json", lambda: replace_file(self.path / "summary.json", text))

    def forget_after(self, env_steps: int) -> None:
        """Drops the lines of metrics.jsonl beyond a step from which the run goes on."""
        path = self.path / "metrics.jsonl"
        if not path.is_file():
            return
        kept = []
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                break  # a line cut short by a crash
            if record["env_steps"] <= env_steps:
                kept.append(line + "\n")
        self.attempt("metrics.jsonl", lambda: replace_file(path, "".join(kept)))

    def close(self) -> None:
        """Flushes the events."""
        for events in self._events.values():
            self.attempt("tensorboard events", events.close)

    def _plot(self, record: dict[str, Any], seeds: list[int]) -> None:
        plotted = {name: value for name, value in record.items() if name not in NOT_PLOTTED}
        if len(seeds) == 1:
            self._plot_in(self.path, plotted, record["env_steps"])
            return
        for index, seed in enumerate(seeds):
            own = {name: value[index] for name, value in plotted.items() if isinstance(value, list)}
            self._plot_in(seed_folder(self.path, seed), own, record["env_steps"])

    def _plot_in(self, folder: Path, values: dict[str, Any], env_steps: int) -> None:
        from tensorboardX import FileWriter
        from tensorboardX.proto.summary_pb2 import Summary

        if folder not in self._events:
            self._events[folder] = FileWriter(str(folder), flush_secs=10)
        # All values as one event: an event for each costs ten times as much.
        points = [
            Summary.Value(tag=TAGS.get(name, f"losses/{name}"), simple_value=value)
            for name, value in values.items()
            if value is not None and math.isfinite(value)
        ]
        self._events[folder].add_summary(Summary(value=points), env_steps)


def seed_folder(path: Path, seed: int) -> Path:
    """Where a run of several seeds keeps what belongs to one of them; made."""
    folder = path / f"seed_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_run_path(run_dir: Path | None, env: str, algorithm: str, seed: int) -> Path:
    """The folder of a new run, made.

    Raises:
      UserError: it cannot be made, or holds a run already.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = run_dir or _unused(Path("runs") / f"{file_name(env)}__{algorithm}__{seed}__{stamp}")
    if (path / "config.yaml").exists():
        raise UserError(f"run_dir is {str(path)!r}, which holds a run already; continue it with --resume {path}")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run_dir is {str(path)!r}, which cannot be made: {error.strerror}") from None
    return path


def replace_file(path: Path, contents: str | bytes) -> None:
    """Writes a whole file or nothing: beside it first, then renamed over it."""
    data = contents.encode() if isinstance(contents, str) else contents
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _unused(path: Path) -> Path:
    """The path, or the first of path-2, path-3, … that does not exist: two runs may start in one second."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line)


def plain_number(value: Any) -> Any:
    """What JSON can hold: NaN and infinities, which it cannot, become null."""
    if isinstance(value, (list, tuple)):
        return [plain_number(item) for item in value]
    if isinstance(value, dict):
        return {name: plain_number(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
