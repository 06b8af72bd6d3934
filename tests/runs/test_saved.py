"""Folders of runs read back: as agents, and as what another run starts from."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import yaml

import purejaxrl_gae
from purejaxrl_gae import A2CConfig, PPOConfig, cli, make_agent
from purejaxrl_gae.runs import saved, training_run
from purejaxrl_gae.runs.run_options import RunOptions
from purejaxrl_gae.settings.errors import RunError, UserError

TINY = PPOConfig(
    env="CartPole-v1",
    total_timesteps=256,
    num_envs=4,
    num_steps=16,
    num_minibatches=2,
    update_epochs=1,
    hidden_sizes=(4,),
    normalize_observations=True,
)


def options(path, **changes):
    quiet = dict(progress=False, compilation_cache=False, tensorboard=False, updates_per_report=1, eval_episodes=2)
    return RunOptions(run_dir=path, **{**quiet, **changes})


@pytest.fixture(scope="module")
def agent():
    return make_agent(TINY)


@pytest.fixture(scope="module")
def states(agent):
    return jax.vmap(agent.init)(jax.random.split(jax.random.key(5), 2))


@pytest.fixture(scope="module")
def one(states):
    return jax.tree.map(lambda leaf: leaf[1], states)


@pytest.fixture(scope="module")
def fresh(agent):
    return agent.init(jax.random.key(0))


def assert_same(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_weights_and_normalisers_are_taken_over_and_nothing_else(agent, one, fresh, tmp_path):
    agent.save(tmp_path / "other", one)
    started = saved.start_from(tmp_path / "other", fresh)
    assert_same(started.learner.params, one.learner.params)
    assert_same(started.learner.normalizers, one.learner.normalizers)
    assert_same(started.learner.optimizer_state, fresh.learner.optimizer_state)
    assert_same(started.counters, fresh.counters)


def test_one_agent_starts_several_and_several_as_many(agent, one, states, tmp_path):
    agent.save(tmp_path / "one", one)
    started = saved.start_from(tmp_path / "one", states)
    for lane in range(2):
        assert_same(jax.tree.map(lambda leaf, i=lane: leaf[i], started.learner.params), one.learner.params)
    agent.save(tmp_path / "two", states)
    assert_same(saved.start_from(tmp_path / "two", states).learner.params, states.learner.params)
    with pytest.raises(UserError, match="a run of 2 agents; num_seeds must be as many"):
        saved.start_from(tmp_path / "two", one)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_sizes": (8,)}, "learner.params"),
        ({"normalize_observations": not TINY.normalize_observations}, "learner.normalizers.observations"),
    ],
)
def test_weights_of_another_shape_are_refused_by_name(agent, one, changes, named, tmp_path):
    agent.save(tmp_path / "other", one)
    other = make_agent(dataclasses.replace(TINY, **changes)).init(jax.random.key(0))
    with pytest.raises(UserError, match=rf"init_from is .*does not fit.*{named}") as refusal:
        saved.start_from(tmp_path / "other", other)
    assert "\n" not in str(refusal.value)


def test_a_run_starts_from_a_saved_agent_of_another_algorithm_and_is_read_as_an_agent(agent, one, tmp_path):
    agent.save(tmp_path / "ppo", one)
    config = A2CConfig(env="CartPole-v1", total_timesteps=32, num_envs=2, num_steps=16, hidden_sizes=(4,))
    config = dataclasses.replace(config, normalize_observations=TINY.normalize_observations, learning_rate=0.0)
    training_run.run(config, options(tmp_path / "a2c", init_from=tmp_path / "ppo"))
    assert yaml.safe_load((tmp_path / "a2c" / "config.yaml").read_text())["init_from"] == str(tmp_path / "ppo")
    loaded, state = purejaxrl_gae.load(tmp_path / "a2c")
    assert loaded.config == config
    assert_same(state.learner.params["policy"], one.learner.params["policy"])


def test_a_run_that_cannot_start_from_another_leaves_no_folder(tmp_path):
    with pytest.raises(UserError, match=r"init_from is .*, which holds no run"):
        training_run.run(TINY, options(tmp_path / "run", init_from=tmp_path / "nothing"))
    assert not (tmp_path / "run").exists()


def test_a_callback_gets_every_record_and_stops_the_run_that_goes_on_when_resumed(tmp_path, capsys):
    seen = []

    def on_report(record):
        seen.append(dict(record))
        record.clear()
        return len(seen) == 2

    summary = training_run.run(TINY, options(tmp_path), on_report=on_report)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["env_steps"] for record in seen] == [line["env_steps"] for line in lines] == [64, 128]
    assert summary["env_steps"] == 128
    assert not summary["goal_reached"]
    assert "stopped at step 128: a callback returned True\n" in capsys.readouterr().out
    further = training_run.run(TINY, dataclasses.replace(options(None), resume=tmp_path))
    assert further["env_steps"] == TINY.env_steps > 128
    assert "stopped" not in capsys.readouterr().out


def test_a_callback_that_raises_ends_in_one_line_and_a_saved_run(tmp_path, monkeypatch):
    (tmp_path / "my_callbacks.py").write_text("def fails(record):\n    raise ValueError('no\\nroom')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        RunError, match="callback my_callbacks:fails raised ValueError: no; saved at step 64"
    ) as failure:
        training_run.run(TINY, options(tmp_path / "run", callback="my_callbacks:fails"))
    assert "\n" not in str(failure.value)
    assert int(purejaxrl_gae.load(tmp_path / "run")[1].counters.updates) == 1


def test_what_is_no_callback_is_refused():
    with pytest.raises(UserError, match="callback is 'print'; it must be MODULE:NAME"):
        RunOptions(callback="print").validate()


def test_flags_reach_the_options(tmp_path):
    flags = ["--env", "CartPole-v1", "--init-from", str(tmp_path), "--callback", "a:b"]
    _, parsed = cli.parse("ppo", flags)
    assert (parsed.init_from, parsed.callback) == (tmp_path, "a:b")
