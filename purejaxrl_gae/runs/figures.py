"""Pictures of runs and sweeps, for the `[plot]` extra; each is readable without a caption."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl_gae.runs.statistics import interquartile_mean, performance_profile, with_interval
from purejaxrl_gae.settings.errors import UserError, shown

POINTS = 100
RESAMPLES = 500
SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Curve:
    """One agent's score over its training.

    Attributes:
      label: what it is drawn as; curves of one label are seeds of one thing.
      positions: `[R]` environment steps or seconds.
      scores: `[R]`.
    """

    label: str
    positions: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Trials:
    """The trials of a sweep.

    Attributes:
      names: of the fields that were swept.
      values: `[C][D]`, of each configuration.
      scores: `[C, S]` of each seed, NaN where it diverged.
    """

    names: list[str]
    values: list[list[Any]]
    scores: np.ndarray

    @property
    def iqm(self) -> np.ndarray:
        """`[C]`, NaN where a seed diverged."""
        return np.array([interquartile_mean(row[:, None]) for row in self.scores])


def check_output(path: Path) -> None:
    """Refuses what could not be written, before anything is read.

    Raises:
      UserError: the suffix is not a picture's, or the path is a folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"output is {shown(str(path))}; it must end in one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UserError(f"output is {shown(str(path))}, which is a folder; it must be a file")


@contextmanager
def picture(output: Path, title: str | None, size: tuple[float, float] = (7.0, 4.2)) -> Iterator[Any]:
    """Opens axes to draw on, in a figure that is written to a file afterwards.

    Raises:
      UserError: matplotlib is not installed, or the picture cannot be written.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        raise UserError("plotting needs matplotlib: pip install 'purejaxrl-gae[plot]'") from None
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    try:
        yield axes
        if title:
            axes.set_title(title)
        figure.savefig(output, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"output is {str(output)!r}, which cannot be written: {error}") from None
    finally:
        plt.close(figure)


def draw_curves(curves: Sequence[Curve], output: Path, title: str | None, position: str = "environment steps") -> None:
    """Draws the interquartile mean over seeds with its 95% bootstrap interval; what has one seed is one line."""
    with picture(output, title) as axes:
        for label, members in by_label(curves).items():
            seeds = f"{len(members)} seeds" if len(members) > 1 else "1 seed"
            draw_middle(axes, f"{label}, {seeds}", members)
        axes.set_xlabel(position)
        axes.set_ylabel(return_label(curves))
        axes.grid(alpha=0.3)
        axes.legend(loc="best", frameon=False)


def by_label(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Returns label -> its curves, labels in order of appearance."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.label, []).append(curve)
    return groups


def draw_middle(axes: Any, label: str, members: Sequence[Curve], color: str | None = None, style: str = "-") -> Any:
    """Draws one label's curves as one line with its interval, and returns the line."""
    start = max(member.positions[0] for member in members)
    stop = min(member.positions[-1] for member in members)
    grid = np.linspace(start, stop, POINTS)
    scores = np.stack([np.interp(grid, member.positions, member.scores) for member in members])
    middle = np.array([with_interval(column, resamples=RESAMPLES) for column in scores.T])
    (line,) = axes.plot(grid, middle[:, 0], label=label, color=color, linestyle=style)
    if len(members) > 1:
        axes.fill_between(grid, middle[:, 1], middle[:, 2], color=line.get_color(), alpha=0.2, linewidth=0)
    return line


def return_label(curves: Sequence[Curve]) -> str:
    """Returns what the axis of returns is called."""
    several = any(len(members) > 1 for members in by_label(curves).values())
    return "return of the last 100 training episodes" + (",\nIQM over seeds, 95% interval" if several else "")


def draw_heat_map(trials: Trials, output: Path, title: str | None) -> None:
    """Draws the IQM over two swept fields; where more were swept, the best over the others.

    Raises:
      UserError: fewer than two were swept.
    """
    if len(trials.names) < 2:
        raise UserError(f"a heat map needs two swept fields; this sweep has {trials.names}")
    rows = sorted({row[0] for row in trials.values}, key=_order)
    columns = sorted({row[1] for row in trials.values}, key=_order)
    best = np.full((len(rows), len(columns)), np.nan)
    for values, score in zip(trials.values, trials.iqm, strict=True):
        cell = rows.index(values[0]), columns.index(values[1])
        best[cell] = np.fmax(best[cell], score)
    size = (2.5 + 0.9 * len(columns), 1.8 + 0.5 * len(rows))
    with picture(output, title, size) as axes:
        image = axes.imshow(best, cmap="viridis", aspect="auto", origin="lower")
        axes.set_xticks(range(len(columns)), [_text(value) for value in columns])
        axes.set_yticks(range(len(rows)), [_text(value) for value in rows])
        axes.set_xlabel(trials.names[1])
        axes.set_ylabel(trials.names[0])
        middle = (np.nanmin(best) + np.nanmax(best)) / 2 if np.isfinite(best).any() else 0.0
        for (row, column), score in np.ndenumerate(best):
            text = "diverged" if np.isnan(score) else f"{score:.0f}" if abs(score) >= 10 else f"{score:.2f}"
            axes.text(column, row, text, ha="center", va="center", color="black" if score > middle else "white")
        others = ", best over " + ", ".join(trials.names[2:]) if len(trials.names) > 2 else ""
        axes.figure.colorbar(image, ax=axes, label=f"IQM of evaluation returns{others}")


def draw_parallel_coordinates(trials: Trials, output: Path, title: str | None) -> None:
    """Draws one line for each configuration through its values, coloured by its IQM; the best ones are drawn last."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scores = trials.iqm
    finite = np.isfinite(scores)
    if not finite.any():
        raise UserError("run_dirs has a sweep in which every configuration diverged; a heat map alone can show that")
    columns = [_Scale([row[index] for row in trials.values]) for index in range(len(trials.names))]
    columns.append(_Scale(scores[finite].tolist()))
    with picture(output, title, (2.0 + 1.8 * len(columns), 4.2)) as axes:
        colors = ScalarMappable(Normalize(*np.percentile(scores[finite], [0, 100])), "viridis")
        for index in np.argsort(np.where(finite, scores, -np.inf)):
            if not finite[index]:
                continue
            values = [*trials.values[index], scores[index]]
            heights = [column.height(value) for column, value in zip(columns, values, strict=True)]
            axes.plot(range(len(columns)), heights, color=colors.to_rgba(scores[index]), alpha=0.7)
        for place, column in enumerate(columns):
            axes.axvline(place, color="black", linewidth=0.8)
            for height, text in column.ticks():
                axes.annotate(text, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_xticks(range(len(columns)), [*trials.names, "IQM"])
        axes.set_yticks([])
        axes.set_xlim(-0.1, len(columns) - 0.6)
        for side in ("left", "right", "top", "bottom"):
            axes.spines[side].set_visible(False)
        lost = f"; {np.sum(~finite)} diverged and are not drawn" if not finite.all() else ""
        axes.set_xlabel(f"{len(scores)} configurations, lighter is better{lost}")


def draw_profiles(
    groups: dict[str, np.ndarray], output: Path, title: str | None, score: str = "evaluation return τ"
) -> None:
    """Draws, for each score, the share of runs that reached more; groups map a label to final scores `[S]`."""
    everything = np.concatenate([scores[np.isfinite(scores)] for scores in groups.values()])
    if everything.size == 0:
        raise UserError("run_dirs has no finite score; a profile needs one")
    margin = 0.02 * (everything.max() - everything.min() or 1.0)
    thresholds = np.linspace(everything.min() - margin, everything.max() + margin, 400)
    with picture(output, title) as axes:
        for label, scores in groups.items():
            share = performance_profile(np.nan_to_num(scores, nan=-np.inf)[:, None], thresholds)
            axes.plot(thresholds, share, label=f"{label}, {len(scores)} runs", drawstyle="steps-post")
        axes.set_xlabel(score)
        axes.set_ylabel("share of runs with more than τ")
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
        axes.figure.legend(loc="outside lower center", frameon=False)  # below: within, it would lie on the curves


class _Scale:
    """Heights between 0 and 1 of one column's values: logarithmic where they span decades, ranks where not numbers."""

    def __init__(self, values: list[Any]):
        self._numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
        self._distinct = sorted(set(map(_hashable, values)), key=_order)
        numbers = [float(value) for value in self._distinct] if self._numeric else list(range(len(self._distinct)))
        self._log = self._numeric and min(numbers) > 0 and max(numbers) / min(numbers) >= 30
        self._low, self._high = self._scaled(min(numbers)), self._scaled(max(numbers))

    def _scaled(self, number: float) -> float:
        return float(np.log10(number)) if self._log else float(number)

    def height(self, value: Any) -> float:
        """Returns where a value lies."""
        number = float(value) if self._numeric else float(self._distinct.index(_hashable(value)))
        return (self._scaled(number) - self._low) / ((self._high - self._low) or 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Returns heights and texts of all values where few can be told apart, else of five along the range."""
        if len(self._distinct) <= 8:
            shown: list[tuple[float, str]] = []
            for value in self._distinct:
                if not shown or self.height(value) - shown[-1][0] > 0.04:
                    shown.append((self.height(value), _text(value)))
            return shown
        heights = np.linspace(0.0, 1.0, 5)
        numbers = self._low + heights * (self._high - self._low)
        return [
            (float(height), _text(float(10.0**number if self._log else number)))
            for height, number in zip(heights, numbers, strict=True)
        ]


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _order(value: Any) -> tuple[bool, Any]:
    """Orders numbers by size, everything else by its text, after them."""
    is_number = isinstance(value, (int, float))
    return (not is_number, value if is_number else str(value))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
