"""Sweeps as a user sees them: one compile for what is traced, chunks, interruption, the ranked table."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from purejaxrl_gae import PPOConfig, cli, sweep
from purejaxrl_gae.runs import programs, sweep_results, sweep_run, training_run
from purejaxrl_gae.runs.run_options import RunOptions, SweepOptions
from purejaxrl_gae.settings.errors import Interrupted, RunError, UserError
from tests.configs import tiny_ppo

TINY = tiny_ppo(total_timesteps=512)
GRID = ("learning_rate=1e-4,1e-3", "clip_coef=0.1,0.3")  # 8 agents; chunks and smaller sweeps are of 4, one program


def options(**changes):
    defaults = dict(num_seeds=2, grid=GRID, eval_episodes=5, progress=False, compilation_cache=False)
    defaults |= dict(updates_per_report=1)  # the area under the learning curve is of the reports
    return SweepOptions(**{**defaults, **changes})


def run_sweep(path, config=TINY, **changes):
    chosen = options(run_dir=path, **changes)
    chosen.validate()
    return sweep_run.run(config, chosen, sweep.new_sweep_path(config, chosen))


def results(path):
    return [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def compiled(monkeypatch):
    """Counts the programs that are compiled."""
    count = []
    original = programs.AgentPrograms.__init__

    def counting(self, *arguments):
        count.append(self)
        original(self, *arguments)

    monkeypatch.setattr(sweep_run.AgentPrograms, "__init__", counting)
    return count


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "whole"
    return path, run_sweep(path)


def test_the_results_hold_every_configuration_and_seed(whole):
    path, summary = whole
    rows = results(path)
    assert [row["configuration"] for row in rows] == [0, 1, 2, 3]
    assert [tuple(row["values"].values()) for row in rows] == [(1e-4, 0.1), (1e-4, 0.3), (1e-3, 0.1), (1e-3, 0.3)]
    assert all(len(row["eval_returns"]) == 2 and row["env_steps"] == 512 for row in rows)
    assert summary["env_steps"] == 4 * 2 * 512
    assert summary["programs_compiled"] == 1
    assert summary["best"]["iqm"] == max(row["iqm"] for row in rows)


def test_the_best_configuration_is_a_config_file(whole, tmp_path):
    path, summary = whole
    config, _ = cli.parse("ppo", ["--config", str(path / "best.yaml")])
    assert config == dataclasses.replace(TINY, **summary["best"]["values"])
    assert yaml.safe_load((path / "best.yaml").read_text())["algorithm"] == "ppo"


def test_an_agent_of_a_sweep_is_the_agent_of_a_run(whole, tmp_path):
    row = results(whole[0])[2]
    config = dataclasses.replace(TINY, learning_rate=1e-3, clip_coef=0.1)
    run_options = RunOptions(
        run_dir=tmp_path / "run",
        num_seeds=2,
        eval_episodes=5,
        progress=False,
        compilation_cache=False,
        tensorboard=False,
    )
    summary = training_run.run(config, run_options)
    alone = [each["train_return_last100"] for each in summary["seeds"]]
    np.testing.assert_allclose(row["train_returns_last100"], alone, rtol=1e-5)


def test_what_cannot_share_a_program_is_trained_by_another(tmp_path, compiled):
    run_sweep(tmp_path / "sweep", grid=("gamma=0.9,0.99", "target_kl=none,0.01"))
    assert len(compiled) == 2  # with and without a target KL; tests/runs/test_sweep_chunks.py has more
    assert len(results(tmp_path / "sweep")) == 4


def test_chunks_share_the_program_and_change_nothing(whole, tmp_path, compiled):
    run_sweep(tmp_path / "sweep", max_agents=4, grid=(*GRID,))
    assert len(compiled) == 1
    for one, other in zip(results(whole[0]), results(tmp_path / "sweep"), strict=True):
        assert one == other


def test_random_draws_are_those_of_the_seed(tmp_path):
    run_sweep(tmp_path / "a", grid=(), random=("4", "learning_rate=log:1e-5:1e-2", "gamma=uniform:0.9:0.99"))
    values = [row["values"] for row in results(tmp_path / "a")]
    drawn = options(grid=(), random=("4", "learning_rate=log:1e-5:1e-2", "gamma=uniform:0.9:0.99"))
    assert values == drawn.random_points(PPOConfig, TINY.seed)


def test_a_diverged_seed_is_counted_and_ranked_last(tmp_path):
    grid = ("learning_rate=1e-3,1e36",)
    run_sweep(tmp_path / "sweep", grid=grid)
    good, bad = results(tmp_path / "sweep")
    assert good["diverged"] == 0 and np.isfinite(good["iqm"])
    assert bad["diverged"] == 2 and bad["iqm"] is None and bad["eval_returns"] == [None, None]
    best = yaml.safe_load((tmp_path / "sweep" / "best.yaml").read_text())
    assert best["learning_rate"] == 1e-3


def test_a_sweep_interrupted_in_the_middle_of_a_chunk_resumes_to_the_same_results(whole, tmp_path, monkeypatch):
    path = tmp_path / "sweep"
    calls = []
    original = sweep_run.devices.agree

    def stopping(wish):
        calls.append(wish)
        return len(calls) == 8 or original(wish)  # in the second chunk, after its first report

    monkeypatch.setattr(sweep_run.devices, "agree", stopping)
    with pytest.raises(Interrupted):
        run_sweep(path, max_agents=4, updates_per_report=1)
    monkeypatch.setattr(sweep_run.devices, "agree", original)
    assert 0 < len(results(path)) < 4
    assert list((path / "checkpoints").glob("chunk_*/*"))
    base, resumed = sweep.parse(["--resume", str(path)])
    sweep_run.run(base, dataclasses.replace(resumed, compilation_cache=False, progress=False), path)
    assert results(path) == results(whole[0])
    assert not list((path / "checkpoints").glob("chunk_*"))


def test_a_sweep_that_cannot_be_written_ends_and_names_where_its_results_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sweep_run, "CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "sweep"
    for name in ("checkpoints", "best.yaml/x", "results.jsonl/x"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("a file where a folder should be, and the reverse")
    with pytest.raises(RunError, match=r"best\.yaml.* could not be written; they are in ") as error:
        run_sweep(path, updates_per_report=1, grid=("learning_rate=1e-4,1e-3",))
    assert all(what in str(error.value) for what in ("a checkpoint", "results.jsonl"))
    refuge = Path(str(error.value).rpartition(" ")[2])
    assert len(results(refuge)) == 2 and cli.parse("ppo", ["--config", str(refuge / "best.yaml")])
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 2  # one for the checkpoint, one for the results
    assert "best:" not in shown.out  # there is none here


def test_a_damaged_line_of_results_costs_no_other(whole, tmp_path):
    good = (whole[0] / "results.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_bytes(b"".join([good[0], b"null\n", b"{}\n", *good[2:]]))
    said = []
    assert list(sweep_results.read(tmp_path / "results.jsonl", said.append)) == [0, 2, 3]
    assert said == [
        f"2 lines (2, 3) of {tmp_path / 'results.jsonl'} cannot be read; their configurations are trained again"
    ]


def test_a_killed_sweep_resumes_from_the_command_line(tmp_path):
    path = tmp_path / "sweep"
    flags = "--env CartPole-v1 --no-preset --total-timesteps 12000 --num-envs 4 --num-steps 32 --hidden-sizes 8 8 "
    flags += "--num-minibatches 4 --update-epochs 4 "
    flags += "--num-seeds 2 --grid learning_rate=1e-4,1e-3 --max-agents 2 --eval-episodes 5 --updates-per-report 10"
    module = [sys.executable, "-m", "purejaxrl_gae.sweep"]
    process = subprocess.Popen([*module, *flags.split(), "--run-dir", str(path)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (path / "results.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    resumed = subprocess.run([*module, "--resume", str(path)], capture_output=True, text=True, timeout=300)
    assert resumed.returncode == 0, resumed.stderr
    assert [row["configuration"] for row in results(path)] == [0, 1]
    assert json.loads((path / "summary.json").read_text())["configurations"] == 2


def test_optuna_asks_for_many_and_is_told(tmp_path, compiled):
    pytest.importorskip("optuna")
    chosen = dict(grid=(), random=("4", "learning_rate=log:1e-5:1e-2", "clip_coef=0.1,0.3"), num_seeds=1)
    summary = run_sweep(tmp_path / "sweep", optuna_rounds=2, **chosen)
    rows = results(tmp_path / "sweep")
    assert [row["configuration"] for row in rows] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert all(1e-5 <= row["values"]["learning_rate"] <= 1e-2 for row in rows)
    assert summary["best"] in rows
    # Told the same again, Optuna asks the same: so a finished sweep resumes without training anything.
    base, resumed = sweep.parse(["--resume", str(tmp_path / "sweep")])
    before = len(compiled)
    sweep_run.run(base, dataclasses.replace(resumed, compilation_cache=False, progress=False), tmp_path / "sweep")
    assert len(compiled) == before
    assert results(tmp_path / "sweep") == rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": ()}, "grid and random are both empty"),
        ({"random": ("learning_rate=1,2",)}, "must begin with how many"),
        ({"random": ("3",)}, "nothing to draw"),
        ({"optuna_rounds": 2}, "needs random"),
        ({"num_seeds": 0}, "num_seeds is 0; it must be between 1 and"),
        ({"num_processes": 2}, "needs coordinator"),
    ],
)
def test_options_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        options(**changes).validate()


def test_a_wrong_value_in_the_grid_is_refused_before_training(tmp_path):
    with pytest.raises(UserError, match=r"gamma is 1\.5; it must be between 0 and 1"):
        run_sweep(tmp_path / "sweep", grid=("gamma=0.9,1.5",))
    assert not (tmp_path / "sweep").exists()


def test_a_folder_that_holds_a_sweep_is_not_overwritten(whole):
    with pytest.raises(UserError, match="holds a sweep already"):
        sweep.new_sweep_path(TINY, options(run_dir=whole[0]))
    with pytest.raises(UserError, match="cannot be combined with --resume"):
        sweep.parse(["--resume", str(whole[0]), "--grid", "gamma=0.9"])
    with pytest.raises(UserError, match="holds no sweep"):
        sweep.parse(["--resume", str(whole[0].parent)])


def test_a_wrong_configuration_is_refused_before_a_folder_is_made(tmp_path, capsys):
    path = tmp_path / "sweep"
    with pytest.raises(SystemExit):
        sweep.main(["--env", "CartPole-v1", "--grid", "gamma=0.9,1.5", "--run-dir", str(path)])
    assert "gamma is 1.5" in capsys.readouterr().err
    assert not path.exists()
