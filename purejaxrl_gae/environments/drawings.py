"""Pictures of gymnax's environments, drawn from their states with Pillow.

Classic control is drawn as physics, MinAtar as a grid with a colour for each channel. Everything is drawn at three
times its size and scaled down, which is what smooths the edges.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from purejaxrl_gae.settings.errors import UserError

SIZE = 400
SMOOTHING = 3
TEXT_SIZE = 20
Colour = tuple[int, int, int]
Point = tuple[float, float]
WHITE: Colour = (255, 255, 255)
PAPER: Colour = (250, 250, 247)
INK: Colour = (38, 43, 51)
GREY: Colour = (176, 182, 190)
LIGHT: Colour = (226, 229, 233)
BLUE: Colour = (43, 108, 176)
ORANGE: Colour = (221, 107, 32)
GREEN: Colour = (56, 142, 60)
NIGHT: Colour = (24, 27, 33)
CELL: Colour = (36, 40, 48)
CHANNELS: tuple[Colour, ...] = (
    *((86, 180, 233), (240, 228, 66), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0)),
    *((0, 114, 178), (148, 103, 189), (158, 218, 229), (255, 187, 120)),
)


def import_pillow() -> Any:
    """Imports the module PIL.

    Raises:
      UserError: it is not installed.
    """
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
    except ImportError:
        raise UserError("pictures need Pillow: pip install 'purejaxrl-gae[video]'") from None
    return PIL


class Canvas:
    """A picture in the world's coordinates, y upwards.

    Args:
      left: x at the left edge; the world is as wide as it is high per pixel.
      right: x at the right edge.
      bottom: y at the lower edge.
      width: in pixels.
      height: in pixels.
      background: colour.
    """

    def __init__(
        self,
        left: float,
        right: float,
        bottom: float,
        *,
        width: int = SIZE,
        height: int = SIZE,
        background: Colour = PAPER,
    ):
        pillow = import_pillow()
        self.size = (width, height)
        self.image = pillow.Image.new("RGB", (width * SMOOTHING, height * SMOOTHING), background)
        self.draw = pillow.ImageDraw.Draw(self.image)
        self.left, self.bottom = left, bottom
        self.scale = width * SMOOTHING / (right - left)

    def _at(self, point: Point) -> Point:
        x, y = point
        return (x - self.left) * self.scale, self.image.height - (y - self.bottom) * self.scale

    def line(self, points: Iterable[Point], width: float, colour: Colour) -> None:
        """Draws a line through the points, with round ends; width in the world's units."""
        places = [self._at(point) for point in points]
        self.draw.line(places, colour, max(1, round(width * self.scale)), joint="curve")
        for point in (places[0], places[-1]):
            self._disc(point, width * self.scale / 2, colour)

    def polygon(self, points: Iterable[Point], colour: Colour) -> None:
        """Draws a polygon, filled."""
        self.draw.polygon([self._at(point) for point in points], colour)

    def circle(self, centre: Point, radius: float, colour: Colour) -> None:
        """Draws a circle, filled."""
        self._disc(self._at(centre), radius * self.scale, colour)

    def rectangle(self, centre: Point, width: float, height: float, colour: Colour, *, corner: float = 0.0) -> None:
        """Draws a rectangle, filled, with corners of that radius."""
        (left, top), (right, bottom) = (
            self._at((centre[0] + side * width / 2, centre[1] - side * height / 2)) for side in (-1, 1)
        )
        self.draw.rounded_rectangle((left, top, right, bottom), corner * self.scale, colour)

    def text(self, point: Point, text: str, anchor: str = "la") -> None:
        """Writes in ink; `anchor` says what of the text lies at the point, as Pillow names it."""
        font = import_pillow().ImageFont.load_default(TEXT_SIZE * SMOOTHING)
        self.draw.text(self._at(point), text, INK, font, anchor=anchor)

    def _disc(self, centre: Point, radius: float, colour: Colour) -> None:
        x, y = centre
        self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)

    def pixels(self) -> np.ndarray:
        """Returns `[H, W, 3]` uint8, smoothed."""
        return np.asarray(self.image.reduce(SMOOTHING))


def renderer_of(name: str, env: Any, params: Any) -> Callable[[list[Any]], list[np.ndarray]] | None:
    """Returns what draws an environment's states, or None where nothing here can.

    Args:
      name: gymnax's name of the environment.
      env: the object.
      params: its parameters.

    Returns:
      A function from states of one copy to frames `[H, W, 3]` uint8.
    """
    if not type(env).__module__.startswith("gymnax."):
        return None
    if name in SCENES:
        scene = SCENES[name]
        return lambda states: [scene(state, params) for state in states]
    if not name.endswith("-MinAtar"):
        return None
    observe = jax.jit(jax.vmap(lambda state: env.get_obs(state, params)))

    def draw_grids(states: list[Any]) -> list[np.ndarray]:
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
        return [draw_grid(observation) for observation in np.asarray(observe(stacked))]

    return draw_grids


def draw_pendulum(state: Any, params: Any) -> np.ndarray:
    """Draws the rod and the torque that is applied; theta = 0 is upright."""
    theta, torque = float(state.theta), float(state.last_u) / float(params.max_torque)
    canvas = Canvas(-1.4, 1.4, -1.4)
    canvas.line(_arc((0.0, 0.0), 1.18, 0.0, 2.0 * math.pi), 0.008, LIGHT)
    tip = (-math.sin(theta), math.cos(theta))
    canvas.line([(0.0, 0.0), tip], 0.16, INK)
    canvas.line([(0.0, 0.0), tip], 0.11, BLUE)
    canvas.circle(tip, 0.13, INK)
    canvas.circle((0.0, 0.0), 0.05, PAPER)
    if abs(torque) > 0.02:
        _arrow_round(canvas, 0.3, torque)
    return canvas.pixels()


def _arrow_round(canvas: Canvas, radius: float, torque: float) -> None:
    """Draws an arrow about the origin, longer for a larger torque; positive is anticlockwise."""
    extent = math.copysign(0.3 + 1.5 * min(1.0, abs(torque)), torque)
    start = -math.pi / 2 - extent / 2
    end = start + extent
    canvas.line(_arc((0.0, 0.0), radius, start, end), 0.04, ORANGE)
    ahead = end + math.copysign(0.42, torque)
    head = [(radius + 0.1, end), (radius - 0.1, end), (radius, ahead)]
    canvas.polygon([(r * math.cos(a), r * math.sin(a)) for r, a in head], ORANGE)


def _arc(centre: Point, radius: float, start: float, end: float) -> list[Point]:
    angles = np.linspace(start, end, 60)
    return [(centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)) for angle in angles]


def draw_cartpole(state: Any, params: Any) -> np.ndarray:
    """Draws the cart on its track, whose ends end the episode, and the pole."""
    x, theta, limit = float(state.x), float(state.theta), float(params.x_threshold)
    pole = 2.0 * float(params.length)
    canvas = Canvas(-1.15 * limit, 1.15 * limit, -1.0, height=260)
    canvas.line([(-limit, -0.27), (limit, -0.27)], 0.03, GREY)
    for end in (-limit, limit):
        canvas.line([(end, -0.42), (end, -0.12)], 0.05, GREY)
    for wheel in (-0.2, 0.2):
        canvas.circle((x + wheel, -0.19), 0.08, INK)
    canvas.rectangle((x, 0.0), 0.72, 0.32, INK, corner=0.06)
    canvas.line([(x, 0.05), (x + pole * math.sin(theta), 0.05 + pole * math.cos(theta))], 0.11, ORANGE)
    canvas.circle((x, 0.05), 0.05, PAPER)
    return canvas.pixels()


def draw_acrobot(state: Any, params: Any) -> np.ndarray:
    """Draws both links, hanging from a fixed joint, and the height to be reached."""
    lengths = float(params.link_length_1), float(params.link_length_2)
    first, second = float(state.joint_angle1), float(state.joint_angle1) + float(state.joint_angle2)
    elbow = (lengths[0] * math.sin(first), -lengths[0] * math.cos(first))
    hand = (elbow[0] + lengths[1] * math.sin(second), elbow[1] - lengths[1] * math.cos(second))
    canvas = Canvas(-2.3, 2.3, -2.3)
    for start in np.arange(-2.3, 2.3, 0.2):
        canvas.line([(start, 1.0), (start + 0.1, 1.0)], 0.02, GREEN)
    canvas.line([(0.0, 0.0), elbow], 0.2, INK)
    canvas.line([(0.0, 0.0), elbow], 0.14, BLUE)
    canvas.line([elbow, hand], 0.2, INK)
    canvas.line([elbow, hand], 0.14, ORANGE)
    for joint in ((0.0, 0.0), elbow):
        canvas.circle(joint, 0.07, PAPER)
    return canvas.pixels()


def draw_mountain_car(state: Any, params: Any) -> np.ndarray:
    """Draws the car on its hill, sin(3 x), and the flag."""
    low, high, goal = (float(getattr(params, name)) for name in ("min_position", "max_position", "goal_position"))
    canvas = Canvas(low - 0.05, high + 0.05, -0.08, height=290)

    def on_hill(x: float) -> Point:
        return x, 0.45 * math.sin(3.0 * x) + 0.55

    ground = [on_hill(x) for x in np.linspace(low - 0.05, high + 0.05, 120)]
    canvas.polygon([*ground, (high + 0.05, -0.2), (low - 0.05, -0.2)], LIGHT)
    canvas.line(ground, 0.012, GREY)
    pole = on_hill(goal)
    canvas.line([pole, (pole[0], pole[1] + 0.2)], 0.012, INK)
    canvas.polygon([(pole[0], pole[1] + dy) for dy in (0.205, 0.125)] + [(pole[0] + 0.1, pole[1] + 0.165)], GREEN)
    x = float(state.position)
    body = ((-0.085, 0.04), (-0.07, 0.085), (-0.04, 0.09), (-0.03, 0.13), (0.03, 0.13), (0.04, 0.09), (0.07, 0.085))
    angle = math.atan(1.35 * math.cos(3.0 * x))
    cos, sin = math.cos(angle), math.sin(angle)
    under = on_hill(x)
    canvas.polygon(
        [(under[0] + cos * dx - sin * dy, under[1] + sin * dx + cos * dy) for dx, dy in (*body, (0.085, 0.04))], BLUE
    )
    for wheel in (-0.045, 0.045):
        canvas.circle((under[0] + cos * wheel - sin * 0.035, under[1] + sin * wheel + cos * 0.035), 0.035, INK)
    return canvas.pixels()


SCENES: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "Pendulum-v1": draw_pendulum,
    "CartPole-v1": draw_cartpole,
    "Acrobot-v1": draw_acrobot,
    "MountainCar-v0": draw_mountain_car,
    "MountainCarContinuous-v0": draw_mountain_car,
}


def draw_grid(observation: np.ndarray) -> np.ndarray:
    """Draws `[H, W, C]` of zeros and ones as tiles, `[H', W', 3]` uint8, coloured by the first channel that is set."""
    rows, columns, channels = observation.shape
    canvas = Canvas(0.0, columns, 0.0, height=SIZE * rows // columns, background=NIGHT)
    for row in range(rows):
        for column in range(columns):
            found = np.flatnonzero(observation[row, column] > 0.5)
            colour = CHANNELS[int(found[0]) % len(CHANNELS)] if found.size else CELL
            canvas.rectangle((column + 0.5, rows - row - 0.5), 0.9, 0.9, colour, corner=0.12)
    assert channels >= 1
    return canvas.pixels()
