"""What a config asks of its environment reaches training, evaluation, resume and the sweep alike."""

import dataclasses

import numpy as np
import pytest

from purejaxrl_gae import PPOConfig, TRPOConfig, cli, sweep
from purejaxrl_gae.evaluate import EvaluateOptions, evaluate_policy, evaluate_run
from purejaxrl_gae.runs import training_run
from purejaxrl_gae.runs.run_options import RunOptions
from purejaxrl_gae.settings import config, config_files
from purejaxrl_gae.settings.errors import UserError

MODULE = """
from purejaxrl_gae.environments import probes

def endless(time_limit=8):
    return probes.endless(time_limit=time_limit, continuous=True)
"""
FLAGS = (
    *("--env-args", "time_limit=90", "--max-episode-steps", "21", "--action-repeat", "2", "--frame-stack", "3"),
    *("--action-bounds", "tanh", "--normalize-observations"),
)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "my_own_tasks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return "my_own_tasks:endless"


def test_a_run_of_a_factory_trains_evaluates_and_resumes_with_its_options(own_module, tmp_path):
    arguments = ["--env", own_module, *FLAGS, "--num-envs", "4", "--num-steps", "16", "--total-timesteps", "256"]
    training_config, _ = cli.parse("ppo", arguments)
    path = tmp_path / "run"
    options = RunOptions(run_dir=path, progress=False, tensorboard=False, compilation_cache=False, eval_episodes=5)
    summary = training_run.run(training_config, options)
    # 21 steps of the environment in decisions of 2, each worth 1 for every step
    assert (summary["eval_return_mean"], summary["eval_return_std"]) == (21.0, 0.0)
    assert summary["train_return_last100"] == 21.0

    values = config_files.read_yaml(path / "config.yaml")
    assert values["env"] == own_module
    assert values["env_args"] == ["time_limit=90"]
    assert cli.saved_run(path)[0] == training_config
    assert cli.parse("ppo", ["--config", str(path / "config.yaml")])[0] == training_config

    found = evaluate_run(EvaluateOptions(run_dir=path, episodes=3))
    assert (found["return_mean"], found["episodic_length"]) == (21.0, 11.0)
    found = evaluate_policy(EvaluateOptions(policy=path / "policy.npz", episodes=3))  # signed by its maker
    assert (found["return_mean"], found["env"]) == (21.0, "probe-endless")

    resumed, options = cli.parse("ppo", ["--resume", str(path), "--total-timesteps", "320", "--no-progress"])
    assert dataclasses.replace(resumed, total_timesteps=256) == training_config
    assert training_run.run(resumed, dataclasses.replace(options, compilation_cache=False))["env_steps"] == 320


def test_a_sweep_keeps_the_options():
    base, _ = sweep.parse(["--env", "CartPole-v1", "--env-args", "gravity=5", "--grid", "sticky_actions=0.0,0.25"])
    assert base.env_args == ("gravity=5",)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(max_episode_steps=0), "max_episode_steps is 0; it must be between 1 and 1000000000"),
        (dict(action_repeat=0), "action_repeat is 0; it must be between 1 and 10000"),
        (dict(frame_stack=0), "frame_stack is 0; it must be between 1 and 1024"),
        (dict(sticky_actions=1.0), "sticky_actions is 1.0; it must be at least 0 and below 1"),
        (dict(action_bounds="squash"), "action_bounds is 'squash'; it must be one of 'clip', 'scale', 'tanh'"),
        (dict(env_args=("backend",)), "env_args has 'backend'; it must be name=value, as backend=spring"),
        (dict(env_args=("a-b=1",)), "env_args has 'a-b=1'; it must be name=value"),
        (dict(env_args=("a=[1",)), "env_args has 'a=[1', whose value is not YAML"),
    ],
)
def test_wrong_options_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError) as error:
        PPOConfig(**changes).validate()
    assert message in str(error.value)


def test_values_of_arguments_are_read_as_yaml():
    texts = ("a=3e-4", "b=2", "c=true", "d=spring", "e=[0.7, .inf]", "f=", "g=x=y")
    expected = {"a": 3e-4, "b": 2, "c": True, "d": "spring", "e": (0.7, np.inf), "f": None, "g": "x=y"}
    assert config.read_arguments(texts) == expected


@pytest.mark.parametrize(
    "env, action_bounds, message",
    [
        ("CartPole-v1", "tanh", "action_bounds is 'tanh', but actions are discrete; it must be 'clip'"),
        ("unbounded_task:make", "scale", "action_bounds is 'scale', which needs finite bounds"),
    ],
)
def test_bounds_must_be_there_to_scale_to(env, action_bounds, message, tmp_path, monkeypatch):
    from purejaxrl_gae.program import training

    (tmp_path / "unbounded_task.py").write_text(
        "import dataclasses\n"
        "from purejaxrl_gae.environments import BoxActions, make_environment\n"
        "def make():\n"
        "    pendulum = make_environment('Pendulum-v1')\n"
        "    return dataclasses.replace(pendulum, actions=BoxActions((1,), (-2.0,), (float('inf'),)))\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        training.prepare(PPOConfig(env=env, action_bounds=action_bounds))
    assert message in str(error.value)


def test_names_of_environments_become_names_of_files():
    assert config_files.file_name("brax:hopper") == "brax_hopper"
    assert config_files.file_name("gymnasium:ALE/Pong-v5") == "gymnasium_ALE_Pong-v5"


def test_every_task_of_the_ppo_paper_has_its_presets():
    tasks = ("halfcheetah", "hopper", "inverted_double_pendulum", "inverted_pendulum", "reacher", "swimmer", "walker2d")
    for task in (*tasks, "humanoid"):
        for kind in (PPOConfig, TRPOConfig):
            assert config_files.preset_path(kind(env=f"brax:{task}")) is not None
