"""REINFORCE learns with each of its six weights, and each is the paper's."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import ReinforceConfig, kernels, make_train, reinforce
from purejaxrl_gae.environments import make_environment, probes
from purejaxrl_gae.program import training
from purejaxrl_gae.settings.errors import UserError
from tests.rollouts import first_rollout

ADVANTAGES = ["total_reward", "reward_to_go", "baseline", "q", "advantage", "td_residual"]
PROBE = dict(
    num_envs=16, num_steps=8, hidden_sizes=(16, 16), gamma=0.9, normalize_rewards=False, max_grad_norm=10.0,
    total_timesteps=128 * 300, learning_rate=1e-2, value_learning_rate=1e-2,
)  # fmt: skip
OBSERVATIONS = jnp.array([[1.0], [-1.0]])


def train_probe(probe, **changes):
    algorithm = reinforce.make_algorithm(ReinforceConfig(env=probe, **{**PROBE, **changes}))
    result = jax.jit(training.make_train_program(algorithm))(jax.random.key(0))
    assert int(result.state.counters.skipped_updates) == 0
    return algorithm.setup.network, result.state.learner.params


@pytest.mark.parametrize("advantage", ADVANTAGES)
def test_the_probe_of_everything_is_learned_with_every_weight(advantage):
    network, params = train_probe(probes.both(), advantage=advantage)
    assert np.all(network.policy(params, OBSERVATIONS).log_prob(jnp.array([1, 0])) > np.log(0.85))


def test_the_probe_of_everything_is_learned_with_real_actions():
    network, params = train_probe(probes.both(continuous=True), total_timesteps=128 * 800)
    np.testing.assert_allclose(network.policy(params, OBSERVATIONS).mode(), [[0.5], [-0.5]], atol=0.2)


def test_values_reach_one_step_back():
    network, params = train_probe(probes.discount())
    np.testing.assert_allclose(network.value(params, jnp.array([[0.0], [1.0]])), [0.9, 1.0], atol=0.1)


def one_rollout(**changes):
    config = ReinforceConfig(env="CartPole-v1", num_envs=3, num_steps=40, norm_adv=False, **changes)
    algorithm = reinforce.make_algorithm(config)
    state, trajectory = first_rollout(algorithm)
    estimate = jax.jit(partial(reinforce.estimate_weights, algorithm.setup))
    psi, _, fitted = estimate(algorithm.hyperparameters, state.learner.params, trajectory)
    return trajectory, np.asarray(psi), np.asarray(fitted)


@pytest.mark.parametrize("advantage", ADVANTAGES)
def test_weights_are_the_formulas_written_out(advantage):
    trajectory, psi, fitted = one_rollout(advantage=advantage)
    rewards, values, next_values, terminated, truncated = map(np.asarray, trajectory.transitions.values())
    expected = np.zeros_like(psi)
    for env in range(3):
        start = 0
        for t in range(40):
            if terminated[t, env] or truncated[t, env] or t == 39:
                beyond = 0.0 if terminated[t, env] else next_values[t, env]
                for s in reversed(range(start, t + 1)):
                    beyond = rewards[s, env] + 0.99 * beyond
                    expected[s, env] = beyond
                if advantage == "total_reward":
                    expected[start : t + 1, env] = expected[start, env]
                start = t + 1
    if advantage == "baseline":
        expected -= values
    elif advantage == "q":
        expected = fitted
    elif advantage == "td_residual":
        expected = rewards + 0.99 * np.where(terminated, 0.0, next_values) - values
    elif advantage == "advantage":
        expected = kernels.gae(**trajectory.transitions, gamma=0.99, gae_lambda=0.95)[0]
    np.testing.assert_allclose(psi, expected, rtol=1e-4, atol=1e-4)


def whole_episodes(**changes):
    """A state, and the trajectory of episodes of two steps in rollouts of six."""
    two_steps = dataclasses.replace(make_environment(probes.discount()), max_episode_steps=2)
    config = ReinforceConfig(
        env=two_steps, num_envs=4, num_steps=6, episodes="whole", normalize_rewards=False, **changes
    )
    algorithm = reinforce.make_algorithm(config)
    state, trajectory = first_rollout(algorithm)
    return algorithm, state, trajectory


def test_whole_episodes_are_learned_from_to_their_first_end_only():
    algorithm, state, trajectory = whole_episodes(ent_coef=0.1, learning_rate=0.1, value_learning_rate=0.1)

    @jax.jit
    def learn_from(trajectory):
        keys = jax.random.split(jax.random.key(1), 5)
        learner, metrics = algorithm.learn(algorithm.hyperparameters, state.learner, trajectory, keys, jnp.float32(0))
        return learner.params, metrics

    beyond = jnp.arange(6)[:, None] >= 2
    other = trajectory._replace(
        observations=jnp.where(beyond[..., None], 7.0, trajectory.observations),
        rewards=jnp.where(beyond, -5.0, trajectory.rewards),
        values=jnp.where(beyond, 3.0, trajectory.values),
        next_values=jnp.where(beyond, 3.0, trajectory.next_values),
    )
    params, metrics = learn_from(trajectory)
    assert not np.allclose(params["value"]["Dense_2"]["bias"], state.learner.params["value"]["Dense_2"]["bias"])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), (params, metrics), learn_from(other))


def test_whole_episodes_start_anew_every_update():
    config = ReinforceConfig(env="CartPole-v1", total_timesteps=2000, num_envs=2, num_steps=500, episodes="whole",
                             advantage="total_reward")  # fmt: skip
    result = jax.jit(make_train(config))(jax.random.key(0))
    assert np.all(np.isfinite(result.metrics["policy_loss"]))
    assert int(result.metrics["env_steps"][-1]) == 2000


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(network="shared"), "network is shared; reinforce fits the value function apart"),
        (dict(episodes="whole"), "num_steps is 128, but an episode of CartPole-v1 takes up to 500 steps"),
        (dict(advantage="q", env="Pendulum-v1"), "action values need discrete actions"),
        (dict(advantage="gea"), "advantage is 'gea'; it must be one of 'total_reward', 'reward_to_go'"),
        (dict(n_critic_updates=0), "n_critic_updates is 0; it must be between 1 and"),
    ],
)
def test_wrong_values_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError) as error:
        make_train(dataclasses.replace(ReinforceConfig(env="CartPole-v1"), **changes))
    assert message in str(error.value) and "\n" not in str(error.value)
