"""Pictures of environments that nothing else can draw: what is observed, and the return until now."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.environments.drawings import BLUE, GREY, LIGHT, ORANGE, Canvas

# In shares of the picture's width.
LEFT, RIGHT = 0.17, 0.97
BAR_HEIGHT = 0.14
RETURNS_BOTTOM, RETURNS_HEIGHT = 0.06, 0.26
MOST_BARS, MOST_LABELS = 40, 10


def draw_observations(observations: Sequence[Any], rewards: Sequence[float]) -> list[np.ndarray]:
    """Draws an environment that nothing else can draw: its observation as bars, its return until now as a line.

    Args:
      observations: of T steps, any shape each.
      rewards: of T steps.

    Returns:
      T frames `[SIZE, SIZE, 3]` uint8, with the numbers of the observation's elements and the scales.
    """
    rows = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(each)]) for each in observations]
    flat = np.stack(rows).astype(np.float64)
    flat = flat if flat.shape[1] else np.zeros((len(flat), 1))
    groups = np.array_split(np.arange(flat.shape[1]), min(MOST_BARS, flat.shape[1]))
    bars = np.stack([flat[:, group].mean(axis=1) for group in groups], axis=1)
    largest = max(float(np.abs(bars).max()), 1e-8)
    returns = np.cumsum(rewards)
    low, high = min(0.0, float(returns.min())), max(0.0, float(returns.max()))
    heights = RETURNS_BOTTOM + RETURNS_HEIGHT * (returns - low) / max(high - low, 1e-8)
    firsts = [int(group[0]) for group in groups]
    title = "observation" if len(groups) == flat.shape[1] else f"observation, means of {len(groups[0])}"
    frames = []
    for step in range(len(bars)):
        canvas = Canvas(0.0, 1.0, 0.0)
        _draw_bars(canvas, bars[step] / largest, firsts, title, largest)
        _draw_returns(canvas, heights[: step + 1], len(bars), low, high)
        frames.append(canvas.pixels())
    return frames


def _draw_bars(canvas: Canvas, bars: np.ndarray, firsts: Sequence[int], title: str, largest: float) -> None:
    """Draws bars between -1 and 1 over the numbers of their first elements, beside their scale."""
    middle, width = 0.74, (RIGHT - LEFT) / len(bars)
    canvas.text((0.02, 0.97), title)
    for height, label in ((1.0, f"{largest:.3g}"), (0.0, "0"), (-1.0, f"-{largest:.3g}")):
        place = middle + BAR_HEIGHT * height
        canvas.line([(LEFT, place), (RIGHT, place)], 0.004, GREY if height == 0.0 else LIGHT)
        canvas.text((LEFT - 0.02, place), label, anchor="rm")
    shown = -(-len(bars) // MOST_LABELS)
    for index, value in enumerate(bars):
        x = LEFT + (index + 0.5) * width
        size = BAR_HEIGHT * abs(float(value))
        canvas.rectangle((x, middle + BAR_HEIGHT * float(value) / 2), 0.8 * width, max(0.004, size), BLUE)
        if index % shown == 0:
            canvas.text((x, middle - BAR_HEIGHT - 0.035), str(firsts[index]), anchor="mm")


def _draw_returns(canvas: Canvas, heights: np.ndarray, num_steps: int, low: float, high: float) -> None:
    """Draws the return until now, over all steps of the episode, beside its scale."""
    canvas.text((0.02, 0.4), "return until now")
    for place, value in ((RETURNS_BOTTOM, low), (RETURNS_BOTTOM + RETURNS_HEIGHT, high)):
        canvas.line([(LEFT, place), (RIGHT, place)], 0.004, LIGHT)
        canvas.text((LEFT - 0.02, place), f"{value:.3g}", anchor="rm")
    steps = (RIGHT - LEFT) * np.arange(len(heights)) / max(1, num_steps - 1)
    points = [(LEFT + float(x), float(height)) for x, height in zip(steps, heights, strict=True)]
    canvas.line(points, 0.01, ORANGE)
    canvas.circle(points[-1], 0.014, ORANGE)
