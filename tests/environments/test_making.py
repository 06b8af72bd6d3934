"""From a config's words to an environment."""

import importlib
import tomllib
from pathlib import Path

import gymnax
import pytest

from purejaxrl_gae.environments import Environment, make_environment, making, probes
from purejaxrl_gae.settings.errors import UserError

MODULE = """
import gymnax
from purejaxrl_gae.environments import make_environment, probes

constant = 3

def pair(gravity=9.8):
    env, params = gymnax.make("CartPole-v1")
    return env, params.replace(gravity=gravity)

def probe(time_limit=8):
    return probes.endless(time_limit=time_limit)

def environment():
    return make_environment("Pendulum-v1")

def nothing():
    pass

def broken():
    raise RuntimeError("no cable\\nsecond line")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    package = tmp_path / "lab_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tasks.py").write_text(MODULE)
    (package / "ill.py").write_text("import not_there_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path])
    monkeypatch.setattr("sys.modules", dict(__import__("sys").modules))


def test_a_factory_of_a_module_in_the_current_directory(module):
    assert make_environment("lab_of_mine.tasks:pair").observation_shape == (4,)
    assert make_environment("lab_of_mine.tasks:probe", env_args=("time_limit=5",)).max_episode_steps == 5
    assert isinstance(make_environment("lab_of_mine.tasks:environment"), Environment)
    assert make_environment("lab_of_mine.tasks:environment", max_episode_steps=9).max_episode_steps == 9


@pytest.mark.parametrize(
    "env, message",
    [
        ("lab_of_mine.task:probe", "there is no module 'lab_of_mine.task'"),
        ("gymnasum:CartPole-v1", "there is no module 'gymnasum'; did you mean 'gymnasium'?"),
        ("half cheetah:x", "there is no module 'half cheetah'"),
        ("lab_of_mine.tasks:prob", "lab_of_mine.tasks has no 'prob'; did you mean 'probe'?"),
        ("lab_of_mine.tasks:constant", "'constant' is a int; it must be a function"),
        ("lab_of_mine.tasks:nothing", "whose factory returned None; it must return an environment"),
        ("lab_of_mine.tasks:broken", "whose factory raised RuntimeError: no cable"),
        ("lab_of_mine.ill:x", "importing lab_of_mine.ill raised ModuleNotFoundError: No module named"),
    ],
)
def test_a_factory_that_cannot_be_had_is_named_in_one_line(module, env, message):
    with pytest.raises(UserError) as error:
        make_environment(env)
    assert message in str(error.value)
    assert str(error.value).startswith(f"env is {env!r}")
    assert "\n" not in str(error.value)


def test_arguments_replace_gymnaxs_parameters():
    changed = make_environment("CartPole-v1", env_args=("max_steps_in_episode=30", "gravity=1e1"))
    assert changed.max_episode_steps == 30
    env, params = gymnax.make("CartPole-v1")
    assert make_environment((env, params), env_args=("max_steps_in_episode=20",)).max_episode_steps == 20
    assert make_environment(probes.endless(), max_episode_steps=13).max_episode_steps == 13


@pytest.mark.parametrize(
    "env, env_args, message",
    [
        ("CartPole-v1", ("gravty=3",), "env_args has 'gravty', which is no parameter of CartPole-v1; did you mean"),
        ("CartPole-v1", ("gravity=strong",), "gravity of env_args is 'strong'; it must be a number"),
        ("CartPole-v1", ("max_steps_in_episode=1.5",), "it must be a whole number"),
        ("CartPole-v1", ("max_steps_in_episode=99999999999",), "it must be between 1 and 1000000000"),
        ("CartPole-v1", ("max_steps_in_episode=0",), "max_steps_in_episode of env_args is 0; it must be between 1 and"),
        ("CartPole-v1", ("gravity=1e39",), "it must be a finite number of float32"),
        ("CartPole-v1", ("gravity=nan",), "gravity of env_args is 'nan'; it must be a number"),
        ("CartPole-v1", ("gravity=" + "[" * 900 + "]" * 900,), "is nested too deeply"),
        ("CartPole-v1", ("gravity",), "env_args has 'gravity'; it must be name=value"),
        ("CartPole-v1", ("gravity=1", "gravity=2"), "env_args has 'gravity' twice"),
        (make_environment("CartPole-v1"), ("gravity=3",), "env_args has 'gravity', but env is an Environment"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(env, env_args, message):
    with pytest.raises(UserError) as error:
        make_environment(env, env_args=env_args)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_optional_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "brax", None)
    monkeypatch.setitem(__import__("sys").modules, "mujoco_playground", None)
    with pytest.raises(UserError, match=r"needs Brax: pip install 'purejaxrl-gae\[brax\]'"):
        make_environment("brax:hopper")
    with pytest.raises(UserError, match=r"needs MuJoCo Playground: pip install 'purejaxrl-gae\[playground\]'"):
        make_environment("mjx:CartpoleBalance")


def test_every_prefix_of_a_compiled_library_has_its_adapter_and_its_extra():
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for prefix, where in making.COMPILED.items():
        module, _, function = where.partition(":")
        assert callable(getattr(importlib.import_module(f"purejaxrl_gae.environments.{module}"), function))
        assert {"mjx": "playground"}.get(prefix, prefix) in extras
