"""The files of a sweep: sweep.yaml, results.jsonl, the ranked table, best.yaml."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from purejaxrl_gae.runs import json_lines
from purejaxrl_gae.runs.reports import statistics_of
from purejaxrl_gae.runs.run_folder import plain_number
from purejaxrl_gae.runs.run_options import SAVED_SWEEP_OPTIONS, SweepOptions
from purejaxrl_gae.settings import config, config_files, trust
from purejaxrl_gae.settings.config import TrainingConfig
from purejaxrl_gae.settings.errors import RunError, UserError, shown

TABLE_TITLES = ("IQM", "95% interval", "worst seed", "area", "diverged")
RANKING = "IQM, then the lower end of its interval, then the area under the learning curve"

Result = dict[str, Any]


class LearningCurves:
    """Areas under the learning curves of agents that train together.

    A curve is the mean return of the last 100 episodes over the updates made; its area is divided by its length, so it
    is the mean of that score over training.

    Args:
      num_agents: S.
      so_far: what `state` gave when a training was interrupted, to go on from there.
    """

    def __init__(self, num_agents: int, so_far: list[list[float]] | None = None):
        self._sums, self._updates = np.zeros((2, num_agents)) if so_far is None else np.asarray(so_far, np.float64)

    def add(self, agent_scores: np.ndarray, updates: int) -> None:
        """Takes the scores `[S]` that so many more updates led to; NaN, before the first episode ended, is left out."""
        known = np.isfinite(agent_scores)
        self._sums += np.where(known, agent_scores, 0.0) * updates
        self._updates += known * updates

    def areas(self) -> np.ndarray:
        """Returns the mean heights `[S]` so far; NaN where no episode has ended."""
        return self._sums / np.where(self._updates > 0, self._updates, np.nan)

    def state(self) -> list[list[float]]:
        """Returns what JSON can hold and `so_far` takes."""
        return [self._sums.tolist(), self._updates.tolist()]


def read(path: Path, complain: Callable[[str], None]) -> dict[int, Result]:
    """Reads results by configuration; none where there is no file yet. Unreadable lines are named and left out.

    Raises:
      RunError: the file cannot be read at all.
    """
    try:
        lines = json_lines.read(path, _is_result)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if lines.unreadable:
        complain(f"{lines.complaint(path)}; their configurations are trained again")
    return {result["configuration"]: result for result in lines.records}


def _is_result(record: dict[str, Any]) -> bool:
    """Says whether a record has what ranking, table and best.yaml take from it."""
    interval, returns, iqm = record.get("interval"), record.get("eval_returns"), record.get("iqm")
    counts = (record.get(name) for name in ("configuration", "env_steps", "diverged"))
    if not (isinstance(interval, list) and isinstance(returns, list) and isinstance(record.get("values"), dict)):
        return False
    numbers = [iqm, *interval, *returns]
    if iqm is None:  # a seed diverged, whose numbers are null
        numbers = [number for number in numbers if number is not None]
    known = all(map(json_lines.is_number, [*numbers, record.get("area") or 0.0]))
    return known and len(interval) == 2 and len(returns) > 0 and all(type(count) is int for count in counts)


def of_configurations(
    stored: dict[int, Result],
    configurations: list[dict[str, Any]],
    first_index: int,
    seeds: np.ndarray,
    complain: Callable[[str], None],
) -> dict[int, Result]:
    """Returns the stored results that are of these configurations and seeds.

    Args:
      stored: by configuration, as read.
      configurations: what each changes.
      first_index: place of the first in the whole sweep.
      seeds: `[S]`.
      complain: told how many are of others, as after sweep.yaml was edited.
    """
    wanted = {index: (_in_json(values), seeds.tolist()) for index, values in enumerate(configurations, first_index)}
    there = {index: stored[index] for index in wanted if index in stored}
    right = {index: each for index, each in there.items() if (each["values"], each.get("seeds")) == wanted[index]}
    if len(right) < len(there):
        complain(f"{len(there) - len(right)} results are of other values or seeds than sweep.yaml has; trained again")
    return right


def _in_json(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def saved_sweep(path: Path, trusted: bool = False) -> dict[str, Any]:
    """Returns what a sweep's folder says it runs; `trusted` as for `config_files.read_yaml`.

    Raises:
      UserError: it is no sweep's folder.
    """
    if not config_files.is_file(path / "sweep.yaml"):
        raise UserError(f"resume is {shown(str(path))}, which holds no sweep: it has no sweep.yaml")
    return config_files.read_yaml(path / "sweep.yaml", trusted=trusted)


def saved_values(base: TrainingConfig, options: SweepOptions) -> str:
    """Returns what sweep.yaml says."""
    saved = {name: getattr(options, name) for name in SAVED_SWEEP_OPTIONS}
    saved = {name: list(value) if isinstance(value, tuple) else value for name, value in saved.items()}
    values = trust.signed({"algorithm": base.algorithm, **config.to_plain(base), **saved})
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None)


def text(results: dict[int, Result]) -> str:
    """Writes all of them as text, a line each."""
    return "".join(json.dumps(results[index]) + "\n" for index in sorted(results))


def result(
    index: int,
    values: dict[str, Any],
    seeds: np.ndarray,
    returns: np.ndarray,
    train_scores: np.ndarray,
    areas: np.ndarray,
    env_steps: int,
) -> Result:
    """Returns one configuration's result, as JSON can hold it.

    Args:
      index: of the configuration.
      values: what it changes of the base config.
      seeds: `[S]`.
      returns: `[S]` mean evaluation returns; NaN where the seed diverged, which leaves the whole without an IQM.
      train_scores: `[S]` mean returns of the last 100 training episodes.
      areas: `[S]` under the learning curves; see LearningCurves.
      env_steps: that each seed trained for.
    """
    across = statistics_of(returns)
    found = {
        "configuration": index,
        "values": _in_json(values),
        "iqm": across["iqm"].value,
        "interval": [across["iqm"].low, across["iqm"].high],
        "mean": across["mean"].value,
        "median": across["median"].value,
        "area": float(areas.mean()),
        "seeds": seeds.tolist(),
        "eval_returns": returns.tolist(),
        "train_returns_last100": train_scores.tolist(),
        "diverged": int(np.isnan(returns).sum()),
        "env_steps": env_steps,
    }
    return {name: plain_number(value) for name, value in found.items()}


def ranked(results: dict[int, Result]) -> list[Result]:
    """Ranks results by RANKING, best first; those with a diverged seed last."""
    return sorted(results.values(), key=_merits, reverse=True)


def _merits(result: Result) -> tuple[float, ...]:
    """Returns what RANKING names, in its order; a number that is missing, as in older files, loses to any other."""
    merits = (result["iqm"], result["interval"][0], result.get("area"))
    return tuple(-np.inf if merit is None else merit for merit in merits)


def best(base: TrainingConfig, best_result: Result, source: str) -> str:
    """Writes the best configuration, whole, as a file that --config takes; `source` names where the result was read."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in best_result["values"].items()
    }
    plain = config.to_plain(replace(base, **trust.foreign(values, source)))
    signed = trust.signed({"algorithm": base.algorithm, **plain})
    return yaml.safe_dump(signed, sort_keys=False, default_flow_style=None)


def table(base: TrainingConfig, best_first: list[Result]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Returns titles and rows of the ranked table."""
    names = list(dict.fromkeys(name for result in best_first for name in result["values"]))
    rows = []
    for rank, result in enumerate(best_first, 1):
        values = [_short(result["values"].get(name, getattr(base, name))) for name in names]
        low, high = result["interval"]
        scores = ("-", "-", "-")
        if result["iqm"] is not None:
            scores = (f"{result['iqm']:.1f}", f"[{low:.1f}, {high:.1f}]", f"{min(result['eval_returns']):.1f}")
        area = "-" if result.get("area") is None else f"{result['area']:.1f}"
        rows.append((rank, *values, *scores, area, result["diverged"]))
    return ("rank", *names, *TABLE_TITLES), rows


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
