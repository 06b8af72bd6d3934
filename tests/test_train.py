"""python -m purejaxrl_gae.train: an algorithm by its name, then the flags of any other."""

import pytest

from purejaxrl_gae import cli, train


def test_the_first_argument_is_the_algorithm(monkeypatch):
    calls = []
    monkeypatch.setattr(cli, "main", lambda *given: calls.append(given))
    train.main(["my_spo:SPOConfig", "--env", "CartPole-v1"])
    assert calls == [("my_spo:SPOConfig", ["--env", "CartPole-v1"])]


@pytest.mark.parametrize("arguments", [[], ["--env", "CartPole-v1"]])
def test_without_one_the_usage_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m purejaxrl_gae.train ALGORITHM")


def test_what_cannot_be_found_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(["no_such_module:Config"])
    assert ended.value.code == 2
    assert "algorithm is 'no_such_module:Config', but there is no module" in capsys.readouterr().err
