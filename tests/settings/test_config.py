"""Values from files: types, precedence, and the presets that ship."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from purejaxrl_gae import PPOConfig, cli, kernels, sweep
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.settings import config, config_files, parts, trust
from purejaxrl_gae.settings.errors import UserError

PRESETS = sorted(config_files.configs_directory().glob("*/*.yaml"))
CLASSIC_AND_MINATAR = [
    "Pendulum-v1",
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
    "Asterix-MinAtar",
    "Breakout-MinAtar",
    "Freeway-MinAtar",
    "Seaquest-MinAtar",
    "SpaceInvaders-MinAtar",
]


MUJOCO = (*("HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Reacher", "InvertedPendulum", "InvertedDoublePendulum"),)
ON_THE_HOST = [*(f"gymnasium:{name}-v5" for name in MUJOCO), "gymnasium:ALE/Pong-v5"]


@pytest.mark.parametrize(
    "name, value, read",
    [
        ("learning_rate", "3e-4", 3e-4),  # what PyYAML makes of 3e-4
        ("learning_rate", 1, 1.0),
        ("total_timesteps", 1e6, 1_000_000),
        ("total_timesteps", "1e6", 1_000_000),
        ("hidden_sizes", [32, "64"], (32, 64)),
        ("target_kl", None, None),
        ("target_kl", "0.02", 0.02),
        ("anneal_lr", False, False),
        ("env", "CartPole-v1", "CartPole-v1"),
    ],
)
def test_values_are_read_as_their_fields_types(name, value, read):
    result = getattr(config.with_values(PPOConfig(), {name: value}, "test"), name)
    assert result == read
    assert type(result) is type(read)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"learning_rate": "fast"}, "test: learning_rate is 'fast'; it must be a number"),
        ({"num_envs": 2.5}, "test: num_envs is 2.5; it must be a whole number"),
        ({"num_envs": True}, "test: num_envs is True; it must be a whole number"),
        ({"anneal_lr": "yes please"}, "test: anneal_lr is 'yes please'; it must be true or false"),
        ({"hidden_sizes": 64}, "test: hidden_sizes is 64; it must be a list of whole numbers"),
        ({"activation": "tan"}, "test: activation is 'tan'; it must be one of 'tanh', 'relu', 'elu', 'silu'"),
        ({"lerning_rate": 1.0}, "test has the unknown key 'lerning_rate'; did you mean 'learning_rate'?"),
    ],
)
def test_wrong_values_name_source_field_and_what_would_be_valid(values, message):
    with pytest.raises(UserError) as error:
        config.with_values(PPOConfig(), values, "test")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"total_timesteps": 1e6}, "total_timesteps is 1000000.0, a float; it must be a whole number, as 1000000"),
        ({"learning_rate": "3e-4"}, "learning_rate is '3e-4', a text; it must be a number"),
        ({"learning_rate": 1e39}, "learning_rate is 1e+39; it must be a finite number of float32"),
        (
            {"hidden_sizes": (10**20,)},
            "hidden_sizes is (100000000000000000000,); it must be widths between 1",
        ),
        ({"seed": 10**400}, "it must be a whole number of at most 300 digits"),
        ({"env": "x" * 300}, "it must be a name of 1 to 255 letters"),
        ({"num_minibatches": 10**9}, "num_minibatches is 1000000000; it must be between 1 and 2048"),
        ({"num_minibatches": 7}, "nearest that does: 8"),
        ({"num_envs": 2**14, "num_steps": 2**14}, "268435456; one update may hold at most 268435455 steps"),
    ],
)
def test_wrong_values_in_python_are_refused_alike(values, message):
    with pytest.raises(UserError) as error:
        PPOConfig(**values).validate()
    assert message in str(error.value)
    assert len(str(error.value)) < 300


def test_arrays_of_one_number_are_numbers():
    PPOConfig(learning_rate=np.float32(1e-3), num_envs=np.int64(8)).validate()


def test_a_plain_config_reads_back_as_itself():
    original = PPOConfig(env="CartPole-v1", learning_rate=1e-5, hidden_sizes=(7, 5), target_kl=0.1)
    assert config.with_values(PPOConfig(), config.to_plain(original), "test") == original


def test_files_keep_the_import_names_of_parts_that_were_handed_in():
    original = PPOConfig(objective=kernels.unclipped_loss, network="my_nets:make", advantage=lambda rewards: rewards)
    plain = config.to_plain(original)
    assert plain["objective"] == "purejaxrl_gae.kernels.losses:unclipped_loss" and plain["network"] == "my_nets:make"
    assert trust.SIGNATURE in trust.signed(plain)
    read = config.with_values(PPOConfig(), yaml.safe_load(yaml.safe_dump(plain)), "a file")
    assert parts.find("objective", read.objective, {}) is kernels.unclipped_loss
    with pytest.raises(UserError, match=r"advantage is 'test_config\..*lambda.*'; it must be one of"):
        dataclasses.replace(read, network="separate").validate()


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_file_is_a_valid_config(path):
    values = config_files.read_yaml(path)
    assert path.parent.name == "seeds" or config_files.preset_path(path.parent.name, values["env"]) == path
    training_config, _ = cli.parse(values["algorithm"], ["--config", str(path)])
    training_config.validate()
    assert training_config.env == values["env"]


def test_a_shipped_file_can_be_named_without_its_path_in_any_folder(tmp_path, monkeypatch):
    by_path, _ = cli.parse("ppo", ["--config", str(config_files.configs_directory() / "ppo" / "CartPole-v1.yaml")])
    lecture = config_files.configs_directory() / "seeds" / "ppo_cartpole_lecture.yaml"
    monkeypatch.chdir(tmp_path)
    assert by_path == config_files.with_preset(PPOConfig(env="CartPole-v1"))
    for name in ("ppo/CartPole-v1", "ppo/CartPole-v1.yaml", "configs/ppo/CartPole-v1.yaml"):
        assert cli.parse("ppo", ["--config", name])[0] == by_path
    assert cli.parse("ppo", ["--config", "seeds/ppo_cartpole_lecture"])[0].clip_coef == 100.0
    assert config_files.find_file("seeds/ppo_cartpole_lecture") == lecture
    assert cli.parse("ppo", ["--config", "ppo/gymnasium:ALE/Pong-v5"])[0].env == "gymnasium:ALE/Pong-v5"
    swept, _ = sweep.parse(["--config", "trpo/CartPole-v1", "--grid", "gamma=0.9"])
    assert (swept.algorithm, swept.env) == ("trpo", "CartPole-v1")


def test_a_file_of_the_users_own_comes_before_the_shipped_one_of_its_name(tmp_path, monkeypatch):
    (tmp_path / "ppo").mkdir()
    write(tmp_path / "ppo" / "CartPole-v1.yaml", "env: Acrobot-v1\n")
    monkeypatch.chdir(tmp_path)
    assert cli.parse("ppo", ["--config", "ppo/CartPole-v1.yaml"])[0].env == "Acrobot-v1"


def test_flags_win_over_the_environment_of_a_file():
    training_config, _ = cli.parse("ppo", ["--config", "ppo/CartPole-v1", "--env", "Acrobot-v1"])
    of_file = config_files.read_yaml(config_files.find_file("ppo/CartPole-v1")) | {"env": "Acrobot-v1"}
    del of_file["algorithm"]
    assert training_config == config.with_values(config_files.with_preset(PPOConfig(env="Acrobot-v1")), of_file, "file")


@pytest.mark.parametrize("name", ["ppo_cartpole_lecture", "ppo_atari", "trpo_pendulum", "trpo_gae_pendulum"])
def test_seed_presets_have_the_documents_adam_and_weight_of_the_value_loss(name):
    values = config_files.read_yaml(config_files.configs_directory() / "seeds" / f"{name}.yaml")
    assert values["adam_eps"] == 1e-8  # PyTorch's default
    if values["algorithm"] == "ppo":
        assert 0.5 * values["vf_coef"] == 1.0  # c1, of the squared error without the half that ours has


@pytest.mark.parametrize("env", ON_THE_HOST)
def test_names_with_colons_and_slashes_have_presets(env):
    path = config_files.preset_path("ppo", env)
    assert path is not None and path.name.startswith("gymnasium_")
    assert config_files.with_preset(PPOConfig(env=env)).num_steps in (128, 2048)


@pytest.mark.parametrize("env", CLASSIC_AND_MINATAR)
def test_classic_control_and_minatar_have_ppo_presets(env):
    assert config_files.preset_path("ppo", env) is not None


def test_presets_of_ppo_name_what_its_defaults_would_else_decide():
    names = {"num_envs", "num_steps", "num_minibatches", "update_epochs", "learning_rate", "normalize_observations"}
    paths = [
        *config_files.configs_directory().glob("ppo/*.yaml"),
        *config_files.configs_directory().glob("seeds/ppo_*.yaml"),
    ]
    assert len(paths) > 20
    for path in paths:
        assert names <= set(config_files.read_yaml(path)), path


@pytest.mark.parametrize("algorithm", algorithms.CONFIG_CLASSES)
def test_rollouts_of_pendulum_show_more_than_one_phase_of_its_episodes(algorithm):
    preset = config_files.with_preset(algorithms.config_class(algorithm)(env="Pendulum-v1"))
    assert preset.num_steps >= 100 or preset.stagger_episodes  # 200 steps that all copies begin together


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_precedence_is_defaults_preset_file_flags(tmp_path):
    preset = config_files.with_preset(PPOConfig(env="Pendulum-v1"))
    assert preset != PPOConfig(env="Pendulum-v1"), "the preset changes nothing"
    from_preset, _ = cli.parse("ppo", ["--env", "Pendulum-v1"])
    assert from_preset == preset

    file = write(tmp_path / "c.yaml", "learning_rate: 1e-5\nnum_envs: 4\ngoal_score: -300\n")
    from_file, options = cli.parse("ppo", ["--env", "Pendulum-v1", "--config", file])
    assert from_file == dataclasses.replace(preset, learning_rate=1e-5, num_envs=4)
    assert options.goal_score == -300.0

    from_flags, options = cli.parse("ppo", ["--config", file, "--num-envs", "8", "--goal-score", "-200"])
    assert from_flags == dataclasses.replace(preset, learning_rate=1e-5, num_envs=8)
    assert options.goal_score == -200.0


def test_presets_can_be_left_out():
    training_config, _ = cli.parse("ppo", ["--env", "CartPole-v1", "--no-preset"])
    assert training_config == PPOConfig(env="CartPole-v1")


def test_a_file_may_choose_the_environment(tmp_path):
    file = write(tmp_path / "c.yaml", "env: CartPole-v1\n")
    training_config, _ = cli.parse("ppo", ["--config", file])
    assert training_config == config_files.with_preset(PPOConfig(env="CartPole-v1"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--kl-target", "0.1"], "unknown flag --kl-target; it is called --desired-kl now"),
        (["--learnin-rate", "1"], "unknown flag --learnin-rate; did you mean '--learning-rate'?"),
        (["--learning-rate", "fast"], "--learning-rate"),
        (["--time-limit", "never"], "--time-limit"),
        (["--env"], "--env needs a value"),
        (["--config", "ppo/CartPol-v1"], "No such file or directory; did you mean 'ppo/CartPole-v1'?"),
        (["--config", "trpo/CartPole-v1"], "is for trpo; run python -m purejaxrl_gae.trpo"),
        (["--config", "/does/not/exist.yaml"], "cannot be read: No such file or directory"),
        (["--resume", "/does/not/exist"], "holds no run"),
        (["stray"], "stray"),
    ],
)
def test_wrong_command_lines_are_refused_in_one_line(arguments, message):
    with pytest.raises(UserError) as error:
        cli.parse("ppo", arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("- a\n- b\n", "it must hold name: value pairs"),
        ("a: [", "which is not YAML"),
        ("algorithm: trpo\n", "is for trpo"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        cli.parse("ppo", ["--config", write(tmp_path / "c.yaml", text)])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["network", "objective", "advantage"])
def test_a_part_is_one_of_ours_or_a_module_and_name(field):
    with pytest.raises(UserError, match=f"{field} is 'clipp'; it must be one of .*, or MODULE:NAME of your own"):
        dataclasses.replace(PPOConfig(), **{field: "clipp"}).validate()


def test_a_field_in_a_file_may_have_the_name_it_had_until_0_1():
    assert config.with_values(PPOConfig(), {"kl_target": 0.5}, "test").desired_kl == 0.5
