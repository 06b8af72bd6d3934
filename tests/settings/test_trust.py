"""Whose word it takes to import something: the user's own, on the command line, by signature or by --trust."""

import ast
import copy
import os
import pickle
import sys
from pathlib import Path

import pytest
import yaml

from purejaxrl_gae import PPOConfig, cli, sweep
from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.runs import sweep_results
from purejaxrl_gae.settings import config, safe_yaml, search_space, trust
from purejaxrl_gae.settings.errors import UserError

OWN = {"env": "tasks:make", "env_args": ["size=3"], "gamma": 0.9}
TASKS = (
    "from purejaxrl_gae.environments import probes\n\ndef make(size=8):\n    return probes.endless(time_limit=size)\n"
)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """A user's folder with a module, and a place for a key, as long as the test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    for folder in ("own", "strangers"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tasks.py").write_text(TASKS)
    monkeypatch.chdir(tmp_path / "own")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "tasks", raising=False)
    return tmp_path


def is_believed(values):
    return not isinstance(trust.of_file(values, "a file")["env"], trust.Foreign)


def test_what_the_user_signed_is_the_users_own_word_and_nothing_else_is():
    signed = trust.signed(OWN)
    assert {**OWN, trust.SIGNATURE: signed[trust.SIGNATURE]} == signed
    assert is_believed(signed)
    assert is_believed({**signed, "gamma": 0.5, "num_envs": 3}), "fields that name nothing may change"
    assert not is_believed(OWN)
    for changes in (
        {"env": "tasks:other"},
        {"env_args": ["size=4"]},
        {"env_args": ["size=3", "more=1"]},
        {"env_args": "size=3"},
        {"env_args": 5},
        {"network": "tasks:make"},
        {"callbacks": [{"deep": "os:system"}]},
        {trust.SIGNATURE: "0" * 64},
        {trust.SIGNATURE: ""},
        {trust.SIGNATURE: None},
        {trust.SIGNATURE: "é\udcff"},
        {1: "a:b", (): "c:d"},
    ):
        assert not is_believed({**signed, **changes}), changes


def test_a_signature_is_of_one_users_key(own_folder, monkeypatch):
    signed = trust.signed(OWN)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own_folder / "others"))
    assert not is_believed(signed)
    assert is_believed(trust.signed(OWN)), "which the first signature of another user makes"
    assert not is_believed(signed)


def test_a_signature_is_not_for_a_module_of_the_same_name_elsewhere(own_folder, monkeypatch):
    signed = trust.signed(OWN)
    monkeypatch.chdir(own_folder / "strangers")
    assert not is_believed(signed)
    monkeypatch.chdir(own_folder / "own")
    assert is_believed(signed)


def test_the_key_is_made_once_and_for_the_user_alone(own_folder):
    assert trust.signed({"env": "CartPole-v1"}) == {"env": "CartPole-v1"}
    assert not (own_folder / "settings").exists(), "nothing to sign needs no key"
    trust.signed(OWN)
    key = own_folder / "settings" / "purejaxrl_gae" / "key"
    assert key.stat().st_mode & 0o777 == 0o600 and key.parent.stat().st_mode & 0o777 == 0o700
    first = key.read_bytes()
    trust.signed(OWN)
    assert key.read_bytes() == first and len(first) == trust.KEY_BYTES
    assert os.listdir(key.parent) == ["key"]


@pytest.mark.parametrize("spoil", [lambda key: key.chmod(0o644), lambda key: key.write_bytes(b"short")])
def test_a_key_that_others_may_have_is_none(own_folder, spoil):
    signed = trust.signed(OWN)
    spoil(own_folder / "settings" / "purejaxrl_gae" / "key")
    assert not is_believed(signed)
    assert trust.signed(OWN) == OWN


def test_without_a_place_for_a_key_files_are_written_unsigned(own_folder, monkeypatch):
    (own_folder / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own_folder / "file"))
    assert trust.signed(OWN) == OWN
    assert not is_believed(OWN)


def test_a_config_folder_relative_to_the_current_one_is_not_used(own_folder, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", ".")
    monkeypatch.setenv("HOME", str(own_folder / "home"))
    trust.signed(OWN)
    assert (own_folder / "home" / ".config" / "purejaxrl_gae" / "key").exists()
    monkeypatch.setenv("HOME", ".")
    assert trust.signed(OWN) == OWN


def test_what_nobody_vouched_for_is_not_signed():
    assert trust.signed(trust.foreign(OWN, "a file")) == OWN
    assert trust.SIGNATURE not in trust.signed({**OWN, "more": [trust.Foreign("a:b")]})


def test_a_foreign_text_stays_so_on_every_way_through_the_package(own_folder):
    held = by_config(write(own_folder / "c.yaml", {"env": "tasks:make", "env_args": ["size=a:b"]}), "--num-envs", "3")
    plain = config.to_plain(held)
    for value in (held.env, held.env_args[0], plain["env"], plain["env_args"][0], str(plain["env"])):
        assert isinstance(value, trust.Foreign)
    assert isinstance(copy.deepcopy(held).env, trust.Foreign)
    assert isinstance(pickle.loads(pickle.dumps(held)).env, trust.Foreign)
    assert safe_yaml.load(yaml.safe_dump(plain))["env"] == "tasks:make"
    swept = search_space.read_dimension(trust.Foreign("activation=tanh,relu"), PPOConfig, "grid")
    assert swept.choices == ("tanh", "relu")


def test_only_what_could_name_a_module_is_marked():
    values = trust.foreign({"env": "CartPole-v1", "seed": 3, "layers": [1, "b:c"]}, "a file")
    assert type(values["env"]) is str
    assert [type(value) for value in values["layers"]] == [int, trust.Foreign]
    assert type(trust.vouched(values)["layers"][1]) is str


def test_a_path_of_a_file_may_hold_a_colon(own_folder):
    path = write(own_folder / "c.yaml", {"env": "CartPole-v1", "init_from": "12:30"})
    assert cli.parse("ppo", ["--config", str(path)])[1].init_from == Path("12:30")


def write(path, values):
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({"algorithm": "ppo", **values}))
    return path


def environment_of(training_config):
    return make_environment(**{name: getattr(training_config, name) for name in config.ENVIRONMENT_FIELDS})


def by_config(path, *flags):
    return cli.parse("ppo", ["--config", str(path), *flags])[0]


def by_resume(path, *flags):
    return cli.parse("ppo", ["--resume", str(path.parent), *flags])[0]


def by_sweep(path, *flags):
    path = path.rename(path.with_name("sweep.yaml"))
    return sweep.parse(["--resume", str(path.parent), *flags])[0]


@pytest.mark.parametrize("read", [by_config, by_resume, by_sweep])
def test_every_way_in_believes_a_signature_and_the_flag_only(own_folder, read):
    path = write(own_folder / "run" / "config.yaml", OWN)
    with pytest.raises(UserError) as error:
        environment_of(read(path))
    shown = (
        "env is 'tasks:make' in .*, which would import 'tasks' and call 'make.size=3.'; the file has no signature of"
    )
    error.match(shown)
    assert "add --trust" in str(error.value) and "\n" not in str(error.value)
    assert ("or name it yourself with --env" in str(error.value)) == (read is by_config)

    path = write(own_folder / "run" / "config.yaml", OWN)
    assert environment_of(read(path, "--trust")).max_episode_steps == 3
    path = write(own_folder / "run" / "config.yaml", trust.signed(OWN))
    assert environment_of(read(path)).max_episode_steps == 3


def test_naming_it_on_the_command_line_is_enough(own_folder):
    path = write(own_folder / "run" / "config.yaml", OWN)
    assert environment_of(by_config(path, "--env", "tasks:make")).max_episode_steps == 3
    assert by_config(path, "--env", "CartPole-v1", "--env-args", "gravity=3").env == "CartPole-v1"
    with pytest.raises(UserError, match="no signature of yours"):
        environment_of(by_config(path, "--env-args", "size=4"))
    with pytest.raises(UserError, match="no signature of yours"):
        environment_of(by_config(path, "--no-trust"))


def test_a_new_sweep_is_signed_and_so_is_its_best_configuration(own_folder):
    base, options = sweep.parse(["--env", "tasks:make", "--env-args", "size=3", "--grid", "gamma=0.8,0.9"])
    (own_folder / "sweep.yaml").write_text(sweep_results.saved_values(base, options))
    resumed, _ = sweep.parse(["--resume", str(own_folder)])
    assert environment_of(resumed).max_episode_steps == 3
    (own_folder / "best.yaml").write_text(sweep_results.best(base, {"values": {"gamma": 0.8}}, "results"))
    assert environment_of(by_config(own_folder / "best.yaml")).max_episode_steps == 3


def test_results_that_a_stranger_has_changed_do_not_get_the_users_signature(own_folder):
    base = PPOConfig(env="tasks:make")
    for values in ({"env": "os:system"}, {"env": "os:system", "env_args": ["command=true"]}):
        (own_folder / "best.yaml").write_text(sweep_results.best(base, {"values": values}, "results"))
        with pytest.raises(UserError, match="would import 'os'"):
            environment_of(by_config(own_folder / "best.yaml"))


def test_a_sweep_of_what_nobody_vouched_for_is_not_signed(own_folder):
    base, options = sweep.parse(["--config", str(write(own_folder / "c.yaml", OWN)), "--grid", "gamma=0.8"])
    assert trust.SIGNATURE not in safe_yaml.load(sweep_results.saved_values(base, options))


def test_shipped_files_are_part_of_the_package():
    assert type(by_config("ppo/brax_hopper").env) is str


def test_names_that_import_nothing_need_no_word(own_folder):
    for env in ("brax:hopper", "mjx:CartpoleBalance", "gymnasium:Hopper-v5", "gymnasium:ALE/Pong-v5"):
        trust.signed({"env": env})
        if env.startswith(trust.OWN_NAMES):
            assert not (own_folder / "settings").exists()
    path = write(own_folder / "c.yaml", {"env": "brx:hopper"})
    with pytest.raises(UserError, match="there is no module 'brx'; did you mean 'brax'"):
        environment_of(by_config(path))


def test_a_file_may_name_what_gymnasium_makes_and_not_what_others_registered(own_folder):
    gymnasium = pytest.importorskip("gymnasium")
    values = trust.foreign({"env": "gymnasium:CartPole-v1"}, "a file")
    assert make_environment(**values).observation_shape == (4,)
    gymnasium.register("Strangers-v0", "tasks:make")
    try:
        with pytest.raises(UserError, match="would import"):
            make_environment(**trust.foreign({"env": "gymnasium:Strangers-v0"}, "a file"))
    finally:
        del gymnasium.registry["Strangers-v0"]


def opens_a_door(call):
    """A call that can run what a value names, other than importing a part of this package."""
    name = ast.unparse(call.func)
    if name.rpartition(".")[2] in ("import_module", "__import__", "run_module", "run_path", "locate"):
        return not ast.unparse(call.args[0]).startswith(("'purejaxrl_gae", "f'purejaxrl_gae", "_EXPORTS[", "_MODULES["))
    return name in ("eval", "exec", "compile", "pickle.load", "pickle.loads", "yaml.unsafe_load", "np.load")


def test_the_gate_is_the_only_place_that_imports_or_runs_what_a_value_names():
    found = []
    for path in sorted(Path(trust.__file__).parent.rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        found += [f"{path.name}: {ast.unparse(call)}" for call in calls if opens_a_door(call)]
    assert found == ["trust.py: importlib.import_module(module)"]
