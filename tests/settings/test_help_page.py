"""--help is laid out by subject and shows every field once."""

import re

import pytest

from purejaxrl_gae import cli, sweep
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs.run_options import RunOptions, SweepOptions
from purejaxrl_gae.settings import config, help_page


def help_of(parse, capsys, monkeypatch):
    """Title of each box, in order, -> the flags in it."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        parse()
    assert ended.value.code == 0
    boxes: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("usage"):
            continue
        if title := re.match(r"\W+([\w-]+) options\W*$", line):
            shown = boxes.setdefault(title.group(1).replace("-", "_"), [])
        elif flag := re.match(r"\W? --([a-z][a-z-]*)", line):
            shown.append(flag.group(1).replace("-", "_"))
    return boxes


@pytest.mark.parametrize("algorithm", algorithms.CONFIG_CLASSES)
def test_help_shows_every_field_once_under_its_subject(algorithm, capsys, monkeypatch):
    boxes = help_of(lambda: cli.parse(algorithm, ["--help"]), capsys, monkeypatch)
    assert list(boxes) == ["environment", "training", algorithm, "network", "run", "reports", "devices"]
    shown = [name for names in boxes.values() for name in names]
    config_class = algorithms.config_class(algorithm)
    assert sorted(shown) == sorted([*config.field_types(config_class), *config.field_types(RunOptions)])
    assert "env" in boxes["environment"] and "hidden_sizes" in boxes["network"] and "run_dir" in boxes["run"]
    assert set(boxes[algorithm]) == set(config.field_types(config_class)) - set(
        config.field_types(config.TrainingConfig)
    )


def test_a_sweeps_own_flags_come_first(capsys, monkeypatch):
    boxes = help_of(lambda: sweep.parse(["--help"]), capsys, monkeypatch)
    assert next(iter(boxes)) == "sweep"
    assert {"algo", "grid", "random", "optuna_rounds", "num_seeds"} <= set(boxes["sweep"])
    assert {"env", "learning_rate", "devices"}.isdisjoint(boxes["sweep"])


def test_every_flag_has_a_text():
    for kind in (*map(algorithms.config_class, algorithms.CONFIG_CLASSES), RunOptions, SweepOptions):
        texts = help_page.field_texts(kind)
        assert all(texts.get(name) for name in config.field_types(kind)), kind


def test_the_text_of_a_field_declared_anew_is_the_new_one():
    assert "for each configuration" in help_page.field_texts(SweepOptions)["num_seeds"]
    assert "side by side" in help_page.field_texts(RunOptions)["num_seeds"]
