"""Learning curves from run folders."""

import json

import numpy as np
import pytest

from purejaxrl_gae import plot
from purejaxrl_gae.errors import UserError


def make_run(path, scores, env="CartPole-v1"):
    path.mkdir()
    (path / "config.yaml").write_text(f"algorithm: ppo\nenv: {env}\n")
    rows = [{"env_steps": 100 * (i + 1), "score_last100": score} for i, score in enumerate(scores)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_curve_leaves_out_reports_without_an_episode(tmp_path):
    curve = plot.read_curve(make_run(tmp_path / "run", [None, 10.0, 20.0]))
    assert curve.label == "ppo on CartPole-v1"
    np.testing.assert_array_equal(curve.env_steps, [200, 300])
    np.testing.assert_array_equal(curve.scores, [10, 20])


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_picture_is_written(tmp_path, suffix):
    runs = [make_run(tmp_path / f"run{i}", [10.0 * i, 20.0, 30.0]) for i in range(3)]
    output = tmp_path / f"curve.{suffix}"
    plot.draw([plot.read_curve(run) for run in runs], output, "CartPole")
    assert output.stat().st_size > 5_000


def test_folders_without_runs_or_episodes_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        plot.read_curve(tmp_path)
    with pytest.raises(UserError, match="no episode has ended yet"):
        plot.read_curve(make_run(tmp_path / "run", [None]))


def test_a_picture_of_unknown_kind_is_refused_in_one_line(tmp_path):
    curve = plot.read_curve(make_run(tmp_path / "run", [1.0, 2.0]))
    with pytest.raises(UserError, match="which cannot be written"):
        plot.draw([curve], tmp_path / "curve.xyz", None)
