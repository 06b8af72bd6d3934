"""python -m purejaxrl_gae.plot RUN...: pictures of runs and sweeps, as PNG or SVG.

Folders of runs become learning curves: seeds of one config are one curve, and where configs differ the legend says in
what. A sweep's folder becomes a heat map or parallel coordinates. Either can be drawn as performance profiles.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tyro.conf import Positional

from purejaxrl_gae.runs import json_lines
from purejaxrl_gae.runs.figures import (
    Curve,
    Trials,
    check_output,
    draw_curves,
    draw_heat_map,
    draw_parallel_coordinates,
    draw_profiles,
)
from purejaxrl_gae.settings import config_files
from purejaxrl_gae.settings.errors import UserError

NOT_IN_LABELS = ("algorithm", "env", "seed", "num_seeds")
LONGEST_LABEL = 3


@dataclass(frozen=True)
class PlotOptions:
    """Draws runs as learning curves and sweeps as heat maps or parallel coordinates."""

    run_dirs: Positional[tuple[Path, ...]]
    """folders of runs, or of one sweep"""
    output: Path = Path("learning_curve.png")
    """picture to write; .png or .svg"""
    title: str | None = None
    """above the picture"""
    kind: Literal["auto", "curves", "heat_map", "parallel", "profile"] = "auto"
    """auto: curves for runs; for a sweep a heat map of two fields, parallel coordinates of more or fewer"""
    x: Literal["env_steps", "wall_seconds"] = "env_steps"
    """what curves are drawn over: steps of one agent, or seconds of training"""


@dataclass(frozen=True)
class Run:
    """A run as its folder holds it.

    Attributes:
      path: the folder.
      values: config.yaml.
      records: metrics.jsonl.
    """

    path: Path
    values: dict[str, Any]
    records: list[dict[str, Any]]


def read_run(path: Path) -> Run:
    """Reads a run's config and reports.

    Raises:
      UserError: it holds none.
    """
    if not config_files.is_file(path / "metrics.jsonl"):
        raise UserError(f"run_dirs has {str(path)!r}, which holds no run: it has no metrics.jsonl")
    records = _readable(path / "metrics.jsonl", "score_last100", _is_report)
    return Run(path, config_files.read_yaml(path / "config.yaml"), records)


def _readable(path: Path, scores: str, is_right: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Reads the lines that are right and have as many scores as the first; names the others on standard error."""
    lines = json_lines.read(path, is_right)
    if lines.unreadable:
        print(lines.complaint(path), file=sys.stderr)
    alike = [record for record in lines.records if np.size(record[scores]) == np.size(lines.records[0][scores])]
    if len(alike) < len(lines.records):
        print(f"{len(lines.records) - len(alike)} lines of {path} have another number of {scores}", file=sys.stderr)
    return alike


def _is_report(record: dict[str, Any]) -> bool:
    """Says whether a record is one of metrics.jsonl."""
    numbers = all(json_lines.is_number(record.get(x)) for x in ("env_steps", "wall_seconds"))
    return numbers and "score_last100" in record and _are_scores(record["score_last100"])


def _is_trial(record: dict[str, Any]) -> bool:
    """Says whether a record is one of results.jsonl."""
    scores = record.get("eval_returns")
    return isinstance(record.get("values"), dict) and isinstance(scores, list) and _are_scores(scores)


def _are_scores(value: Any) -> bool:
    scores = value if isinstance(value, list) else [value]
    return bool(scores) and all(score is None or json_lines.is_number(score) for score in scores)


def read_curves(runs: list[Run], x: str = "env_steps") -> list[Curve]:
    """Reads a curve for each seed of each run.

    Raises:
      UserError: in one no episode has ended yet.
    """
    curves = []
    for run, label in zip(runs, labels([run.values for run in runs]), strict=True):
        scores = np.array([np.atleast_1d(_number(record["score_last100"])) for record in run.records], float)
        positions = np.array([record[x] for record in run.records], float)
        if scores.size == 0 or not np.isfinite(scores).any():
            raise UserError(f"run_dirs has {str(run.path)!r}, in which no episode has ended yet")
        for of_seed in scores.T:
            known = np.isfinite(of_seed)
            curves.append(Curve(label, positions[known], of_seed[known]))
    return curves


def labels(configs: list[dict[str, Any]]) -> list[str]:
    """Tells the configs apart: by algorithm and environment, and the fields in which those of one pair differ."""
    names = [f"{values.get('algorithm', '?')} on {values.get('env', '?')}" for values in configs]
    found = []
    for name, values in zip(names, configs, strict=True):
        alike = [other for other, other_name in zip(configs, names, strict=True) if other_name == name]
        differing = [
            field
            for field in values
            if field not in NOT_IN_LABELS and any(other.get(field) != values[field] for other in alike)
        ]
        found.append(", ".join([name, *(f"{field} {values[field]}" for field in differing[:LONGEST_LABEL])]))
    return found


def read_final_scores(runs: list[Run]) -> dict[str, np.ndarray]:
    """Reads evaluation returns `[S]` of all seeds, by label.

    Raises:
      UserError: a run has not ended.
    """
    groups: dict[str, list[float]] = {}
    for run, label in zip(runs, labels([run.values for run in runs]), strict=True):
        if not (run.path / "summary.json").is_file():
            raise UserError(f"run_dirs has {str(run.path)!r}, which has not ended: it has no summary.json")
        groups.setdefault(label, []).extend(_final_scores(run.path / "summary.json"))
    return {label: np.array(scores, float) for label, scores in groups.items()}


def _final_scores(path: Path) -> list[float]:
    """Returns the mean return of each seed's evaluation."""
    summary = json_lines.parsed(path.read_bytes())
    rows = summary.get("seeds", [summary]) if isinstance(summary, dict) else []
    rows = [row if isinstance(row, dict) else {} for row in rows] if isinstance(rows, list) else []
    scores = [row.get("eval_return_mean", "") for row in rows]
    if not _are_scores(scores):
        raise UserError(f"run_dirs has {str(path.parent)!r}, whose summary.json cannot be read; resume the run")
    return _number(scores)


def read_trials(path: Path) -> Trials:
    """Reads what a sweep tried and what came of it.

    Raises:
      UserError: nothing yet.
    """
    results = path / "results.jsonl"
    records = _readable(results, "eval_returns", _is_trial)
    if not records:
        raise UserError(f"run_dirs has {str(path)!r}, a sweep without results yet")
    names = list(dict.fromkeys(name for record in records for name in record["values"]))
    base = config_files.read_yaml(path / "sweep.yaml")
    values = [[record["values"].get(name, base.get(name)) for name in names] for record in records]
    scores = np.array([[_number(score) for score in record["eval_returns"]] for record in records], float)
    return Trials(names, values, scores)


def draw(options: PlotOptions) -> None:
    """Writes the picture that the options ask for.

    Raises:
      UserError: a folder holds nothing that can be drawn so.
    """
    if not options.run_dirs:
        raise UserError("run_dirs is empty; name at least one folder of a run")
    check_output(options.output)
    sweeps = [path for path in options.run_dirs if (path / "sweep.yaml").is_file()]
    if sweeps:
        if len(options.run_dirs) > 1:
            raise UserError(f"run_dirs has the sweep {str(sweeps[0])!r} and others; draw one sweep at a time")
        _draw_sweep(read_trials(sweeps[0]), options)
        return
    runs = [read_run(path) for path in options.run_dirs]
    if options.kind == "profile":
        draw_profiles(read_final_scores(runs), options.output, options.title)
    elif options.kind in ("auto", "curves"):
        position = {"env_steps": "environment steps of one agent", "wall_seconds": "seconds of training"}[options.x]
        draw_curves(read_curves(runs, options.x), options.output, options.title, position)
    else:
        raise UserError(f"kind is {options.kind}, which is for sweeps; for runs it must be curves or profile")


def _draw_sweep(trials: Trials, options: PlotOptions) -> None:
    kind = options.kind
    if kind == "auto":
        kind = "heat_map" if len(trials.names) == 2 and len(trials.values) > len(trials.names) else "parallel"
        few = all(len({str(row[index]) for row in trials.values}) <= 12 for index in range(len(trials.names)))
        kind = kind if few else "parallel"
    if kind == "heat_map":
        draw_heat_map(trials, options.output, options.title)
    elif kind == "parallel":
        draw_parallel_coordinates(trials, options.output, options.title)
    elif kind == "profile":
        best_first = np.argsort(-np.nan_to_num(trials.iqm, nan=-np.inf))[:8]
        groups = {_described(trials, index): trials.scores[index] for index in best_first}
        draw_profiles(groups, options.output, options.title)
    else:
        raise UserError("kind is curves, which is for runs; a sweep keeps final scores only")


def _described(trials: Trials, index: int) -> str:
    pairs = zip(trials.names, trials.values[index], strict=True)
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in pairs)


def _number(value: Any) -> Any:
    """Reads JSON's null as NaN, in lists too."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    return float("nan") if value is None else value


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line."""
    from purejaxrl_gae.cli import parse_options, run_and_exit, show

    def plot():
        options = parse_options("plot", PlotOptions, arguments, positional="run_dirs")
        draw(options)
        show(f"wrote {options.output}")

    run_and_exit(plot)


if __name__ == "__main__":
    main()
