"""python -m purejaxrl_gae.plot RUN...: learning curves of one or many runs in one picture.

Runs of one algorithm on one environment are drawn as one curve: the mean over seeds, with the range they span.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from purejaxrl_gae.config import read_yaml
from purejaxrl_gae.errors import UserError

POINTS = 100


@dataclass(frozen=True)
class PlotOptions:
    """Draws the score of the last 100 training episodes over environment steps."""

    run_dirs: Positional[tuple[Path, ...]]
    """folders of runs"""
    output: Path = Path("learning_curve.png")
    """picture to write; .png or .svg"""
    title: str | None = None
    """above the picture; the environment where there is one"""


@dataclass(frozen=True)
class Curve:
    """One run's score over its steps.

    Attributes:
      label: algorithm and environment.
      env_steps: `[R]`.
      scores: `[R]` score of the last 100 episodes.
    """

    label: str
    env_steps: np.ndarray
    scores: np.ndarray


def read_curve(path: Path) -> Curve:
    """The curve in a run folder.

    Raises:
      UserError: it holds no reports.
    """
    try:
        records = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        values = read_yaml(path / "config.yaml")
    except OSError as error:
        raise UserError(f"run_dirs has {str(path)!r}, which holds no run: {error.strerror}") from None
    scored = [record for record in records if record.get("score_last100") is not None]
    if not scored:
        raise UserError(f"run_dirs has {str(path)!r}, in which no episode has ended yet")
    steps = np.array([record["env_steps"] for record in scored], float)
    scores = np.array([record["score_last100"] for record in scored], float)
    return Curve(f"{values.get('algorithm', '?')} on {values.get('env', '?')}", steps, scores)


def draw(curves: list[Curve], output: Path, title: str | None) -> None:
    """Writes the picture.

    Raises:
      UserError: matplotlib is not installed, or the picture cannot be written.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        raise UserError("plotting needs matplotlib: pip install 'purejaxrl-gae[plot]'") from None
    groups = defaultdict(list)
    for curve in curves:
        groups[curve.label].append(curve)
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for label, members in sorted(groups.items()):
        start = max(member.env_steps[0] for member in members)
        stop = min(member.env_steps[-1] for member in members)
        grid = np.linspace(start, stop, POINTS)
        scores = np.stack([np.interp(grid, member.env_steps, member.scores) for member in members])
        seeds = f"{len(members)} seeds" if len(members) > 1 else "1 seed"
        (line,) = axes.plot(grid, scores.mean(0), label=f"{label}, {seeds}")
        if len(members) > 1:
            axes.fill_between(grid, scores.min(0), scores.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return, mean of the last 100 training episodes")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=False)
    if title:
        axes.set_title(title)
    try:
        figure.savefig(output, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"output is {str(output)!r}, which cannot be written: {error}") from None
    plt.close(figure)


def main() -> None:
    """The command line."""
    from purejaxrl_gae.cli import parse_options, run_and_exit

    options = parse_options("plot", PlotOptions)

    def plot():
        if not options.run_dirs:
            raise UserError("run_dirs is empty; name at least one folder of a run")
        draw([read_curve(path) for path in options.run_dirs], options.output, options.title)
        print(f"wrote {options.output}")

    run_and_exit(plot)


if __name__ == "__main__":
    main()
