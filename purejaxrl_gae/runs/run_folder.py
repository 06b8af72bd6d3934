"""A run's folder: config.yaml, metrics.jsonl, tensorboard events, policy.npz, summary.json.

Writing must never cost a training its result: a write that fails is reported in one line and made up for later, and
the run goes on.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from purejaxrl_gae.runs import json_lines
from purejaxrl_gae.runs.events import EventFile, cut_after
from purejaxrl_gae.runs.folder import Folder, refuse_unusable, replace_file, reserve
from purejaxrl_gae.runs.growing_file import GrowingFile
from purejaxrl_gae.settings import trust
from purejaxrl_gae.settings.config_files import file_name

NOT_PLOTTED = ("env_steps", "wall_seconds", "update", "episodes", "eval_return_std", "eval_sampled_return_std")


class RunFolder(Folder):
    """The folder and its open files.

    Args:
      path: the folder.
      complain: told when a kind of file cannot be written, and when it can again.
      tensorboard: write events.
      writes: write at all; of several processes only one does.
      reserved: the folder was made empty, to be removed if it stays so.
    """

    def __init__(
        self,
        path: Path,
        complain: Callable[[str], None],
        *,
        tensorboard: bool,
        writes: bool = True,
        reserved: bool = False,
    ):
        super().__init__(path, complain, writes=writes, reserved=reserved)
        self._metrics = GrowingFile(path / "metrics.jsonl")
        self._events: dict[Path, EventFile] = {}
        self._tensorboard = tensorboard and writes
        self._goes_on_from: int | None = None

    def make_for(self, values: dict[str, Any]) -> None:
        """Makes the folder, with what runs in config.yaml, in a form that --config takes.

        Raises:
          UserError: it cannot be made or written, or holds a run already.
        """
        self.make("config.yaml", yaml.safe_dump(trust.signed(values), sort_keys=False, default_flow_style=None))

    def report(self, record: dict[str, Any], seeds: list[int]) -> None:
        """Writes one line of metrics.jsonl and one point of every tensorboard curve.

        Args:
          record: name -> value, or -> list of values, one for each seed.
          seeds: of the agents; where there are several, each has events of its own.
        """
        line = json.dumps({name: plain_number(value) for name, value in record.items()}) + "\n"
        self._metrics.add(line.encode())
        self.attempt("metrics.jsonl", self._metrics.flush)
        if self._tensorboard:
            self._plot(record, seeds)
            self._flush_events(lambda events: events.is_due)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Writes summary.json."""
        text = json.dumps({name: plain_number(value) for name, value in summary.items()}, indent=2) + "\n"
        self.write_file("summary.json", text.encode())

    def forget_after(self, env_steps: int) -> None:
        """Drops what metrics.jsonl and the events hold beyond a step from which the run goes on."""
        self._goes_on_from = env_steps
        self.attempt("metrics.jsonl", lambda: self._forget_metrics(env_steps))
        if self._tensorboard:
            self.attempt("tensorboard events", lambda: self._forget_events(env_steps))

    def flush(self) -> None:
        """Writes all that waits."""
        self.attempt("metrics.jsonl", self._metrics.flush)
        self._flush_events(lambda events: True)

    def close(self) -> None:
        """Writes all that waits, and lets others write here."""
        self.flush()
        super().close()

    def _forget_metrics(self, env_steps: int) -> None:
        path = self._metrics.path
        lines = json_lines.read(path, lambda record: type(record.get("env_steps")) is int)
        if lines.unreadable:
            aside = GrowingFile(self.path / "metrics.damaged")
            aside.add(b"".join(lines.unreadable.values()))
            aside.flush()
            self._complain(f"{lines.complaint(path)}; moved to {aside.path.name}, all others are kept")
        if path.exists():
            kept = [
                raw for record, raw in zip(lines.records, lines.raw, strict=True) if record["env_steps"] <= env_steps
            ]
            replace_file(path, b"".join(kept))

    def _forget_events(self, env_steps: int) -> None:
        for folder in (self.path, *self.path.glob("seed_*")):
            cut_after(folder, env_steps)

    def _plot(self, record: dict[str, Any], seeds: list[int]) -> None:
        plotted = {name: value for name, value in record.items() if name not in NOT_PLOTTED}
        if len(seeds) == 1:
            self._plot_in(self.path, plotted, record["env_steps"])
            return
        for index, seed in enumerate(seeds):
            own = {name: value[index] for name, value in plotted.items() if isinstance(value, list)}
            self._plot_in(self.path / f"seed_{seed}", own, record["env_steps"])

    def _plot_in(self, folder: Path, values: dict[str, Any], env_steps: int) -> None:
        if folder not in self._events:
            self._events[folder] = EventFile(folder, self._goes_on_from)
        self._events[folder].add(values, env_steps)

    def _flush_events(self, wanted: Callable[[EventFile], bool]) -> None:
        for folder, events in self._events.items():
            if wanted(events):
                of_seed = "" if folder == self.path else f" of {folder.name}"
                self.attempt(f"tensorboard events{of_seed}", events.flush)


def new_run_path(run_dir: Path | None, env: str, algorithm: str, seed: int) -> Path:
    """Returns the folder of a new run: the one asked for, not yet made, or one of a new name, empty.

    Raises:
      UserError: it cannot be made, or holds a run already.
    """
    if run_dir is not None:
        refuse_unusable(run_dir, "config.yaml")
        return run_dir
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return reserve(Path("runs") / f"{file_name(env)}__{file_name(algorithm)}__{seed}__{stamp}")


def plain_number(value: Any) -> Any:
    """Returns what JSON can hold: NaN and infinities, which it cannot, become null."""
    if isinstance(value, (list, tuple)):
        return [plain_number(item) for item in value]
    if isinstance(value, dict):
        return {name: plain_number(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
