"""The display of a run: a live line on a terminal, plain lines elsewhere. What cannot be shown costs nothing."""

import math
import time
from typing import Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from purejaxrl_gae.runs.streams import Stream

PLAIN_SECONDS = 2.0


class Display:
    """Progress of one run.

    Args:
      total_steps: environment steps of the whole run, as `update` counts them.
      enabled: show progress; messages are printed either way.
      muted: print nothing on standard output; for all but one of several processes.
      agents: that make each of these steps; speeds are of all together.
    """

    def __init__(self, total_steps: int, *, enabled: bool, muted: bool = False, agents: int = 1):
        output = cast(Any, Stream("stdout", self._lost))
        self._console = Console(file=output, highlight=False, soft_wrap=True, quiet=muted)
        self._errors = Console(file=cast(Any, Stream("stderr")), highlight=False, soft_wrap=True)
        self._total_steps, self._agents = total_steps, agents
        self._enabled = enabled
        self._last_plain_line = -math.inf
        self._live: Progress | None = None

    def start(self) -> None:
        """Shows the bar, on a terminal."""
        if self._enabled and self._console.is_terminal:
            self._live = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("steps"),
                TextColumn("{task.fields[speed]}"),
                TextColumn("score {task.fields[score]}"),
                TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=2,  # drawing takes a core from the training
            )
            self._task = self._live.add_task("training", total=self._total_steps, speed="", score="-")
            self._live.start()

    def update(self, env_steps: int, steps_per_second: float, score: float, *, last: bool = False) -> None:
        """Shows where the run stands; `score` is NaN while no episode has ended."""
        if not self._enabled:
            return
        shown_score = "-" if math.isnan(score) else f"{score:.1f}"
        if self._live is not None:
            self._live.update(
                self._task, completed=env_steps, speed=f"{_short(steps_per_second)} steps/s", score=shown_score
            )
            return
        now = time.monotonic()
        if last or now - self._last_plain_line >= PLAIN_SECONDS:
            self._last_plain_line = now
            left = self._agents * (self._total_steps - env_steps) / max(steps_per_second, 1e-9)
            self.say(
                f"{env_steps:>12,} / {self._total_steps:,} steps  {_short(steps_per_second):>6} steps/s  "
                f"score of the last 100 episodes {shown_score:>8}  time left {left:.0f} s"
            )

    def stop(self) -> None:
        """Leaves the bar as it stands."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, message: str) -> None:
        """Prints one line on standard output, above the bar."""
        self._console.print(message, markup=False)

    def table(self, titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        """Prints rows under their titles, floats with one decimal; what is too wide goes on below the first column."""
        cells = [[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
        broken = [title.replace("_", "_\n") for title in titles]
        columns = list(zip(broken, *cells, strict=True))
        widths = [max(len(line) for text in column for line in text.split("\n")) for column in columns]
        for shown in fitting(widths, self._console.width):
            table = Table(box=None, pad_edge=False)
            for index in shown:
                table.add_column(broken[index], justify="right", no_wrap=True)
            for row in cells:
                table.add_row(*(row[index] for index in shown))
            self._console.print(table)

    def complain(self, message: str) -> None:
        """Prints one line on standard error."""
        console = self._errors if self._live is None else self._live.console
        console.print(message, markup=False)

    def _lost(self, reason: str) -> None:
        self._errors.print(f"standard output cannot be written ({reason}); the run goes on without it", markup=False)


def fitting(widths: list[int], room: int) -> list[list[int]]:
    """Returns the columns of each of several tables, so that none is wider than there is room; all have column 0."""
    tables: list[list[int]] = [[0]]
    used = widths[0]
    for index, width in enumerate(widths[1:], 1):
        if used + 2 + width > room and len(tables[-1]) > 1:
            tables.append([0])
            used = widths[0]
        tables[-1].append(index)
        used += 2 + width
    return tables


def _short(number: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{suffix}"
    return f"{number:.0f}"
