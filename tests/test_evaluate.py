"""Scores and pictures of a run's policy, and of a policy.npz alone."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from purejaxrl_gae.evaluate import EvaluateOptions, evaluate
from purejaxrl_gae.runs import animation, training_run
from purejaxrl_gae.runs.run_options import RunOptions
from purejaxrl_gae.settings.errors import UserError
from tests.configs import tiny_ppo

image = pytest.importorskip("PIL.Image")

TINY = tiny_ppo(total_timesteps=1024, num_steps=64)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "cartpole"
    options = RunOptions(run_dir=path, eval_episodes=4, progress=False, tensorboard=False, compilation_cache=False)
    training_run.run(TINY, options)
    return path


def test_a_run_and_its_policy_file_play_the_same(run_dir):
    by_run = evaluate(EvaluateOptions(run_dir=run_dir, episodes=20, seed=3))
    by_file = evaluate(EvaluateOptions(policy=run_dir / "policy.npz", episodes=20, seed=3))
    assert by_file["env"] == "CartPole-v1"
    assert by_file["episodes"] == by_run["episodes"] == 20
    assert 8.0 < by_file["return_mean"] < 200.0
    assert by_file["return_mean"] == by_file["episodic_length"]  # a reward of 1 for each step
    assert by_file["return_mean"] == by_run["return_mean"]  # the same starts, and by mode the same actions
    assert by_file["sampled"]["return_mean"] == pytest.approx(by_run["sampled"]["return_mean"], rel=0.5)


def test_sampled_alone_is_what_stands_beside_the_mode(run_dir):
    both = evaluate(EvaluateOptions(policy=run_dir / "policy.npz", episodes=20, seed=3))
    alone = evaluate(EvaluateOptions(policy=run_dir / "policy.npz", episodes=20, seed=3, stochastic=True))
    assert (both["actions"], alone["actions"]) == ("mode", "sampled")
    assert both["sampled"] == {name: alone[name] for name in both["sampled"]}
    assert both["sampled"]["return_mean"] != both["return_mean"]
    assert both["cut_episodes"] == alone["cut_episodes"] == 0


def test_a_gif_has_a_frame_for_each_step_at_its_speed(run_dir, tmp_path):
    path = tmp_path / "new" / "folder" / "episode.gif"
    played = evaluate(EvaluateOptions(run_dir=run_dir, render=path, fps=30, max_frames=12))
    assert played["steps"] == played["return"]
    with image.open(path) as gif:
        assert gif.n_frames == played["steps"]
        assert gif.size == (400, 260 + animation.CAPTION_HEIGHT)
        shown = []
        for index in range(gif.n_frames):
            gif.seek(index)
            shown.append(gif.info["duration"])
    assert sum(shown) == pytest.approx(1000 * played["steps"] / 30, abs=10)
    assert not list(path.parent.glob(".*"))


def test_a_film_strip_shows_eight_frames(run_dir, tmp_path):
    path = tmp_path / "episode.PNG"
    played = evaluate(EvaluateOptions(policy=run_dir / "policy.npz", render=path, seed=2))
    assert played["finished"] and played["steps"] >= 8
    width = animation.STRIP_FRAMES // 2 * (animation.STRIP_WIDTH + 4) - 4
    with image.open(path) as strip:
        assert strip.size == (width, 2 * (156 + animation.CAPTION_HEIGHT))


def test_square_frames_stand_in_one_row(tmp_path):
    path = tmp_path / "strip.png"
    animation.write_animation(path, [np.zeros((40, 40, 3), np.uint8)] * 9, ["caption"] * 9, 30)
    with image.open(path) as strip:
        width = animation.STRIP_FRAMES * (animation.STRIP_WIDTH + 4) - 4
        assert strip.size == (width, animation.STRIP_WIDTH + animation.CAPTION_HEIGHT)


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_video_can_be_read_again(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    frames = [np.full((301, 333, 3), 10 * step, np.uint8) for step in range(20)]
    path = tmp_path / "episode.mp4"
    animation.write_animation(path, frames, ["caption"] * 20, 25)
    reader = ffmpeg.read_frames(str(path))
    about = next(reader)
    assert about["size"] == (332, 328)
    assert about["fps"] == 25
    pictures = [np.frombuffer(data, np.uint8).reshape(328, 332, 3) for data in reader]
    assert len(pictures) == 20
    for step, picture in enumerate(pictures):
        assert np.abs(picture[:290].astype(int) - 10 * step).mean() < 6


def test_small_frames_are_enlarged_until_the_caption_can_be_read(tmp_path):
    path = tmp_path / "atari.gif"
    animation.write_animation(path, [np.zeros((210, 160, 3), np.uint8)], ["step 0   return 0.0"], 30)
    with image.open(path) as gif:
        assert gif.size == (320, 420 + animation.CAPTION_HEIGHT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(render="episode.avi"), "it must end in one of .gif, .mp4, .png"),
        (dict(render="episode.gif", fps=0), "fps is 0; it must be between 1 and 100"),
        (dict(render="episode.gif", max_frames=0), "max_frames is 0; it must be between 1 and"),
        (dict(render="file/episode.gif"), "cannot be written: "),
        (dict(render="folder.gif"), "which is a folder"),
        (dict(episodes=0), "episodes is 0; it must be between 1 and"),
        (dict(seed=-1), "seed is -1; it must be between 0 and"),
        (dict(env="Pendulum-v1"), r"policy is for observations \[4\]; Pendulum-v1 has \[3\]"),
        (dict(env="Nowhere-v1"), "env is 'Nowhere-v1', which gymnax does not know"),
        (dict(policy="nothing.npz"), "which cannot be read: No such file or directory"),
        (dict(policy="file"), "which cannot be read: it is not a policy"),
        (dict(policy=None), "name a run with --run-dir, or the file of a policy with --policy, and not both"),
        (dict(policy=None, run_dir="x", env="CartPole-v1"), "env goes with --policy"),
    ],
)
def test_mistakes_are_one_line(run_dir, tmp_path, changes, message):
    (tmp_path / "file").write_text("not a folder, and not a policy")
    (tmp_path / "folder.gif").mkdir()
    options = EvaluateOptions(policy=run_dir / "policy.npz")
    places = ("render", "policy", "run_dir")
    given = {name: tmp_path / value if name in places and value else value for name, value in changes.items()}
    with pytest.raises(UserError, match=message) as caught:
        evaluate(dataclasses.replace(options, **given))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("package", "suffix"), [("imageio_ffmpeg", ".mp4"), ("PIL.Image", ".gif")])
def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch, tmp_path, package, suffix):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'purejaxrl-gae\[video\]'"):
        animation.check_output(tmp_path / f"episode{suffix}", 30)


def test_the_command_prints_what_it_wrote(run_dir, tmp_path, monkeypatch, capsys):
    from purejaxrl_gae import evaluate as module

    path = tmp_path / "episode.gif"
    arguments = ["evaluate", "--run-dir", str(run_dir), "--render", str(path), "--max-frames", "3"]
    monkeypatch.setattr(sys, "argv", arguments)
    module.main()
    printed = json.loads(capsys.readouterr().out)
    assert printed["steps"] == 3 and not printed["finished"]
    assert path.is_file()
