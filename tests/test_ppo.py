"""PPO learns what it should, stops when it should, and every objective is the paper's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import PPOConfig, make_train, ppo
from purejaxrl_gae.environments import make_environment, probes
from purejaxrl_gae.program import rollout, training
from purejaxrl_gae.runs import playing
from purejaxrl_gae.settings.errors import UserError

PROBE_SETTINGS = dict(
    num_envs=16,
    num_steps=8,
    total_timesteps=128 * 150,
    hidden_sizes=(16, 16),
    learning_rate=1e-2,
    anneal_lr=True,
    gamma=0.9,
    num_minibatches=4,
    update_epochs=4,
    normalize_observations=False,
    normalize_rewards=False,
    max_grad_norm=10.0,
)


def train_probe(probe, **changes):
    config = PPOConfig(env=probe, **{**PROBE_SETTINGS, **changes})
    algorithm = ppo.make_algorithm(config)
    result = jax.jit(training.make_train_program(algorithm))(jax.random.key(0))
    return algorithm.setup.network, result.state.learner.params, result


@pytest.mark.parametrize("continuous", [False, True])
def test_probe_constant_is_valued_one(continuous):
    network, params, _ = train_probe(probes.constant(continuous=continuous))
    np.testing.assert_allclose(network.value(params, jnp.ones((1, 1))), 1.0, atol=0.05)


@pytest.mark.parametrize("continuous", [False, True])
def test_probe_observation_is_valued_by_its_sign(continuous):
    network, params, _ = train_probe(probes.observation(continuous=continuous))
    np.testing.assert_allclose(network.value(params, jnp.array([[1.0], [-1.0]])), [1.0, -1.0], atol=0.1)


@pytest.mark.parametrize("continuous", [False, True])
def test_probe_discount_is_valued_one_step_back(continuous):
    network, params, _ = train_probe(probes.discount(continuous=continuous))
    np.testing.assert_allclose(network.value(params, jnp.array([[0.0], [1.0]])), [0.9, 1.0], atol=0.1)


def test_probe_action_finds_the_rewarded_action():
    network, params, _ = train_probe(probes.action())
    assert network.policy(params, jnp.ones((1, 1))).log_prob(jnp.array([1])) > np.log(0.9)
    network, params, _ = train_probe(probes.action(continuous=True), learning_rate=3e-3)  # 1e-2 loses a seed in eight
    np.testing.assert_allclose(network.policy(params, jnp.ones((1, 1))).mode(), 0.5, atol=0.15)


def test_probe_both_finds_the_action_for_each_observation():
    observations = jnp.array([[1.0], [-1.0]])
    network, params, _ = train_probe(probes.both())
    assert np.all(network.policy(params, observations).log_prob(jnp.array([1, 0])) > np.log(0.9))
    network, params, _ = train_probe(probes.both(continuous=True), learning_rate=3e-3)  # 1e-2 loses a seed in eight
    np.testing.assert_allclose(network.policy(params, observations).mode(), [[0.5], [-0.5]], atol=0.2)


@pytest.mark.parametrize("action_bounds", ["scale", "tanh"])
def test_probe_action_is_found_within_bounds(action_bounds):
    settings = dict(action_bounds=action_bounds, learn_std=False, log_std_init=-1.0)
    network, params, _ = train_probe(probes.action(continuous=True), **settings)
    environment = make_environment(probes.action(continuous=True))
    mode = network.policy(params, jnp.ones((1, 1))).mode()
    np.testing.assert_allclose(rollout.clip_to_bounds(environment, mode, action_bounds), 0.5, atol=0.15)


@pytest.mark.parametrize("time_limit, is_right", [("bootstrap", True), ("terminal", False)])
def test_an_endless_environment_behind_a_time_limit_is_worth_its_endless_value(time_limit, is_right):
    endless_value = 1.0 / (1.0 - 0.98)
    network, params, _ = train_probe(
        probes.endless(),
        gamma=0.98,
        gae_lambda=0.95,
        num_steps=16,
        total_timesteps=256 * 300,
        learning_rate=1e-2,
        max_grad_norm=1e3,
        vf_coef=1.0,
        time_limit=time_limit,
    )
    value = float(network.value(params, jnp.ones((1, 1)))[0])
    assert (abs(value - endless_value) < 1.0) == is_right, value


def test_cartpole_is_learned():
    config = PPOConfig(env="CartPole-v1", total_timesteps=40_000)
    algorithm = ppo.make_algorithm(config)
    result = jax.jit(training.make_train_program(algorithm))(jax.random.key(0))
    play = jax.jit(playing.make_player(algorithm.setup, 100))
    returns = play(result.state.learner, jax.random.key(1), True).returns
    assert returns.mean() > 300.0


@pytest.mark.parametrize("objective", ["none", "kl_fixed", "kl_adaptive"])
def test_every_objective_learns_the_probe_of_everything(objective):
    network, params, result = train_probe(probes.both(), objective=objective, kl_coef=0.3)
    assert np.all(network.policy(params, jnp.array([[1.0], [-1.0]])).log_prob(jnp.array([1, 0])) > np.log(0.8))
    assert np.all(np.isfinite(result.metrics["policy_loss"]))


def test_adaptive_kl_moves_its_coefficient_by_factors_of_two():
    *_, result = train_probe(probes.both(), objective="kl_adaptive", kl_coef=1.0, desired_kl=0.01)
    used, kl = np.asarray(result.metrics["kl_coef"]), np.asarray(result.metrics["kl"])
    expected = np.where(kl > 0.015, 2.0, np.where(kl < 0.01 / 1.5, 0.5, 1.0))[:-1]
    off_the_floor = used[:-1] > 1e-5
    np.testing.assert_allclose((used[1:] / used[:-1])[off_the_floor], expected[off_the_floor])
    assert len(set(expected[off_the_floor])) > 1


def test_target_kl_stops_epochs_early_and_only_then():
    config = PPOConfig(env=probes.both(), **{**PROBE_SETTINGS, "total_timesteps": 128 * 3}, target_kl=100.0)
    train = jax.jit(make_train(config))
    loose, tight = (train(jax.random.key(0), {"target_kl": target}) for target in (100.0, 1e-5))
    assert np.all(loose.metrics["epochs"] == 4.0)
    assert np.all(tight.metrics["epochs"] < 4.0)
    _, without, _ = train_probe(probes.both(), total_timesteps=128 * 3)  # a program that rounds differently
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), loose.state.learner.params, without)


def test_learning_rate_is_annealed_to_zero():
    *_, result = train_probe(probes.constant(), total_timesteps=128 * 4)
    np.testing.assert_allclose(result.metrics["learning_rate"], 1e-2 * np.array([1.0, 0.75, 0.5, 0.25]), rtol=1e-6)
    *_, result = train_probe(probes.constant(), total_timesteps=128 * 4, anneal_lr=False)
    np.testing.assert_allclose(result.metrics["learning_rate"], np.full(4, 1e-2), rtol=1e-6)


def test_gradient_chunks_change_only_rounding():
    _, whole, _ = train_probe(probes.both(), total_timesteps=128 * 3)
    _, chunked, _ = train_probe(probes.both(), total_timesteps=128 * 3, gradient_chunk=8)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), chunked, whole)


def test_recomputed_advantages_are_the_rollouts_while_the_value_function_stands_still():
    still = dict(learning_rate=0.0, num_steps=12, total_timesteps=192 * 2, update_epochs=2, normalize_observations=True)
    *_, once = train_probe(probes.endless(), **still)  # its time limit is 8 steps
    *_, anew = train_probe(probes.endless(), recompute_advantages=True, **still)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), anew.metrics, once.metrics)


def test_shared_network_td_targets_and_trajectory_minibatches_learn_too():
    network, params, _ = train_probe(
        probes.both(),
        network="shared",
        activation="elu",
        value_target="td",
        minibatch_sampling="trajectories",
        total_timesteps=128 * 300,
        anneal_clip=True,
        clip_vloss=True,
    )
    assert np.all(network.policy(params, jnp.array([[1.0], [-1.0]])).log_prob(jnp.array([1, 0])) > np.log(0.8))


def test_a_critic_in_its_own_trust_region_learns_too():
    network, params, result = train_probe(probes.both(), critic="trust_region", value_trust_region=0.1)
    observations = jnp.array([[1.0], [-1.0]])
    assert np.all(network.policy(params, observations).log_prob(jnp.array([1, 0])) > np.log(0.8))
    np.testing.assert_allclose(network.value(params, observations), 1.0, atol=0.3)
    assert np.all(np.asarray(result.metrics["value_distance"]) <= 0.1)


def test_normalised_observations_and_rewards_learn_too():
    network, params, result = train_probe(probes.both(), normalize_observations=True, normalize_rewards=True)
    moments = result.state.learner.normalizers.observations
    np.testing.assert_allclose(moments.mean, 0.0, atol=0.05)
    np.testing.assert_allclose(moments.variance, 1.0, atol=0.05)
    assert np.all(network.policy(params, jnp.array([[1.0], [-1.0]])).log_prob(jnp.array([1, 0])) > np.log(0.9))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(num_minibatches=7), "num_minibatches is 7, which does not divide num_envs * num_steps = 4 * 512 = 2048"),
        (dict(gamma=1.5), "gamma is 1.5; it must be between 0 and 1"),
        (dict(learning_rate=float("nan")), "learning_rate is nan"),
        (dict(learning_rate="3e-x"), "learning_rate is '3e-x'; it must be a number"),
        (dict(num_envs=0), "num_envs is 0; it must be between 1"),
        (dict(num_envs=2.5), "num_envs is 2.5; it must be a whole number"),
        (dict(hidden_sizes=()), "hidden_sizes is ()"),
        (dict(objective="clipp"), "objective is 'clipp'; it must be one of 'clip', 'none', 'kl_fixed', 'kl_adaptive'"),
        (dict(target_kl=0.0), "target_kl is 0.0"),
        (dict(env="Pendulum"), "did you mean 'Pendulum-v1'?"),
        (dict(minibatch_sampling="trajectories", num_minibatches=32), "does not divide num_envs = 4"),
        (
            dict(critic="trust_region", network="shared"),
            "network is shared; critic = trust_region needs",
        ),
        (dict(num_envs=4, num_steps=8), "num_minibatches is 32, so that each is a single sample"),
        (dict(num_envs=2**20, num_steps=2**10), "one update may hold at most"),
    ],
)
def test_wrong_values_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError) as error:
        make_train(PPOConfig(**changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_defaults_take_many_gradient_steps_also_in_a_short_run():
    config = PPOConfig(total_timesteps=100_000)
    assert config.num_updates * config.update_epochs * config.num_minibatches >= 10_000


def test_a_clipping_range_that_never_clips_is_noted():
    assert "clip_coef is 100" in PPOConfig(clip_coef=100.0).notes()[0]
    assert PPOConfig().notes() == []


def test_float32_throughout_with_x64_on():
    with jax.enable_x64(True):
        config = PPOConfig(env="CartPole-v1", total_timesteps=64, num_envs=2, num_steps=16, num_minibatches=2)
        result = jax.jit(make_train(config))(jax.random.key(0))
        dtypes = {leaf.dtype for leaf in jax.tree.leaves(result.state.learner)}
    assert dtypes <= {np.dtype("float32"), np.dtype("int32")}
    assert np.all(np.isfinite(result.metrics["policy_loss"]))
