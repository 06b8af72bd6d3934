"""python -m purejaxrl_gae: the list of commands, and the way to each."""

import tomllib
from pathlib import Path

import pytest

from purejaxrl_gae import __main__, cli, evaluate, export, plot, sweep
from purejaxrl_gae.program import algorithms


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_without_a_command_all_are_listed_with_what_they_are_for(arguments, capsys):
    __main__.main(arguments)
    listed = capsys.readouterr().out
    for name in (*algorithms.CONFIG_CLASSES, "train", "evaluate", "export", "plot", "sweep"):
        assert f"\n  {name} " in listed
    assert max(map(len, listed.splitlines())) <= 100


def test_every_algorithm_is_a_command():
    assert list(__main__.TRAINING) == list(algorithms.CONFIG_CLASSES)


def test_a_command_gets_the_flags_behind_its_name(monkeypatch):
    calls = []
    monkeypatch.setattr(cli, "main", lambda *given: calls.append(given))
    for module in (evaluate, export, plot, sweep):
        monkeypatch.setattr(module, "main", lambda flags, name=module.__name__: calls.append((name, flags)))
    for command in ("trpo", "evaluate", "export", "plot", "sweep"):
        __main__.main([command, "--seed", "3"])
    flags = ["--seed", "3"]
    others = ("evaluate", "export", "plot", "sweep")
    assert calls == [("trpo", flags), *((f"purejaxrl_gae.{name}", flags) for name in others)]


def test_an_unknown_command_is_one_line_with_the_closest(capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(["evalute"])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: command is 'evalute'; it must be one of ppo, ")
    assert errors.endswith("did you mean 'evaluate'?\n")


def test_the_console_script_is_this_module():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"purejaxrl-gae": "purejaxrl_gae.__main__:main"}
