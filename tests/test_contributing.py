"""The code in CONTRIBUTING.md works."""

import re
import shlex
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from purejaxrl_gae import PPOConfig, cli, make_train, sweep
from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.settings import config

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
COMMANDS = re.findall(r"^python -m purejaxrl_gae\.(.*)$", PAGE.read_text(), flags=re.MULTILINE)
FILES = {block.split()[1]: block for block in BLOCKS if block.startswith("# my_")}


class PgxState(struct.PyTreeNode):
    """What states of pgx have in common; `time` is the game's own."""

    observation: jax.Array
    rewards: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    time: jax.Array


class Countdown:
    """A game with pgx's interface: won after as many steps as its first draw says, or cut by chance."""

    num_actions = 3
    observation_shape = (2, 2)

    def init(self, key):
        time = -jax.random.randint(key, (), 2, 7)
        return PgxState(jnp.full((2, 2), True), jnp.zeros(1), jnp.array(False), jnp.array(False), time)

    def step(self, state, action, key=None):
        time = state.time + 1
        observation = jnp.full((2, 2), False).at[0, 0].set(time == 0)
        rewards = jnp.where(time == 0, 1.0, 0.0)[None] + action
        return PgxState(observation, rewards, time == 0, jax.random.bernoulli(key, 0.2), time)


def run_block(name):
    (block,) = [block for block in BLOCKS if name in block]
    names = {}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def my_games(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgx", types.SimpleNamespace(make=lambda game: {"countdown": Countdown()}[game]))
    module = types.ModuleType("my_games")
    vars(module).update(run_block("from_pgx"))
    monkeypatch.setitem(sys.modules, "my_games", module)


@pytest.fixture
def my_parts(monkeypatch, tmp_path):
    """A user's folder with the page's files and the longer examples."""
    for name, block in FILES.items():
        (tmp_path / name).write_text(block)
    for folder in (ROOT / "docs" / "examples", tmp_path):
        monkeypatch.syspath_prepend(str(folder))
    yield
    for name in ("my_spo", "my_npg", "my_beta", *(file.removesuffix(".py") for file in FILES)):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_and_its_parts_keep_their_contracts(command, my_parts):
    module, *arguments = shlex.split(command)
    if module == "sweep":
        sweep.refuse_wrong_configurations(*sweep.parse(arguments))
        return
    algorithm = arguments.pop(0) if module == "train" else module
    parsed, _ = cli.parse(algorithm, arguments)
    assert parsed.algorithm == algorithm and algorithms.make_algorithm(parsed).setup.config is parsed


def test_parts_of_ones_own_train_together(my_parts):
    settings = dict(total_timesteps=128, num_envs=4, num_steps=16, num_minibatches=4, update_epochs=2)
    own = dict(network="my_nets:make", advantage="my_estimators:mine", objective="my_losses:spo")
    own |= dict(optimizer="my_descent:sign", schedule="my_descent:steps")
    result = jax.jit(make_train(PPOConfig(env="CartPole-v1", **own, **settings)))(jax.random.key(0))
    assert int(result.state.counters.skipped_updates) == 0
    assert np.all(np.isfinite(result.metrics["policy_loss"])) and "LayerNorm_0" in result.state.learner.params["policy"]


def test_the_algorithm_on_the_page_is_the_example_that_tests_train():
    assert (ROOT / "docs" / "examples" / "my_spo.py").read_text() in BLOCKS


def test_the_fisher_product_of_the_distribution_is_its_hessian(my_parts):
    names = run_block("from my_beta import StretchedBeta")
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4),
        names["fisher_times_change"],
        names["hessian_times_change"],
    )


def test_every_part_of_a_config_is_in_the_table_of_extensions():
    kinds = map(algorithms.config_class, algorithms.CONFIG_CLASSES)
    parts = {name for kind in kinds for name in config.parts_of(kind())}
    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.endswith("| 0 |")]
    assert parts | {"algorithm", "distribution", "env"} <= {row.replace("environment", "env") for row in rows}


def test_the_adapter_shows_the_true_successor_and_tells_ends_apart(my_games):
    environment = make_environment("my_games:from_pgx", env_args=("game=countdown",))
    assert environment.observation_shape == (2, 2)

    @jax.jit
    def play(key):
        states, _ = environment.reset(key, 5)

        def one(states, key):
            step = environment.step(key, states, jnp.ones(5, jnp.int32))
            return step.states, (step, states.time)

        return jax.lax.scan(one, states, jax.random.split(key, 60))[1]

    steps, times = jax.device_get(play(jax.random.key(0)))
    assert steps.terminated.sum() > 10 and steps.truncated.sum() > 10
    assert not np.any(steps.terminated & steps.truncated)
    np.testing.assert_array_equal(steps.terminated, times == -1)
    np.testing.assert_array_equal(steps.final_observations[..., 0, 0], steps.terminated)
    np.testing.assert_array_equal(steps.rewards, 1.0 + steps.terminated)
    ended = steps.terminated | steps.truncated
    np.testing.assert_array_equal(steps.observations[ended], 1.0)
    np.testing.assert_array_equal(steps.observations[~ended], steps.final_observations[~ended])
    assert len(set(steps.states.time[ended].tolist())) == 5, "every episode has a start of its own"


def test_the_adapter_trains(my_games):
    settings = dict(total_timesteps=128, num_envs=4, num_steps=8, num_minibatches=4)
    config = PPOConfig(env="my_games:from_pgx", env_args=("game=countdown",), **settings)
    result = jax.jit(make_train(config))(jax.random.key(0))
    assert np.all(np.isfinite(result.metrics["policy_loss"]))


def test_the_environment_written_out_works():
    environment = run_block("def observe(steps)")["parity"]
    states, observations = environment.reset(jax.random.key(0), 2)
    step = environment.step(jax.random.key(1), states, jnp.array([0, 1]))
    assert step.rewards.tolist() == [1.0, 0.0]
    assert observations.tolist() == [[0.0], [0.0]] and step.observations.tolist() == [[1.0], [1.0]]
