"""Flags become fields."""

from pathlib import Path
from typing import Any, Literal

import pytest

from purejaxrl_gae.settings import flags
from purejaxrl_gae.settings.errors import UserError

HINTS = {
    "env": Any,
    "num_envs": int,
    "goal_score": float | None,
    "norm_adv": bool,
    "hidden_sizes": tuple[int, ...],
    "kind": Literal["a", "b"],
    "run_dir": Path | None,
    "run_dirs": tuple[Path, ...],
}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("--num-envs 8", {"num_envs": 8}),
        ("--num_envs=8", {"num_envs": 8}),
        ("--num-envs 1e3", {"num_envs": 1000}),
        ("--goal-score -1.5e2", {"goal_score": -150.0}),
        ("--goal-score none", {"goal_score": None}),
        ("--norm-adv", {"norm_adv": True}),
        ("--no-norm-adv --kind b", {"norm_adv": False, "kind": "b"}),
        ("--hidden-sizes 8 8 --env x=1", {"hidden_sizes": (8, 8), "env": "x=1"}),
        ("--hidden-sizes=8", {"hidden_sizes": (8,)}),
        ("--hidden-sizes", {"hidden_sizes": ()}),
        ("--run-dir=a=b", {"run_dir": Path("a=b")}),
        ("--help --kind a", {"kind": "a"}),
        ("", {}),
    ],
)
def test_flags_are_read_as_their_fields_types(line, values):
    assert flags.read(line.split(), HINTS) == values


def test_what_belongs_to_no_flag_is_the_positional_fields():
    read = flags.read(["a", "--kind", "b", "c", "--norm-adv", "d"], HINTS, positional="run_dirs")
    assert read == {"kind": "b", "norm_adv": True, "run_dirs": (Path("a"), Path("c"), Path("d"))}
    with pytest.raises(UserError, match="unknown flag --run-dirs"):
        flags.read(["--run-dirs", "a"], HINTS, positional="run_dirs")


def test_a_few_flags_can_be_looked_for_among_unknown_ones():
    line = ["--env", "x", "--nonsense", "3", "--run-dir", "y", "--no-norm-adv"]
    assert flags.look_for(line, {"run_dir": Path, "norm_adv": bool}) == {"run_dir": Path("y"), "norm_adv": False}


@pytest.mark.parametrize(("line", "wanted"), [(["--help"], True), (["-h"], True), (["--env", "help"], False)])
def test_help_is_asked_for_anywhere(line, wanted):
    assert flags.wants_help(line) is wanted
