"""What the training program promises: purity, one compile, the same numbers however it is run."""

import dataclasses
import re
from functools import partial

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import PPOConfig, PPOHyperparameters, make_train, ppo
from purejaxrl_gae.environments import Step, make_environment, probes
from purejaxrl_gae.program import algorithms, training
from purejaxrl_gae.settings.config import field_types
from purejaxrl_gae.settings.errors import UserError
from tests.configs import tiny_ppo

SMALL = tiny_ppo(total_timesteps=512)


def assert_close(actual, expected, **tolerance):
    actual, expected = jax.device_get((actual, expected))
    jax.tree.map(partial(np.testing.assert_allclose, **tolerance), actual, expected)


def without_keys(tree):
    return jax.tree.map(
        lambda leaf: jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf, tree
    )


@pytest.fixture(scope="module")
def train():
    return jax.jit(make_train(SMALL))


def test_steps_are_counted_and_rounded_up():
    config = dataclasses.replace(SMALL, total_timesteps=500)
    assert config.env_steps == 512
    metrics = jax.jit(make_train(config))(jax.random.key(0)).metrics
    assert metrics["env_steps"].tolist() == [128, 256, 384, 512]
    assert int(np.asarray(metrics["episodes"]).sum()) > 0


def test_metrics_are_per_update_scalars(train):
    result = train(jax.random.key(0))
    assert {leaf.shape for leaf in jax.tree.leaves(result.metrics)} == {(4,)}


def test_episode_statistics_add_up_to_the_steps(train):
    result = train(jax.random.key(0))
    metrics = {name: np.asarray(values) for name, values in result.metrics.items()}
    finished = np.nansum(metrics["episodes"] * metrics["episodic_length"])
    running = float(np.asarray(result.state.world.episode_lengths).sum())
    assert finished + running == 512
    np.testing.assert_allclose(metrics["episodic_return"], metrics["episodic_length"])  # CartPole pays 1 a step


def test_the_score_is_a_number_in_every_update_after_the_first_episode(train):
    result = train(jax.random.key(0))
    episodes, scores = np.cumsum(result.metrics["episodes"]), np.asarray(result.metrics["score_last100"])
    np.testing.assert_array_equal(np.isfinite(scores), episodes > 0)
    kept = np.asarray(result.state.counters.recent_returns)[: min(100, episodes[-1])]
    np.testing.assert_allclose(scores[-1], kept.mean(), rtol=1e-6)


def test_the_same_key_gives_the_same_bits(train):
    assert_close(without_keys(train(jax.random.key(3))), without_keys(train(jax.random.key(3))), rtol=0, atol=0)


def test_vmapped_agents_equal_their_solo_runs(train):
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(train))(keys)
    for index in range(3):
        solo = train(keys[index])
        assert_close(
            jax.tree.map(lambda leaf, index=index: leaf[index], together.state.learner.params),
            solo.state.learner.params,
            rtol=1e-3,
            atol=1e-4,
        )


def test_hyperparameters_are_swept_in_one_trace():
    traces = []
    algorithm = ppo.make_algorithm(SMALL)

    def counted_learn(*arguments):
        traces.append(1)
        return algorithm.learn(*arguments)

    train = training.make_train_program(algorithm._replace(learn=counted_learn))
    swept = jax.jit(jax.vmap(train, (None, 0)))
    learning_rates = jnp.array([1e-4, 1e-3, 1e-2])
    results = swept(jax.random.key(0), {"learning_rate": learning_rates})
    first = len(traces)
    again = swept(jax.random.key(1), {"learning_rate": learning_rates * 2})
    assert len(traces) == first, "a second sweep of other values traced again"
    np.testing.assert_allclose(results.metrics["learning_rate"][:, 0], learning_rates, rtol=1e-6)
    np.testing.assert_allclose(again.metrics["learning_rate"][:, 0], learning_rates * 2, rtol=1e-6)
    solo = jax.jit(make_train(dataclasses.replace(SMALL, learning_rate=1e-2)))(jax.random.key(0))
    assert_close(
        jax.tree.map(lambda leaf: leaf[2], results.state.learner.params),
        solo.state.learner.params,
        rtol=1e-3,
        atol=1e-4,
    )


def test_python_numbers_as_hyperparameters_do_not_retrace(train):
    train(jax.random.key(0), {"gamma": 0.9})
    before = train._cache_size()
    train(jax.random.key(0), {"gamma": 0.95})
    assert train._cache_size() == before


def test_every_float_that_could_be_swept_is_traced():
    traced = {field.name for field in dataclasses.fields(PPOHyperparameters)}
    floats = {name for name, hint in field_types(PPOConfig).items() if re.search(r"\bfloat\b", str(hint))}
    assert floats - traced == {"log_std_init", "sticky_actions"}  # of the first parameters, of the environment


def test_complete_hyperparameters_are_taken_too(train):
    complete = dataclasses.replace(training.traced_hyperparameters(SMALL), learning_rate=jnp.float32(1e-3))
    result = train(jax.random.key(0), complete)
    np.testing.assert_allclose(result.metrics["learning_rate"][0], 1e-3, rtol=1e-6)


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"learnin_rate": 1.0}, "did you mean 'learning_rate'?"),
        ({"target_kl": 0.1}, "config's target_kl is None"),
        (3.0, "it must be a dict or a PPOHyperparameters"),
    ],
)
def test_wrong_hyperparameters_are_refused(train, overrides, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        train(jax.random.key(0), overrides)


def test_jit_on_and_off_agree():
    few = dict(total_timesteps=8, num_envs=2, num_steps=4, num_minibatches=2, update_epochs=1)
    config = dataclasses.replace(SMALL, env=probes.both(), hidden_sizes=(2,), **few)  # of few shapes: each op compiles
    jitted = jax.jit(make_train(config))(jax.random.key(0))
    with jax.disable_jit():
        eager = make_train(config)(jax.random.key(0))
    assert_close(eager.state.learner.params, jitted.state.learner.params, rtol=1e-4, atol=1e-5)


def test_how_a_run_is_cut_into_calls_does_not_change_its_bits():
    algorithm = ppo.make_algorithm(dataclasses.replace(SMALL, total_timesteps=128 * 6))
    advance = jax.jit(partial(training.advance, algorithm))

    def run(*stretches):
        state = jax.jit(partial(training.init_state, algorithm))(jax.random.key(0), algorithm.hyperparameters)
        for stretch in stretches:
            state, progress = advance(algorithm.hyperparameters, state, jnp.int32(stretch))
            assert int(progress.updates) == stretch
        return without_keys(state)

    assert_close(run(1, 2, 3), run(6), rtol=0, atol=0)
    assert advance._cache_size() == 1


def test_host_and_pure_program_agree(train):
    algorithm = ppo.make_algorithm(SMALL)
    state = training.init_state(algorithm, jax.random.key(0), algorithm.hyperparameters)
    state, _ = jax.jit(partial(training.advance, algorithm))(algorithm.hyperparameters, state, jnp.int32(4))
    assert_close(state.learner.params, train(jax.random.key(0)).state.learner.params, rtol=1e-4, atol=1e-5)


def nan_after(environment, steps):
    """The environment, with a NaN reward in every copy once `steps` steps have been made."""

    def reset(key, num_envs):
        states, observations = environment.reset(key, num_envs)
        return (states, jnp.zeros(num_envs, jnp.int32)), observations

    def step(key, states, actions):
        inner, count = states
        result = environment.step(key, inner, actions)
        rewards = jnp.where(count == steps, jnp.nan, result.rewards)
        return Step((result.states, count + 1), *result[1:])._replace(rewards=rewards)

    return dataclasses.replace(environment, reset=reset, step=step)


@pytest.fixture(scope="module")
def poisoned():
    return nan_after(make_environment("CartPole-v1"), 70)  # in the third update of 32 steps


def advance_poisoned(environment, **changes):
    algorithm = ppo.make_algorithm(dataclasses.replace(SMALL, env=environment, total_timesteps=128 * 5, **changes))
    state = training.init_state(algorithm, jax.random.key(0), algorithm.hyperparameters)
    return jax.jit(partial(training.advance, algorithm))(algorithm.hyperparameters, state, jnp.int32(5))


def test_a_nonfinite_update_halts_with_its_number_and_finite_parameters(poisoned):
    state, progress = advance_poisoned(poisoned)
    assert not progress.healthy
    assert int(progress.updates) == 3
    assert int(state.counters.nonfinite_steps) == 4  # once in each copy
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.learner.params))


def test_a_nonfinite_step_is_left_out_and_counted_where_wanted(poisoned):
    state, progress = advance_poisoned(poisoned, on_nonfinite="skip")
    assert progress.healthy
    assert int(progress.updates) == 5
    assert int(state.counters.nonfinite_steps) >= 1
    assert int(state.counters.skipped_updates) == 0
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.learner))


def test_an_update_that_overflows_is_undone_and_counted():
    def huge(action, state, continuous):
        return jnp.float32(1e30) * jnp.ones(())

    environment = make_environment(probes.Probe("huge", huge))
    state, progress = advance_poisoned(environment, on_nonfinite="skip", normalize_rewards=False)
    assert int(state.counters.skipped_updates) == 5
    assert progress.healthy
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.learner))


@pytest.mark.parametrize("num_envs, num_steps", [(1, 1), (1, 5), (3, 1)])
def test_the_smallest_batches_run(num_envs, num_steps):
    config = dataclasses.replace(
        SMALL, num_envs=num_envs, num_steps=num_steps, num_minibatches=1, total_timesteps=4 * num_envs * num_steps
    )
    result = jax.jit(make_train(config))(jax.random.key(0))
    assert int(result.state.counters.skipped_updates) == 0


@pytest.mark.parametrize("algorithm", algorithms.CONFIG_CLASSES)
def test_every_algorithm_is_vmapped_over_parameters_of_its_environment(algorithm):
    env, params = gymnax.make("CartPole-v1")
    small = dict(total_timesteps=4, num_envs=2, num_steps=2, hidden_sizes=(2,))
    small |= {"trpo": {"batch_size": 4}, "ppo": {"num_minibatches": 1}}.get(algorithm, {})

    def train(length):
        config = algorithms.config_class(algorithm)(env=(env, params.replace(length=length)), **small)
        return training.make_train_program(algorithms.make_algorithm(config))(jax.random.key(0)).metrics["episodes"]

    assert jax.eval_shape(jax.vmap(train), jnp.ones(3)).shape == (3, 1)
