"""Values from files: precedence, and the presets that ship."""

import dataclasses
from pathlib import Path

import pytest

from purejaxrl_gae import PPOConfig, cli, sweep
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.settings import config, config_files
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


MUJOCO = (
    *("HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Ant", "Reacher", "InvertedPendulum", "InvertedDoublePendulum"),
)
ON_THE_HOST = [*(f"gymnasium:{name}-v5" for name in MUJOCO), "gymnasium:ALE/Pong-v5"]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_file_is_a_valid_config(path):
    values = config_files.read_yaml(path)
    training_config, _ = cli.parse(values["algorithm"], ["--config", str(path)])
    assert path.parent.name == "seeds" or config_files.preset_path(training_config) == path
    training_config.validate()
    assert training_config.env == values["env"]
    assert not [note for note in training_config.notes() if "is called" in note], "a name that is not the one of today"


def test_a_task_by_envpool_takes_gymnasiums_preset_and_stays_by_envpool():
    by_gymnasium = config_files.with_preset(PPOConfig(env="gymnasium:Hopper-v5"))
    by_envpool = config_files.with_preset(PPOConfig(env="envpool:Hopper-v5"))
    assert by_envpool == dataclasses.replace(by_gymnasium, env="envpool:Hopper-v5")
    assert config_files.preset_name(PPOConfig(env="envpool:NoSuchTask-v5")) is None


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


def test_a_run_with_memory_has_a_preset_of_its_own_or_that_without():
    with_memory, _ = cli.parse("ppo", ["--env", "CartPole-v1", "--memory", "lru"])
    values = config_files.read_yaml(config_files.find_file("ppo/CartPole-v1+memory"))
    assert (with_memory.memory, with_memory.num_steps) == ("lru", values["num_steps"])
    assert cli.parse("ppo", ["--config", "ppo/CartPole-v1+memory"])[0] == dataclasses.replace(with_memory, memory="gru")
    assert config_files.with_preset(PPOConfig(env="CartPole-v1")).num_steps != values["num_steps"]
    assert config_files.preset_name(PPOConfig(env="Acrobot-v1", memory="gru")) == "ppo/Acrobot-v1"


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
    path = config_files.preset_path(PPOConfig(env=env))
    assert path is not None and path.name.startswith("gymnasium_")
    assert config_files.with_preset(PPOConfig(env=env)).num_steps == config_files.read_yaml(path)["num_steps"]


@pytest.mark.parametrize("env", CLASSIC_AND_MINATAR)
def test_classic_control_and_minatar_have_ppo_presets(env):
    assert config_files.preset_path(PPOConfig(env=env)) is not None


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
