"""One door for what is handed in: names, MODULE:NAME, objects; what is called by the names of its arguments."""

import types

import jax
import pytest

from purejaxrl_gae import kernels
from purejaxrl_gae.settings import parts, trust
from purejaxrl_gae.settings.errors import UserError

BUILT_IN = {"clip": kernels.ppo_clip_loss, "none": kernels.unclipped_loss}


def clip(advantages):
    return advantages


def test_a_part_is_a_built_ins_name_a_name_to_import_or_the_object():
    assert parts.find("objective", "clip", BUILT_IN) is kernels.ppo_clip_loss
    assert parts.find("objective", "purejaxrl_gae.kernels:value_loss", BUILT_IN) is kernels.value_loss
    assert parts.find("objective", clip, BUILT_IN) is clip
    with pytest.raises(
        UserError, match=r"objective is 'clipp'; it must be one of 'clip', 'none', or MODULE:NAME.*clip"
    ):
        parts.find("objective", "clipp", BUILT_IN)
    with pytest.raises(UserError, match="objective is 'os:getcwd' in a file, which would import 'os'"):
        parts.find("objective", trust.Foreign("os:getcwd"), BUILT_IN)


def test_an_import_name_is_one_under_which_the_same_object_is_found_again(monkeypatch):
    assert parts.import_name(clip) == f"{__name__}:clip"
    twin = types.FunctionType(clip.__code__, globals(), "clip")
    assert parts.import_name(twin) is None, "another object is found there"
    assert parts.import_name(lambda: None) is None
    assert parts.import_name(jax.ShapeDtypeStruct((), "float32")) is None
    monkeypatch.setattr(clip, "__module__", "__main__")
    assert parts.import_name(clip) is None


def test_the_name_of_what_cannot_be_found_again_is_never_a_built_ins(monkeypatch):
    assert parts.name_of("clip") == "clip"
    assert parts.name_of(clip) == f"{__name__}:clip"
    monkeypatch.setattr(clip, "__module__", "__main__")
    assert parts.name_of(clip) == "__main__.clip", "a file that said clip would be read as PPO's own"
    with pytest.raises(UserError, match=r"objective is '__main__.clip'; it must be one of"):
        parts.find("objective", parts.name_of(clip), BUILT_IN)
    assert parts.name_of(jax.ShapeDtypeStruct((), "float32")).endswith(".ShapeDtypeStruct")


def test_what_no_command_finds_again_is_said_in_one_line_each():
    fields = {"network": "separate", "objective": clip, "advantage": "my:own", "optimizer": lambda: None}
    (line,) = parts.without_import_name(fields)
    assert line.startswith("optimizer is ") and "no command can resume this run or read its checkpoints" in line


def test_a_part_gets_what_it_names():
    available = {"advantages": 2, "log_probs": 3}
    assert parts.call("objective", clip, available) == 2
    assert parts.call("objective", lambda log_probs, advantages=0: log_probs - advantages, available) == 1
    assert parts.call("objective", lambda other=5: other, available) == 5
    assert parts.call("objective", lambda **everything: everything, available) == available
    with pytest.raises(UserError, match="which asks for 'values'; it may name advantages, log_probs"):
        parts.call("objective", lambda values: values, available)
    with pytest.raises(UserError, match="objective is 3, a int; it must be a function"):
        parts.find_function("objective", 3, {})


def test_what_a_part_raises_is_told_in_one_line():
    def broken(x):
        raise ValueError("first\nsecond")

    with pytest.raises(UserError, match=r"^network is mine, which raised ValueError: first$"):
        parts.trace("network", "mine", broken, 1.0)
    with pytest.raises(UserError, match=r"^said already"):
        parts.trace("network", "mine", lambda x: (_ for _ in ()).throw(UserError("said already")), 1.0)
