"""Every flag of every command, and every field of every file, given wrongly: one line each, naming it, and exit code 2.

The commands run in this process; what would train, play or draw is replaced by nothing, so all that is tested is what
comes before.
"""

import contextlib
import io
import json
import typing
from pathlib import Path
from typing import Any, Literal

import pytest

from purejaxrl_gae import cli, evaluate, plot, sweep
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.runs import sweep_run, training_run
from purejaxrl_gae.runs.run_options import SAVED_OPTIONS, RunOptions, SweepOptions
from purejaxrl_gae.settings.fields import field_types, inner_of_optional

LONGEST_LINE = 500
TRAINING = tuple(algorithms.CONFIG_CLASSES)
COMMANDS = (*TRAINING, "sweep", "evaluate", "plot")
NOT_NUMBERS = (
    *("", " ", "x", "²", "1:30", "2026-11-24", "true", "1,5", "0x10", "[1]", "1 2", "--1"),
    *("nan", "inf", "-inf", "1e400", "9" * 400, "9" * 5000),
)
NOT_WHOLE = (*NOT_NUMBERS, "1.5", "1e-3", "-1", "-1e3", "1e30", "9" * 20, "1e999999999")
NOT_FLOAT32 = (*NOT_NUMBERS, "1e39", "-1e39", "1e-50")
WRONG_PATHS = ("", "a\0b", "x" * 300, "é" * 200, "folder/" + "x" * 300)
# What texts must be like is known to the fields alone.
WRONG_TEXTS = {
    "env": ("", "x" * 300, "a\0b", "two\nlines"),
    "algo": ("", "nope", "PPO", "x" * 300, "a\0b"),
    "coordinator": ("", "host", "host:", ":1", "host:x", "host:0", "host:99999", "host:²", "host:" + "9" * 5000),
    "title": ("a\0b",),
}
WRONG_LISTS = {
    "hidden_sizes": ([], ["0"], ["-1"], ["65537"], ["8", "x"], ["8", "1.5"], ["8x8"], ["9" * 5000], ["8"] * 101),
    "env_args": (["backend"], ["=1"], ["a-b=1"], ["a=1", "a=2"], ["a=["], ["a=" + "[" * 3000], ["a={b: 1, b: 2}"]),
    "randomize": (
        *([text] for text in ("length", "length=0.5", "=uniform:0:1", "a-b=uniform:0:1", "length=uniform:1:0")),
        *([f"length={text}"] for text in ("uniform:0:1e39", "uniform:nan:1", "log:0:1", "int:1:1e30", "uniform:0")),
        ["length=uniform:0:1", "length=uniform:0:2"],
        ["x" * 5000],
    ),
    "observe": (["x"], ["-1"], ["1.5"], ["0", "0"], ["²"], ["9" * 5000]),
    "policy_observations": ([""], ["a", "a"]),
    "value_observations": ([""], ["a", "a"]),
    "grid": (
        *([text] for text in ("gamma", "gamma=", "gama=0.9", "gamma=x", "gamma=1.5", "gamma=1e39", "gamma=log:.1:.9")),
        *([text] for text in ("seed=1,2", "env=a,b", "activation=tahn", "norm_adv=maybe", "num_envs=" + "9" * 5000)),
        ["gamma=0.9", "gamma=0.8"],
        ["num-steps=8", "num_steps=16"],
        ["gamma=" + ",".join(["0.9"] * 200), "gae_lambda=" + ",".join(["0.9"] * 200)],
        ["x" * 5000],
    ),
    "random": (
        *([text, "gamma=uniform:0:1"] for text in ("", "x", "²", "0", "-1", "1.5", "1e9", "9" * 20, "9" * 5000, "inf")),
        *(["3", f"gamma={text}"] for text in ("uniform:0:1e39", "uniform:1:0", "uniform:0", "uniform:0:1:2")),
        *(["3", f"gamma={text}"] for text in ("uniform:nan:1", "uniform:-1e308:1e308", "uniform:x:1", "int:")),
        *(["3", f"gamma={text}"] for text in ("log:²:1", "log:0:1")),
        *(
            ["3", f"num_envs={text}"]
            for text in ("int:1:1e30", "int:1.5:3", "int:4:1", "log:1:9", f"int:1:{'9' * 5000}")
        ),
        ["3", "norm_adv=log:1:2"],
        ["3", "gamma=uniform:0:1", "gamma=log:.1:.9"],
        ["gamma=uniform:0:1"],
        ["3"],
    ),
}
# Without what is nothing, no YAML, or right there: 0x10 is 16.
WHOLE_OF_YAML, FLOAT_OF_YAML = (
    [text for text in texts if text.strip() and text not in ("0x10", "--1")] for texts in (NOT_WHOLE, NOT_FLOAT32)
)
WRONG_YAML = {
    int: (*WHOLE_OF_YAML, "null", "[1]", "{a: 1}", ".nan", ".inf", "2026-99-99", "0x" + "f" * 5000, "'9\\0'"),
    float: (*FLOAT_OF_YAML, "null", "[1]", "{a: 1}", ".nan", ".inf", "2026-99-99"),
    bool: ("1", "maybe", "null", "[true]", "'true'"),
    str: ("1", "null", "true", "[a]", "{a: b}", "1.5", ".nan"),
    Path: ("1", "[a]"),
    tuple: ("1", "x", "null", "{a: 1}", "[[1]]", "[{a: 1}]", "[null]"),
    Literal: ("1", "nope", "null", "[tanh]", "{a: 1}", "true"),
}


def hints_of(command):
    if command in TRAINING:
        return {**field_types(algorithms.config_class(command)), **field_types(RunOptions)}
    if command == "sweep":
        return {**field_types(algorithms.config_class("ppo")), **field_types(SweepOptions), "algo": str}
    hints = field_types({"evaluate": evaluate.EvaluateOptions, "plot": plot.PlotOptions}[command])
    return {name: hint for name, hint in hints.items() if name != "run_dirs"}


def kind_of(hint):
    """The key of WRONG_YAML."""
    hint = inner_of_optional(hint) or hint
    return str if hint is Any else typing.get_origin(hint) or hint


def wrong_uses(name: str, hint: Any) -> list[list[str]]:
    """Command lines with one flag, each of them wrong."""
    flag, kind = f"--{name.replace('_', '-')}", kind_of(hint)
    if kind is bool:
        return [
            *([f"{flag}={text}"] for text in ("", "true", "maybe", "1", "no")),
            *([flag, text] for text in ("true", "yes", "0", "x" * 300)),
            *([first, second] for first in (flag, f"--no-{name}") for second in (flag, f"--no-{name}")),
            [f"--no-{name}=false"],
        ]
    if kind is tuple:
        return [[flag, *values] for values in WRONG_LISTS[name]] + [[flag, "a=1", flag, "a=2"]]
    texts = {
        int: NOT_WHOLE,
        float: NOT_FLOAT32,
        str: WRONG_TEXTS.get(name, ()),
        Path: WRONG_PATHS,
        Literal: ("", "x", "x" * 5000, "1", "None", "TANH"),
    }[kind]
    value = {int: "1", float: "1.0", Literal: str(typing.get_args(hint)[:1])}.get(kind, "a")
    return [
        *([flag, text] for text in texts),
        *([f"{flag}={text}"] for text in texts),
        [flag],
        [flag, value, flag, value],
        [flag, value, f"{flag}={value}"],
        *([[flag, value, value]] if name not in field_types(plot.PlotOptions) else []),  # more folders of runs
        [f"--no-{name}"],
        [f"{flag}s", value],
    ]


# What a config.yaml does not say: where a run lies and what shows it.
NOT_IN_FILES = set(field_types(RunOptions)) - set(SAVED_OPTIONS)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a command; what follows its checks does nothing. Returns exit code and standard error."""
    monkeypatch.chdir(tmp_path)
    for module, name in ((training_run, "run"), (sweep_run, "run"), (sweep, "new_sweep_path")):
        monkeypatch.setattr(module, name, lambda *arguments: tmp_path)
    for name in ("evaluate_run", "evaluate_policy", "render_episode"):
        monkeypatch.setattr(evaluate, name, lambda options: {})
    monkeypatch.setattr(plot, "draw_curves", lambda *arguments: None)
    write_run(tmp_path / "run")

    def run(command, arguments):
        main = {"sweep": sweep.main, "evaluate": evaluate.main, "plot": plot.main}.get(command)
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            try:
                cli.main(command, arguments) if main is None else main(arguments)
            except SystemExit as exit_request:
                return exit_request.code, errors.getvalue()
        return 0, errors.getvalue()

    return run


def write_run(path):
    path.mkdir()
    (path / "config.yaml").write_text("algorithm: ppo\nenv: CartPole-v1\n")
    rows = [{"env_steps": step, "wall_seconds": 1.0, "score_last100": 1.0} for step in (1, 2)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def with_needed(command, arguments, name):
    """The command line with what its command cannot do without."""
    if command == "plot":
        return ["run", *arguments]
    if command == "evaluate":
        return arguments if name in ("run_dir", "policy") else ["--policy", "p.npz", *arguments]
    preset = [] if name == "preset" else ["--no-preset"]
    return [*preset, *(["--grid", "gamma=0.9"] if command == "sweep" and name != "grid" else []), *arguments]


def assert_refused(outcome, name, case):
    code, errors = outcome
    case = f"{case!r:.300}: {errors:.600}"
    assert code == 2, case
    assert errors.startswith("error: ") and errors.endswith("\n") and errors.count("\n") == 1, case
    assert len(errors) <= LONGEST_LINE, case
    assert name in errors.replace("-", "_"), case


ALL_FLAGS = [(command, name) for command in COMMANDS for name in hints_of(command)]


@pytest.mark.parametrize(("command", "name"), ALL_FLAGS, ids=lambda part: part)
def test_a_flag_given_wrongly_is_refused_in_one_line_that_names_it(run, command, name):
    for arguments in wrong_uses(name, hints_of(command)[name]):
        assert_refused(run(command, with_needed(command, arguments, name)), name, arguments)


FIELDS = [
    (algorithm, name)
    for algorithm in TRAINING
    for name in hints_of(algorithm)
    if name not in NOT_IN_FILES and (algorithm == "ppo" or name not in hints_of("ppo"))
]


@pytest.mark.parametrize(("algorithm", "name"), FIELDS, ids=lambda part: part)
def test_a_field_of_a_file_that_is_wrong_is_refused_in_one_line_that_names_it(run, tmp_path, algorithm, name):
    hint = hints_of(algorithm)[name]
    texts = [text for text in WRONG_YAML[kind_of(hint)] if text != "null" or inner_of_optional(hint) is None]
    for text in [*texts, f"1\n{name}: 1"]:
        (tmp_path / "c.yaml").write_text(f"{name}: {text}\n")
        assert_refused(run(algorithm, ["--no-preset", "--config", "c.yaml"]), name, text)


WRONG_FILES = {
    "not_utf8": b"env: \xff\xfe",
    "binary": bytes(range(256)),
    "a_list": b"- env\n- seed\n",
    "a_text": b"hello",
    "a_number": b"12",
    "open": b"env: [",
    "deep": b"[" * 5000,
    "deep_in_a_field": b"seed: " + b"[" * 5000,
    "an_alias_of_itself": b"seed: &a [*a]",
    "a_tag": b"seed: !!python/name:os.getcwd",
    "a_tab": b"seed: \t",
    "a_control_letter": b"seed: \x07",
    "of_none": b"algorithm: nope\n",
    "of_a_list": b"algorithm: [ppo]\n",
    "unknown": b"x" * 3000 + b": 1\n",
    "number_as_key": b"1: 2\n",
    "list_as_key": b"[1, 2]: 2\n",
}


@pytest.mark.parametrize("command", [*TRAINING, "sweep"])
@pytest.mark.parametrize("kind", WRONG_FILES)
def test_a_file_that_is_no_config_is_refused_in_one_line(run, tmp_path, command, kind):
    (tmp_path / f"{kind}.yaml").write_bytes(WRONG_FILES[kind])
    code, errors = run(command, with_needed(command, ["--config", f"{kind}.yaml"], "config"))
    assert (code, errors.count("\n")) == (2, 1), errors[:600]
    assert len(errors) <= LONGEST_LINE


def as_flag(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}", *([str(item) for item in value] if isinstance(value, tuple) else [str(value)])]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_takes_its_default(run, command):
    kinds = {"evaluate": (evaluate.EvaluateOptions,), "sweep": (algorithms.config_class("ppo"), SweepOptions)}
    if command in TRAINING:
        kinds[command] = (algorithms.config_class(command), RunOptions)
    defaults = vars(plot.PlotOptions(())) if command == "plot" else {}
    for kind in kinds.get(command, ()):
        defaults |= vars(kind())
    for name in set(hints_of(command)) - {"algo", "grid", "random", "policy"}:
        arguments = with_needed(command, as_flag(name, defaults[name]), "preset" if name == "preset" else "")
        assert run(command, arguments) == (0, ""), name


def test_whole_numbers_may_be_written_with_an_exponent(run, tmp_path):
    (tmp_path / "c.yaml").write_text("total_timesteps: 1e6\n")
    for arguments in (["--total-timesteps", "1e6"], ["--config", "c.yaml"]):
        assert cli.parse("ppo", arguments)[0].total_timesteps == 1_000_000


def test_there_are_many_cases():
    assert sum(len(wrong_uses(name, hints_of(command)[name])) for command, name in ALL_FLAGS) >= 1_500
