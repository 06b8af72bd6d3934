"""Records of finished runs: what docs/results/SUITE.json holds of each, and how it is made of a run folder.

A file is a list of one record a run, a line each:

    {"env", "algo", "seed", "env_steps", "eval_mean", "eval_sampled_mean", "train_last100", "wall_seconds",
     "curve": [[steps, return], ... 100], "versions"}

and `variant` where the suite trains an algorithm in several ways. `eval_mean` is the mean return of 100 episodes by the
policy's mode after the training, `eval_sampled_mean` of 100 with actions sampled, `train_last100` of the last 100
training episodes, and so is the curve; before the first episode has ended its return is null. `wall_seconds` are those
of compiling, training and evaluation; of seeds trained in one process each has its share of them, and
`versions.seeds_in_process` says how many they were: each seed's result is then the solo run's up to rounding.
A run that failed has `error`, its last line, and null for every number.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results.suites import Job, Key
from purejaxrl_gae.runs import json_lines
from purejaxrl_gae.runs.folder import Folder, replace_file
from purejaxrl_gae.settings.errors import RunError, UserError

POINTS = 100
NUMBERS = ("env_steps", "eval_mean", "eval_sampled_mean", "train_last100", "wall_seconds")
KEYS = ("env", "algo", "seed", *NUMBERS, "curve", "versions")
Record = dict[str, Any]


def key_of(record: Record) -> Key:
    """Returns which run a record is of."""
    return Key(record["env"], record["algo"], record.get("variant", ""), record["seed"])


def has_failed(record: Record) -> bool:
    """Says whether a record is of a run that failed."""
    return "error" in record


class ResultsFile:
    """The records of a suite on disk; whoever writes it locks it.

    Args:
      path: docs/results/SUITE.json.

    Attributes:
      records: what it holds, by run.
    """

    def __init__(self, path: Path):
        self.path = path
        self.records: dict[Key, Record] = {}
        self._lock = Folder(path.with_suffix(".lock"), print)

    def lock(self) -> None:
        """Keeps other suites from writing the same file, until closed or the process ends in whatever way.

        Raises:
          UserError: another process writes it, or it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.path.touch()
        except OSError as error:
            raise UserError(
                f"results is {str(self.path.parent)!r}, which cannot be written: {error.strerror}"
            ) from None
        self._lock.lock("results")

    def read(self) -> "ResultsFile":
        """Reads the records; of a file that is not there, none.

        Raises:
          UserError: it holds something else.
        """
        records = json_lines.parsed(self.path.read_bytes()) if self.path.exists() else []
        if not isinstance(records, list) or not all(
            isinstance(each, dict) and set(KEYS) <= set(each) for each in records
        ):
            raise UserError(f"results is {str(self.path)!r}, which holds no list of runs; move it away or mend it")
        self.records = {key_of(record): record for record in records}
        return self

    def add(self, records: list[Record]) -> None:
        """Adds runs, in place of what was known of them, and writes the file as a whole."""
        self.records |= {key_of(record): record for record in records}
        lines = [json.dumps(self.records[key], ensure_ascii=False) for key in sorted(self.records)]
        replace_file(self.path, "[\n" + ",\n".join(lines) + "\n]\n")

    def close(self) -> None:
        """Lets others write."""
        self._lock.close()


def failed(job: Job, error: str, versions: dict[str, Any]) -> list[Record]:
    """Returns the records of a job that failed."""
    nothing = {name: None for name in NUMBERS}
    return [_named(key, {**nothing, "curve": None, "versions": versions, "error": error}) for key in job.keys]


def of_run(job: Job, folder: Path, versions: dict[str, Any]) -> list[Record]:
    """Returns the records of a job that has ended, one for each of its seeds.

    Args:
      job: that ran.
      folder: its run folder.
      versions: of what ran it, beside those of packages.

    Raises:
      RunError: the folder lacks what a finished run has.
    """
    reports = json_lines.read(folder / "metrics.jsonl", lambda record: "score_last100" in record).records
    path = folder / "summary.json"
    summary = json_lines.parsed(path.read_bytes()) if path.exists() else None
    if not isinstance(summary, dict) or not reports:
        raise RunError("the run ended without summary.json and metrics.jsonl")
    seconds = sum(summary[f"{part}_seconds"] for part in ("compile", "run", "evaluation"))
    known = {**summary["versions"], "device": summary["device"], **versions, "seeds_in_process": len(job.seeds)}
    steps = np.array([report["env_steps"] for report in reports])
    scores = np.array([np.atleast_1d(report["score_last100"]) for report in reports], float)  # [R, S]
    found = []
    for index, (key, row) in enumerate(zip(job.keys, summary.get("seeds", [summary]), strict=True)):
        numbers = {
            "env_steps": summary["env_steps"],
            "eval_mean": _short(row["eval_return_mean"]),
            "eval_sampled_mean": _short(row["eval_sampled_return_mean"]),
            "train_last100": _short(row["train_return_last100"]),
            "wall_seconds": round(seconds / len(job.seeds), 1),
        }
        found.append(_named(key, {**numbers, "curve": curve(steps, scores[:, index]), "versions": known}))
    return found


def curve(steps: np.ndarray, scores: np.ndarray, points: int = POINTS) -> list[list[Any]]:
    """Returns a learning curve at evenly spaced steps, by linear interpolation between reports.

    Args:
      steps: `[R]` of the reports.
      scores: `[R]`, NaN before the first episode ended.
      points: to return, the last at the last step.

    Returns:
      `points` pairs of steps and return; null before the first that is known.
    """
    positions = np.round(np.arange(1, points + 1) * (steps[-1] / points)).astype(int)
    known = np.isfinite(scores)
    if not known.any():
        return [[int(position), None] for position in positions]
    values = np.interp(positions, steps[known], scores[known])
    first = steps[known][0]
    return [[int(p), _short(value) if p >= first else None] for p, value in zip(positions, values, strict=True)]


def _named(key: Key, rest: dict[str, Any]) -> Record:
    """Returns a record with its run's names first."""
    variant = {"variant": key.variant} if key.variant else {}
    return {"env": key.env, "algo": key.algo, **variant, "seed": key.seed, **rest}


def _short(value: float | None) -> float | None:
    """Rounds to six digits."""
    return None if value is None else float(f"{value:.6g}")
