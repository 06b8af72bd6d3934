"""Pictures show the state: what moves in the state moves in the picture, and nothing else does."""

import gymnax
import jax
import numpy as np
import pytest

from purejaxrl_gae.environments import drawings, make_environment, observation_drawings

pytest.importorskip("PIL")


def first_state(env, seed=0):
    environment = make_environment(env)
    states, _ = environment.reset(jax.random.key(seed), 1)
    return environment, jax.tree.map(lambda leaf: leaf[0], states)


def place_of(frame, colour):
    """Mean row and column of a colour's pixels, as fractions of the picture."""
    rows, columns = np.nonzero(np.abs(frame.astype(int) - colour).max(axis=-1) < 30)
    assert rows.size, colour
    return rows.mean() / frame.shape[0], columns.mean() / frame.shape[1]


@pytest.mark.parametrize("env", [*drawings.SCENES, "Breakout-MinAtar", "Asterix-MinAtar", "Freeway-MinAtar"])
def test_every_scene_is_drawn_one_frame_for_a_state(env):
    environment, state = first_state(env)
    frames = environment.render([state, state])
    assert len(frames) == 2
    np.testing.assert_array_equal(*frames)
    assert frames[0].dtype == np.uint8 and frames[0].ndim == 3 and frames[0].shape[2] == 3
    assert len(np.unique(frames[0].reshape(-1, 3), axis=0)) >= 3


def test_the_pendulum_points_where_its_angle_says():
    environment, state = first_state("Pendulum-v1")
    angles = {0.0: (0.3, 0.5), np.pi: (0.7, 0.5), np.pi / 2: (0.5, 0.3), -np.pi / 2: (0.5, 0.7)}
    frames = environment.render([state.replace(theta=np.float32(angle), last_u=np.float32(0.0)) for angle in angles])
    for frame, place in zip(frames, angles.values(), strict=True):
        np.testing.assert_allclose(place_of(frame, drawings.BLUE), place, atol=0.05)
    with_torque = environment.render([state.replace(last_u=np.float32(2.0))])[0]
    place_of(with_torque, drawings.ORANGE)
    with pytest.raises(AssertionError):
        place_of(frames[0], drawings.ORANGE)


def test_the_cart_and_its_pole_lean_as_they_do():
    environment, state = first_state("CartPole-v1")
    left, right = environment.render([state.replace(x=x, theta=theta) for x, theta in ((-1.2, 0.2), (1.2, -0.2))])
    assert place_of(left, drawings.INK)[1] == pytest.approx(0.5 - 1.2 / 5.52, abs=0.02)
    assert place_of(right, drawings.INK)[1] == pytest.approx(0.5 + 1.2 / 5.52, abs=0.02)
    assert place_of(left, drawings.ORANGE)[1] > place_of(left, drawings.INK)[1]
    assert place_of(right, drawings.ORANGE)[1] < place_of(right, drawings.INK)[1]


def test_the_acrobat_hangs_from_its_joint():
    environment, state = first_state("Acrobot-v1")
    hanging = state.replace(joint_angle1=0.0, joint_angle2=0.0)
    down, bent = environment.render([hanging, hanging.replace(joint_angle2=np.pi / 2)])
    assert place_of(down, drawings.ORANGE) > (0.75, 0.0)
    row, column = place_of(bent, drawings.ORANGE)
    assert row == pytest.approx(0.5 + 1.0 / 4.6, abs=0.03) and column == pytest.approx(0.5 + 0.5 / 4.6, abs=0.05)


def test_the_car_stands_on_its_hill():
    environment, state = first_state("MountainCar-v0")
    valley, slope, goal = environment.render([state.replace(position=x) for x in (-np.pi / 6, 0.0, 0.5)])
    places = [place_of(frame, drawings.BLUE) for frame in (valley, slope, goal)]
    assert places[0][0] > places[1][0] > places[2][0]  # higher and higher
    assert places[0][1] < places[1][1] < places[2][1]
    assert place_of(goal, drawings.GREEN)[1] == pytest.approx(places[2][1], abs=0.06)


def test_grids_have_a_tile_for_each_cell_in_its_channels_colour():
    grid = np.zeros((10, 10, 4), np.float32)
    grid[2, 7, 3] = grid[9, 0, 0] = grid[9, 0, 1] = 1.0
    frame = drawings.draw_grid(grid)
    assert frame.shape == (400, 400, 3)
    tiles = frame[20::40, 20::40]
    expected = np.broadcast_to(drawings.CELL, (10, 10, 3)).copy()
    expected[2, 7], expected[9, 0] = drawings.CHANNELS[3], drawings.CHANNELS[0]
    np.testing.assert_array_equal(tiles, expected)


def test_other_environments_are_drawn_by_their_observations():
    environment, _ = first_state("Catch-bsuite")
    assert environment.render is None
    observations = [np.array([1.0, -1.0]), np.array([-1.0, 1.0]), np.array([1.0, -1.0])]
    frames = observation_drawings.draw_observations(observations, [1.0, 1.0, -2.0])
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[0][76, 148], drawings.BLUE)  # 1: above the middle
    np.testing.assert_array_equal(frames[1][76, 148], drawings.PAPER)
    np.testing.assert_array_equal(frames[0][:200], frames[2][:200])  # the same observation
    assert not np.array_equal(frames[0][:200], frames[1][:200])
    assert not np.array_equal(frames[0][220:], frames[2][220:])  # after other rewards
    assert len(observation_drawings.draw_observations([np.zeros(()), np.zeros(())], [0.0, 0.0])) == 2


def test_observations_have_scales_and_the_numbers_of_their_elements(monkeypatch):
    texts = []
    monkeypatch.setattr(drawings.Canvas, "text", lambda self, point, text, anchor="la": texts.append(text))
    observation_drawings.draw_observations([np.array([0.5, -2.5, 0.0])], [4.0])
    assert texts == ["observation", "2.5", "0", "-2.5", "0", "1", "2", "return until now", "0", "4"]
    texts.clear()
    observation_drawings.draw_observations([np.ones((10, 12))], [-3.0])
    assert texts[0] == "observation, means of 3" and texts[4:8] == ["0", "12", "24", "36"]


def test_an_object_that_only_bears_a_known_name_is_not_drawn_as_it():
    class Own:
        pass

    assert drawings.renderer_of("Pendulum-v1", Own(), None) is None
    assert drawings.renderer_of("Pendulum-v1", *gymnax.make("Pendulum-v1")) is not None
