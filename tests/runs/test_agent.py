"""An agent's pure functions: what training is made of, and what is there after it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purejaxrl_gae
from purejaxrl_gae import A2CConfig, PPOConfig, make_agent, make_train, make_value_function
from purejaxrl_gae.settings.errors import UserError

TINY = PPOConfig(
    env="Pendulum-v1",
    total_timesteps=128,
    num_envs=4,
    num_steps=16,
    num_minibatches=2,
    update_epochs=2,
    hidden_sizes=(8,),
    normalize_observations=True,
    anneal_lr=False,
)


def assert_same(actual, expected):
    def plain(leaf):
        return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(plain, actual), jax.tree.map(plain, expected))


@pytest.fixture(scope="module")
def agent():
    return make_agent(TINY)


@pytest.fixture(scope="module")
def states(agent):
    return jax.vmap(agent.init)(jax.random.split(jax.random.key(0), 3))


@pytest.fixture(scope="module")
def state(states):
    return jax.tree.map(lambda leaf: leaf[1], states)


@pytest.fixture(scope="module")
def result():
    return jax.jit(make_train(TINY))(jax.random.key(0))


def test_a_training_is_its_updates_one_by_one(agent, result):
    state = agent.init(jax.random.key(0))
    for index in range(2):
        state, metrics = agent.update(state)
        for name, values in result.metrics.items():
            np.testing.assert_allclose(metrics[name], values[index], rtol=1e-4, atol=1e-5)
    assert metrics.keys() == result.metrics.keys()
    assert int(metrics["env_steps"]) == 128


def test_training_goes_on_from_a_state_with_its_own_random_numbers_or_new_ones(result):
    train = jax.jit(make_train(TINY))
    longer = jax.jit(make_train(dataclasses.replace(TINY, total_timesteps=256)))(jax.random.key(0))
    further = train(None, None, result.state)
    assert further.metrics["env_steps"].tolist() == [192, 256]
    for name in ("score_last100", "value_loss"):
        np.testing.assert_allclose(further.metrics[name], longer.metrics[name][2:], rtol=1e-3, atol=1e-4)
    apart = train(jax.random.key(7), {"learning_rate": 1e-3}, result.state)
    assert not np.array_equal(apart.metrics["value_loss"], further.metrics["value_loss"])


def test_training_from_nothing_is_refused():
    with pytest.raises(UserError, match="key is None"):
        make_train(TINY)(None)


def test_a_policy_acts_on_one_observation_or_any_batch_within_bounds(agent, state):
    policy = agent.policy(state)
    observations = np.random.default_rng(0).normal(size=(2, 5, 3))
    actions = policy.act(observations)
    assert actions.shape == (2, 5, 1)
    np.testing.assert_allclose(policy.act(observations[1, 2]), actions[1, 2], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(policy.act(observations), actions)
    sampled = jnp.stack([policy.act(observations, key) for key in jax.random.split(jax.random.key(0), 20)])
    assert jnp.abs(sampled).max() <= 2.0
    assert jnp.std(sampled, axis=0).min() > 0.1
    with pytest.raises(UserError, match=r"observations is an array \[4\]; Pendulum-v1 has \[3\]"):
        policy.act(np.zeros(4))


def test_values_are_those_of_the_value_function_in_both_units(agent, state):
    observations = jnp.ones((2, 3))
    values, expected = agent.policy(state).value(observations), make_value_function(TINY)(state.learner, observations)
    assert_same(values, expected)


def test_many_agents_act_and_one_lane_is_an_agent(agent, states, state):
    together = jax.jit(jax.vmap(lambda state: agent.policy(state).act(jnp.ones(3))))(states)
    np.testing.assert_allclose(together[1], agent.policy(state).act(jnp.ones(3)), rtol=1e-5, atol=1e-6)


def test_evaluation_is_of_whole_episodes_and_follows_from_its_key(agent, states, state):
    returns = agent.evaluate(state, jax.random.key(1), num_episodes=4)
    assert returns.shape == (4,)
    np.testing.assert_array_equal(returns, agent.evaluate(state, jax.random.key(1), num_episodes=4))
    keys = jax.random.split(jax.random.key(1), 3)
    assert jax.vmap(lambda state, key: agent.evaluate(state, key, 4))(states, keys).shape == (3, 4)
    with pytest.raises(UserError, match="num_episodes is 0"):
        agent.evaluate(state, jax.random.key(1), 0)


def test_a_saved_agent_is_read_back_whole_one_or_several(agent, states, state, tmp_path):
    for saved in (states, state):  # the second in place of the first
        agent.save(tmp_path / "saved", saved)
        again, read = purejaxrl_gae.load(tmp_path / "saved")
        assert again.config == TINY
        assert_same(read, saved)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]


def test_a_folder_of_something_else_is_not_written_over(agent, state, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        agent.save(tmp_path, state)


def test_an_object_without_import_name_is_named_when_saved_and_handed_in_when_read(agent, state, tmp_path, capsys):
    config = dataclasses.replace(TINY, env=agent.environment)
    own = make_agent(config)
    own.save(tmp_path / "saved", state)
    assert capsys.readouterr().err.count("\n") <= 2  # one sentence, wrapped where it is long
    with pytest.raises(UserError, match=r"env is '<Pendulum-v1>' .* load\(path, config\)"):
        purejaxrl_gae.load(tmp_path / "saved")
    _, read = purejaxrl_gae.load(tmp_path / "saved", config)
    assert_same(read, state)


@pytest.mark.parametrize("config", [TINY, A2CConfig(env="CartPole-v1", num_envs=2, num_steps=8, hidden_sizes=(4,))])
def test_updates_in_a_row_are_differentiated_by_hyperparameters(config):
    agent = make_agent(config)
    state = agent.init(jax.random.key(0))

    @jax.jit
    def value_after_two(hyperparameters):
        later, _ = jax.lax.scan(lambda state, _: (agent.update(state, hyperparameters)[0], None), state, length=2)
        return jnp.mean(agent.policy(later).value(later.world.observations).as_learned)

    hyperparameters = {"gamma": jnp.float32(0.95), "learning_rate": jnp.float32(1e-3)}
    backwards, forwards = jax.grad(value_after_two)(hyperparameters), jax.jacfwd(value_after_two)(hyperparameters)
    for name, gradient in backwards.items():
        assert float(jnp.abs(gradient)) > 0.0
        np.testing.assert_allclose(gradient, forwards[name], rtol=1e-2)
