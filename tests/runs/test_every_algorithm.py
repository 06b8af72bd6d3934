"""Every algorithm runs, stops, resumes to the same bits and is evaluated through the same host."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from purejaxrl_gae import UserError, cli, make_train
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs import training_run
from purejaxrl_gae.runs.run_options import RunOptions
from purejaxrl_gae.settings import config_files
from purejaxrl_gae.settings.errors import Interrupted

OTHERS = [name for name in algorithms.CONFIG_CLASSES if name != "ppo"]  # PPO's own are in test_run.py
SWEPT = {"trpo": ("target_kl", (1e-3, 1e-1)), "off_policy": ("rho_clip", (0.1, 1.0))}
CLASSIC = ["CartPole-v1", "Pendulum-v1", "Acrobot-v1"]


def tiny(algorithm):
    kind = algorithms.config_class(algorithm)
    small = dict(total_timesteps=1000, num_envs=4, num_steps=32, hidden_sizes=(8, 8))
    return kind(env="CartPole-v1", **small, **({"batch_size": 64} if algorithm == "trpo" else {}))


def options(path):
    return RunOptions(run_dir=path, progress=False, compilation_cache=False, updates_per_report=2, eval_episodes=5)


def rows(path):
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if "second" not in k} for line in lines]


@pytest.mark.parametrize("algorithm", OTHERS)
def test_a_run_stopped_and_resumed_is_the_run_never_stopped(algorithm, tmp_path, monkeypatch, signal_at_third_look):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    with jax.debug_nans(True):  # one of JAX's debugging aids, which must see no NaN and change nothing
        summary = training_run.run(tiny(algorithm), options(whole))
    assert summary["algo"] == algorithm and summary["env_steps"] == 1024 and summary["eval_episodes"] == 5
    with monkeypatch.context() as patched:
        patched.setattr(training_run, "StopRequests", signal_at_third_look)
        with pytest.raises(Interrupted):
            training_run.run(tiny(algorithm), options(stopped))
    resumed, resumed_options = cli.parse(algorithm, ["--resume", str(stopped), "--no-progress"])
    training_run.run(resumed, dataclasses.replace(resumed_options, compilation_cache=False))
    assert rows(stopped) == rows(whole)
    expected, actual = np.load(whole / "policy.npz"), np.load(stopped / "policy.npz")
    for name in expected.files:
        np.testing.assert_array_equal(actual[name], expected[name])


@pytest.mark.parametrize("algorithm", OTHERS)
def test_agents_and_values_swept_in_one_program_equal_their_solo_runs(algorithm):
    name, values = SWEPT.get(algorithm, ("learning_rate", (1e-4, 1e-3)))
    train = make_train(tiny(algorithm))
    keys, values = jax.random.split(jax.random.key(0), 3), np.array(values, np.float32)
    sweep = jax.jit(jax.vmap(jax.vmap(train, (0, None)), (None, 0)))
    with jax.debug_nans(True):
        together, alone = sweep(keys, {name: values}), jax.jit(train)(keys[1], {name: values[1]})
    for metric, expected in alone.metrics.items():  # later ones drift apart: rounding decides which episode ends when
        found = together.metrics[metric][1, 1, :4]
        atol = 1 if metric == "cg_iterations" else 1e-3  # a residual beside its tolerance stops one iteration apart
        np.testing.assert_allclose(found, expected[:4], rtol=1e-3, atol=atol, err_msg=metric)
    assert np.any(together.metrics["policy_loss"][0] != together.metrics["policy_loss"][1])
    if name == "target_kl":
        assert np.all(together.metrics["kl"] <= values[:, None, None])


@pytest.mark.parametrize("algorithm", algorithms.CONFIG_CLASSES)
@pytest.mark.parametrize("env", CLASSIC)
def test_classic_control_has_presets(algorithm, env):
    assert config_files.preset_path(algorithms.config_class(algorithm)(env=env)) is not None


def test_an_unknown_algorithm_is_named_with_the_closest():
    with pytest.raises(UserError, match="did you mean 'off_policy'"):
        algorithms.config_class("offpolicy")
