"""Pictures from the folders of runs and sweeps."""

import json

import numpy as np
import pytest

from purejaxrl_gae import plot
from purejaxrl_gae.plot import PlotOptions
from purejaxrl_gae.runs import figures as pictures
from purejaxrl_gae.settings.errors import UserError


def make_run(path, scores, **fields):
    path.mkdir()
    values = {"algorithm": "ppo", "env": "CartPole-v1", "clip_coef": 0.2, "seed": 0, **fields}
    (path / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    rows = [
        {"env_steps": 100 * (i + 1), "wall_seconds": float(i), "score_last100": score} for i, score in enumerate(scores)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if scores[-1] is not None:
        seeds = [{"eval_return_mean": score} for score in np.atleast_1d(scores[-1]).tolist()]
        (path / "summary.json").write_text(json.dumps({"seeds": seeds}))
    return path


def make_sweep(path, names=("learning_rate", "clip_coef"), lost=None):
    path.mkdir()
    (path / "sweep.yaml").write_text("algorithm: ppo\nenv: CartPole-v1\nlearning_rate: 0.1\nclip_coef: 0.2\n")
    rows = []
    for index, (rate, clip) in enumerate((rate, clip) for rate in (1e-4, 1e-3, 1e-2) for clip in (0.1, 0.3)):
        values = dict(zip(("learning_rate", "clip_coef"), (rate, clip), strict=True))
        returns = [None, None] if index == lost else [10.0 * index, 10.0 * index + 1.0]
        rows.append({"values": {name: values[name] for name in names}, "eval_returns": returns})
    (path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def curves_of(*paths, x="env_steps"):
    return plot.read_curves([plot.read_run(path) for path in paths], x)


def test_a_curve_leaves_out_reports_without_an_episode(tmp_path):
    (curve,) = curves_of(make_run(tmp_path / "run", [None, 10.0, 20.0]))
    assert curve.label == "ppo on CartPole-v1"
    np.testing.assert_array_equal(curve.positions, [200, 300])
    np.testing.assert_array_equal(curve.scores, [10, 20])


def test_each_seed_of_a_run_is_a_curve(tmp_path):
    curves = curves_of(make_run(tmp_path / "run", [[None, 1.0], [10.0, 2.0], [20.0, 3.0]]), x="wall_seconds")
    assert [curve.scores.tolist() for curve in curves] == [[10.0, 20.0], [1.0, 2.0, 3.0]]
    assert [curve.positions.tolist() for curve in curves] == [[1.0, 2.0], [0.0, 1.0, 2.0]]


def test_labels_say_in_what_configs_differ_and_leave_seeds_together():
    same = {"algorithm": "ppo", "env": "A", "clip_coef": 0.2, "gamma": 0.9}
    configs = [{**same, "seed": 0}, {**same, "seed": 1}, {**same, "clip_coef": 0.1}, {**same, "env": "B"}]
    assert plot.labels(configs) == [
        "ppo on A, clip_coef 0.2",
        "ppo on A, clip_coef 0.2",
        "ppo on A, clip_coef 0.1",
        "ppo on B",
    ]


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("kind", ["auto", "profile"])
def test_runs_are_drawn(tmp_path, suffix, kind):
    runs = tuple(make_run(tmp_path / f"run{i}", [10.0 * i, 20.0, 30.0 + i]) for i in range(3))
    output = tmp_path / f"curve.{suffix}"
    plot.draw(PlotOptions(runs, output, "CartPole", kind))
    assert output.stat().st_size > 5_000


@pytest.mark.parametrize("kind", ["auto", "heat_map", "parallel", "profile"])
def test_sweeps_are_drawn(tmp_path, kind):
    output = tmp_path / "sweep.png"
    plot.draw(PlotOptions((make_sweep(tmp_path / "sweep", lost=3),), output, kind=kind))
    assert output.stat().st_size > 5_000


def test_a_sweep_of_one_field_has_no_heat_map(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", names=("learning_rate",))
    plot.draw(PlotOptions((sweep,), tmp_path / "parallel.png"))
    with pytest.raises(UserError, match="needs two swept fields"):
        plot.draw(PlotOptions((sweep,), tmp_path / "map.png", kind="heat_map"))


def test_a_diverged_configuration_has_no_score(tmp_path):
    trials = plot.read_trials(make_sweep(tmp_path / "sweep", lost=0))
    assert np.isnan(trials.iqm[0])
    assert trials.iqm[1] == 10.5


def test_folders_that_cannot_be_drawn_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        plot.draw(PlotOptions((tmp_path,)))
    with pytest.raises(UserError, match="no episode has ended yet"):
        plot.draw(PlotOptions((make_run(tmp_path / "run", [None]),)))
    with pytest.raises(UserError, match="has not ended"):
        plot.draw(PlotOptions((tmp_path / "run",), kind="profile"))
    with pytest.raises(UserError, match="kind is heat_map, which is for sweeps"):
        plot.draw(PlotOptions((tmp_path / "run",), kind="heat_map"))
    with pytest.raises(UserError, match="run_dirs is empty"):
        plot.draw(PlotOptions(()))


def test_a_picture_of_unknown_kind_is_refused_in_one_line(tmp_path):
    run = make_run(tmp_path / "run", [1.0, 2.0])
    with pytest.raises(UserError, match=r"it must end in one of \.png, \.svg"):
        plot.draw(PlotOptions((run,), tmp_path / "curve.xyz"))
    with pytest.raises(UserError, match="which is a folder"):
        (tmp_path / "folder.png").mkdir()
        plot.draw(PlotOptions((run,), tmp_path / "folder.png"))
    with pytest.raises(UserError, match="which cannot be written"):
        plot.draw(PlotOptions((run,), tmp_path / "no" / "curve.png"))


HUGE = b'{"env_steps": 1, "wall_seconds": 1.0, "score_last100": 1%s}' % (b"0" * 400)
DAMAGED = [b"", b"{}", b"null", b"7", b'{"env_steps": 1', b"\xff\xfe", b"[" * 5000, b'{"score_last100": "x"}', b"[1]"]
DAMAGED += [HUGE]


@pytest.mark.parametrize("damaged", DAMAGED)
def test_damaged_reports_are_left_out_and_named(tmp_path, capsys, damaged):
    run = make_run(tmp_path / "run", [1.0, 2.0, 3.0])
    first, *rest = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(first + damaged + b"\n" + b"".join(rest))
    (curve,) = curves_of(run)
    assert curve.scores.tolist() == [1.0, 2.0, 3.0]
    assert f"line 2 of {run / 'metrics.jsonl'} cannot be read" in capsys.readouterr().err


def test_a_last_report_cut_short_is_left_out_silently(tmp_path, capsys):
    run = make_run(tmp_path / "run", [1.0, 2.0])
    (run / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes()[:-9])
    assert curves_of(run)[0].scores.tolist() == [1.0]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damaged", [*DAMAGED, b'{"seeds": 3}', b'{"seeds": [{}, 1]}', b'{"seeds": []}'])
def test_a_damaged_summary_is_refused_in_one_line(tmp_path, damaged):
    run = make_run(tmp_path / "run", [1.0, 2.0])
    (run / "summary.json").write_bytes(damaged)
    with pytest.raises(UserError, match=r"summary\.json cannot be read"):
        plot.draw(PlotOptions((run,), tmp_path / "curve.png", kind="profile"))


def test_a_sweep_of_damaged_results_alone_has_none(tmp_path, capsys):
    sweep = make_sweep(tmp_path / "sweep")
    (sweep / "results.jsonl").write_bytes(b"\n".join(DAMAGED))
    with pytest.raises(UserError, match="a sweep without results yet"):
        plot.read_trials(sweep)


def test_what_has_no_finite_score_is_refused(tmp_path):
    with pytest.raises(UserError, match="a profile needs one"):
        pictures.draw_profiles({"a": np.array([np.nan])}, tmp_path / "a.png", None)
    trials = pictures.Trials(["gamma"], [[0.9]], np.array([[np.nan]]))
    with pytest.raises(UserError, match="every configuration diverged"):
        pictures.draw_parallel_coordinates(trials, tmp_path / "a.png", None)


def test_columns_that_span_decades_are_logarithmic():
    scale = pictures._Scale([1e-4, 1e-2, 1e-3])
    assert scale.height(1e-3) == pytest.approx(0.5)
    assert pictures._Scale([1.0, 2.0, 3.0]).height(2.0) == pytest.approx(0.5)
    assert pictures._Scale(["a", None, "b"]).height("b") == 1.0
