"""Values of configs: their types, and configs as plain values and back."""

import dataclasses

import numpy as np
import pytest
import yaml

from purejaxrl_gae import PPOConfig, cli, kernels
from purejaxrl_gae.settings import config, parts, trust
from purejaxrl_gae.settings.errors import UserError


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
        ("anneal_lr", True, True),
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


@pytest.mark.parametrize("field", ["network", "objective", "advantage"])
def test_a_part_is_one_of_ours_or_a_module_and_name(field):
    with pytest.raises(UserError, match=f"{field} is 'clipp'; it must be one of .*, or MODULE:NAME of your own"):
        dataclasses.replace(PPOConfig(), **{field: "clipp"}).validate()


def test_a_field_in_a_file_may_have_the_name_it_had_until_0_1():
    assert config.with_values(PPOConfig(), {"kl_target": 0.5}, "test").desired_kl == 0.5
