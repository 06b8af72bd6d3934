"""A2C learns the probes in each of its forms, and its estimates are the lecture's."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import A2CConfig, a2c, make_train
from purejaxrl_gae.environments import probes
from purejaxrl_gae.program import training
from purejaxrl_gae.settings.errors import UserError
from tests.rollouts import first_rollout

PROBE = dict(
    num_envs=16, num_steps=8, hidden_sizes=(16, 16), gamma=0.9, normalize_rewards=False, max_grad_norm=10.0,
    total_timesteps=128 * 400, learning_rate=5e-3, optimizer="adam",
)  # fmt: skip
OBSERVATIONS = jnp.array([[1.0], [-1.0]])


def train_probe(probe, **changes):
    algorithm = a2c.make_algorithm(A2CConfig(env=probe, **{**PROBE, **changes}))
    result = jax.jit(training.make_train_program(algorithm))(jax.random.key(0))
    assert int(result.state.counters.skipped_updates) == 0
    return algorithm.setup.network, result.state.learner.params, result


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"advantage": "td"},
        {"advantage": "n_step", "n_steps": 3},
        {"advantage": "n_step"},
        {"optimizer": "rmsprop"},
        {"network": "shared"},
        {"critic": "trust_region", "value_trust_region": 0.1},
        {"critic_form": "action_value"},
        {"critic_form": "action_value", "advantage": "q"},
        {"critic_form": "action_value", "critic": "trust_region", "value_trust_region": 0.1},
        {"norm_adv": True, "anneal_lr": True, "ent_coef": 0.001},
        {"num_envs": 1, "num_steps": 128},
    ],
    ids=str,
)
def test_the_probe_of_everything_is_learned(changes):
    network, params, _ = train_probe(probes.both(), **changes)
    assert np.all(network.policy(params, OBSERVATIONS).log_prob(jnp.array([1, 0])) > np.log(0.85))
    np.testing.assert_allclose(network.value(params, OBSERVATIONS), [1.0, 1.0], atol=0.3)


def test_the_probe_of_everything_is_learned_with_real_actions():
    network, params, _ = train_probe(probes.both(continuous=True), total_timesteps=128 * 800)
    np.testing.assert_allclose(network.policy(params, OBSERVATIONS).mode(), [[0.5], [-0.5]], atol=0.2)


@pytest.mark.parametrize("critic_form", ["state_value", "action_value"])
def test_values_reach_one_step_back(critic_form):
    network, params, _ = train_probe(probes.discount(), critic_form=critic_form)
    np.testing.assert_allclose(network.value(params, jnp.array([[0.0], [1.0]])), [0.9, 1.0], atol=0.1)


@pytest.mark.parametrize("advantage", ["td", "n_step", "gae", "q"])
def test_estimates_are_the_formulas_written_out(advantage):
    form = "action_value" if advantage == "q" else "state_value"
    config = A2CConfig(env="CartPole-v1", num_envs=3, num_steps=32, advantage=advantage, n_steps=2, critic_form=form)
    algorithm = a2c.make_algorithm(config)
    state, trajectory = first_rollout(algorithm)
    params, estimate = state.learner.params, jax.jit(partial(a2c.estimate_advantages, algorithm.setup))
    advantages, targets = estimate(algorithm.hyperparameters, params, trajectory)
    rewards, values, next_values, terminated, truncated = map(np.asarray, trajectory.transitions.values())
    deltas = rewards + 0.99 * np.where(terminated, 0.0, next_values) - values
    going_on = ~(terminated | truncated)[:-1]
    following = lambda x: np.concatenate([np.where(going_on, x[1:], 0.0), np.zeros((1, 3))])  # noqa: E731
    if advantage == "td":
        expected = deltas
    elif advantage == "n_step":
        expected = deltas + 0.99 * following(deltas)
    elif advantage == "gae":
        expected = np.zeros_like(deltas)
        for _ in range(32):
            expected = deltas + 0.99 * 0.95 * following(expected)
    else:
        network = algorithm.setup.network
        q = np.asarray(network.prediction(params, trajectory.observations, trajectory.actions))
        probs = np.exp(network.policy(params, trajectory.observations).log_prob(trajectory.actions))
        others = np.asarray(network.prediction(params, trajectory.observations, 1 - trajectory.actions))
        expected = q - (probs * q + (1.0 - probs) * others)
        np.testing.assert_allclose(targets, deltas + values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(advantages, expected, rtol=1e-3, atol=1e-4)
    if advantage != "q":
        np.testing.assert_allclose(targets, expected + values, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(advantage="q"), "advantage is q, which needs critic_form = action_value"),
        (dict(critic_form="action_value", env="Pendulum-v1"), "action values need discrete actions"),
        (
            dict(critic="trust_region", network="shared"),
            "network is shared; critic = trust_region needs",
        ),
        (dict(n_steps=-1), "n_steps is -1; it must be between 0 and"),
        (dict(optimizer="sgd"), "optimizer is 'sgd'; it must be one of 'adam', 'adamw', 'rmsprop', 'muon', or MODULE"),
    ],
)
def test_wrong_values_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError) as error:
        make_train(dataclasses.replace(A2CConfig(env="CartPole-v1"), **changes))
    assert message in str(error.value) and "\n" not in str(error.value)
