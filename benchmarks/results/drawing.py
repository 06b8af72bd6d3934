"""Figures of a suite: learning curves by task, performance profiles over its tasks, heat maps of a grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results.records import has_failed
from benchmarks.results.suites import Suite, grid_name
from benchmarks.results.tables import ALGORITHMS, Records, scores_of, task_name
from purejaxrl_gae.runs.figures import (
    Curve,
    Trials,
    by_label,
    draw_heat_map,
    draw_middle,
    draw_profiles,
    picture,
    return_label,
)
from purejaxrl_gae.settings.config_files import file_name
from purejaxrl_gae.settings.errors import UserError

PANELS_IN_A_ROW = 3


def draw(suite: Suite, records: Records, folder: Path) -> list[Path]:
    """Draws what a suite's records can show, and returns the pictures.

    Raises:
      UserError: no run has ended.
    """
    ended = {key: record for key, record in records.items() if not has_failed(record)}
    if not ended:
        raise UserError(f"suite {suite.name} has no finished run; a figure needs one")
    if suite.table == "grid":
        return _heat_maps(suite, ended, folder)
    curves = folder / f"{suite.name}_curves.png"
    draw_curve_panels(curves_of(suite, ended), curves, suite.title)
    profile = folder / f"{suite.name}_profile.png"
    draw_profiles(profiles(suite, ended), profile, suite.title, "score τ: 0 the task's worst run, 1 its best")
    return [curves, profile]


def curves_of(suite: Suite, records: Records) -> dict[str, list[Curve]]:
    """Returns task -> the curves of its runs."""
    panels: dict[str, list[Curve]] = {}
    for key in suite.keys:
        points = [point for point in records[key]["curve"] if point[1] is not None] if key in records else []
        if points and (not key.variant or key.variant != suite.random):
            steps, returns = np.array(points, float).T
            panels.setdefault(task_name(key.env), []).append(Curve(label(suite, key.algo, key.variant), steps, returns))
    return panels


def draw_curve_panels(panels: Mapping[str, Sequence[Curve]], output: Path, title: str) -> None:
    """Draws the curves of several tasks side by side, each label in one style, with one legend."""
    everything = [curve for curves in panels.values() for curve in curves]
    styles = {label: (f"C{index % 10}", "-:"[index // 10 % 2]) for index, label in enumerate(by_label(everything))}
    columns = min(len(panels), PANELS_IN_A_ROW)
    rows = -(-len(panels) // columns)
    lines: dict[str, Any] = {}
    with picture(output, None, (max(3.6 * columns, 5.0), 2.8 * rows + 0.6)) as whole:
        figure = whole.figure
        whole.remove()
        for index, (task, curves) in enumerate(panels.items()):
            axes = figure.add_subplot(rows, columns, index + 1)
            for label, members in by_label(curves).items():
                lines[label] = draw_middle(axes, label, members, *styles[label])
            axes.set_title(task, fontsize=10)
            axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 5))
            axes.grid(alpha=0.3)
            if index >= len(panels) - columns:
                axes.set_xlabel("environment steps")
        figure.suptitle(title)
        figure.supylabel(return_label(everything), fontsize=10)
        figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=4, frameon=False)


def profiles(suite: Suite, records: Records) -> dict[str, np.ndarray]:
    """Returns algorithm -> the scores of its runs on all tasks, from 0, each task's worst run, to 1, its best."""
    groups: dict[str, list[float]] = {}
    for env in dict.fromkeys(each.env for each in suite.configurations):
        found = [
            (label(suite, each.algo, each.variant), list(scores_of(suite, each, records).values()))
            for each in suite.configurations
            if each.env == env and (not each.variant or each.variant != suite.random)
        ]
        everything = [score for _, scores in found for score in scores]
        if everything:
            low, high = min(everything), max(everything)
            for name, scores in found:
                groups.setdefault(name, []).extend(1.0 - (high - score) / ((high - low) or 1.0) for score in scores)
    return {name: np.array(scores) for name, scores in groups.items() if scores}


def _heat_maps(suite: Suite, records: Records, folder: Path) -> list[Path]:
    down, across = suite.grid
    made = []
    for env in dict.fromkeys(each.env for each in suite.configurations):
        by_variant = {each.variant: scores_of(suite, each, records) for each in suite.configurations if each.env == env}
        points = [[value, other] for value in suite.grid[down] for other in suite.grid[across]]
        known = [(point, by_variant[grid_name(dict(zip(suite.grid, point, strict=True)))]) for point in points]
        known = [(point, scores) for point, scores in known if scores]
        if known:
            seeds = min(len(scores) for _, scores in known)
            table = np.array([list(scores.values())[:seeds] for _, scores in known])
            path = folder / f"{suite.name}_{file_name(env)}.png"
            draw_heat_map(
                Trials([down, across], [point for point, _ in known], table), path, f"{suite.title}: {task_name(env)}"
            )
            made.append(path)
    return made


def label(suite: Suite, algo: str, variant: str) -> str:
    """Returns what a legend calls an algorithm's runs: by what tells them apart in the suite."""
    name = ALGORITHMS.get(algo, algo)
    if not variant:
        return name
    return variant if len({each.algo for each in suite.configurations}) == 1 else f"{name}, {variant}"
