"""Off-policy methods learn several times from the same data, and weight it by what the other policy would have done."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import OffPolicyConfig, kernels, make_train, off_policy
from purejaxrl_gae.environments import probes
from purejaxrl_gae.program import training
from purejaxrl_gae.settings.errors import UserError
from tests.rollouts import first_rollout

PROBE = dict(
    num_envs=16, num_steps=8, hidden_sizes=(16, 16), gamma=0.9, normalize_rewards=False, max_grad_norm=10.0,
    total_timesteps=128 * 200, learning_rate=5e-3,
)  # fmt: skip
OBSERVATIONS = jnp.array([[1.0], [-1.0]])


def train_probe(probe, **changes):
    algorithm = off_policy.make_algorithm(OffPolicyConfig(env=probe, **{**PROBE, **changes}))
    result = jax.jit(training.make_train_program(algorithm))(jax.random.key(0))
    assert int(result.state.counters.skipped_updates) == 0
    return algorithm.setup.network, result.state.learner.params, result


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_ratios": False},
        {"method": "policy_gradient"},
        {"method": "policy_gradient", "clip_ratios": False},
        {"num_minibatches": 4},
        {"critic": "trust_region", "value_trust_region": 0.1},
        {"network": "shared"},
    ],
    ids=str,
)
def test_the_probe_of_everything_is_learned(changes):
    network, params, result = train_probe(probes.both(), **changes)
    assert np.all(network.policy(params, OBSERVATIONS).log_prob(jnp.array([1, 0])) > np.log(0.85))
    sizes = np.asarray(result.metrics["effective_sample_size"])
    assert np.all((sizes > 0.0) & (sizes <= 1.0 + 1e-6))
    assert np.all(np.asarray(result.metrics["largest_ratio"]) >= 1.0)


def test_the_probe_of_everything_is_learned_with_real_actions():
    network, params, _ = train_probe(probes.both(continuous=True), total_timesteps=128 * 500)
    np.testing.assert_allclose(network.policy(params, OBSERVATIONS).mode(), [[0.5], [-0.5]], atol=0.2)


def test_values_reach_one_step_back():
    network, params, _ = train_probe(probes.discount())
    np.testing.assert_allclose(network.value(params, jnp.array([[0.0], [1.0]])), [0.9, 1.0], atol=0.1)


def other_policy(method, clip_ratios):
    """Targets for a policy other than the one that acted, with the ratios `[T, N]` between the two."""
    config = OffPolicyConfig(
        env="CartPole-v1", num_envs=3, num_steps=40, method=method, clip_ratios=clip_ratios, norm_adv=False
    )
    algorithm = off_policy.make_algorithm(config)
    state, trajectory = first_rollout(algorithm)
    params = jax.tree.map(lambda leaf: leaf + 0.05, state.learner.params)
    estimate = jax.jit(partial(off_policy.estimate_targets, algorithm.setup))
    targets = estimate(algorithm.hyperparameters, params, trajectory)
    policy = algorithm.setup.network.policy(params, trajectory.observations)
    return trajectory, targets, np.asarray(policy.log_prob(trajectory.actions) - trajectory.log_probs)


@pytest.mark.parametrize("clip_ratios", [True, False])
def test_actor_critic_weights_each_step_by_its_own_ratio(clip_ratios):
    _, targets, log_ratios = other_policy("actor_critic", clip_ratios)
    ratios = np.exp(log_ratios)
    assert ratios.max() > 1.001
    np.testing.assert_allclose(targets.ratios, np.minimum(ratios, 1.0) if clip_ratios else ratios, rtol=1e-4)


@pytest.mark.parametrize("clip_ratios", [True, False])
def test_policy_gradient_weights_each_step_by_its_trajectorys_ratio(clip_ratios):
    trajectory, targets, log_ratios = other_policy("policy_gradient", clip_ratios)
    sums = kernels.trajectory_log_ratios(jnp.asarray(log_ratios), trajectory.terminated, trajectory.truncated)
    ratios = np.exp(sums)
    assert ratios.max() > 1.001
    np.testing.assert_allclose(targets.ratios, np.minimum(ratios, 1.0) if clip_ratios else ratios, rtol=1e-4)


def test_at_the_first_look_both_policies_are_one():
    """K = 1 and one minibatch: ratios are 1 and the advantages GAE's."""
    _, _, result = train_probe(probes.both(), update_epochs=1, total_timesteps=128 * 3)
    np.testing.assert_allclose(result.metrics["largest_ratio"], 1.0, atol=1e-5)
    np.testing.assert_allclose(result.metrics["effective_sample_size"], 1.0, atol=1e-5)


def test_ratios_grow_with_every_look():
    once, often = (
        train_probe(probes.both(), update_epochs=epochs, total_timesteps=128 * 3)[2].metrics["effective_sample_size"]
        for epochs in (1, 16)
    )
    assert np.all(np.asarray(often) < np.asarray(once))


def test_unbounded_ratios_are_noted():
    assert "unbounded" in OffPolicyConfig(clip_ratios=False).notes()[0]
    assert OffPolicyConfig().notes() == []


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(num_minibatches=3), "num_minibatches is 3, which does not divide num_envs = 16"),
        (dict(rho_clip=0.0), "rho_clip is 0.0; it must be greater than 0"),
        (
            dict(critic="trust_region", network="shared"),
            "network is shared; critic = trust_region needs",
        ),
        (dict(method="acer"), "method is 'acer'; it must be one of 'actor_critic', 'policy_gradient'"),
    ],
)
def test_wrong_values_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError) as error:
        make_train(dataclasses.replace(OffPolicyConfig(env="CartPole-v1"), **changes))
    assert message in str(error.value) and "\n" not in str(error.value)
