"""What follows the KL moves after each update or minibatch, in a direction that the measured KL decides."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from purejaxrl_gae import A2CConfig, OffPolicyConfig, PPOConfig, ReinforceConfig, kernels, make_train
from purejaxrl_gae.environments import probes
from purejaxrl_gae.program import adaptation
from purejaxrl_gae.program.training import traced_hyperparameters
from purejaxrl_gae.program.types import Learner, Setup

TINY = dict(env=probes.both(), num_envs=2, num_steps=8, total_timesteps=48, hidden_sizes=(4,), schedule="kl_adaptive")


def followed(config, desired_kl, learner=None):
    """The learner and the metrics after an update that moved a policy of 3 actions, in 2 steps of 4 environments."""
    values = traced_hyperparameters(config).replace(desired_kl=jnp.float32(desired_kl))
    logits = jnp.array([0.3, 0.0, -0.2])
    network = SimpleNamespace(policy=lambda params, observations: kernels.Categorical(observations @ params))
    old = kernels.Categorical(jnp.zeros((2, 4, 3)))
    experience = SimpleNamespace(distribution=old, inputs=jnp.ones((2, 4, 1)))
    learner = learner or Learner(logits[None], (), adaptation.begin(config, values))
    return *adaptation.follow_kl(Setup(config, None, network), values, learner, experience), values


def test_the_rate_rises_below_the_desired_kl_and_falls_above_it_and_that_used_is_reported():
    config = PPOConfig(schedule="kl_adaptive", learning_rate=1e-3)
    for desired_kl, next_rate in ((1.0, 1.5e-3), (1e-4, 1e-3 / 1.5)):
        learner, metrics, values = followed(config, desired_kl)
        np.testing.assert_allclose(learner.extra["learning_rate"], next_rate, rtol=1e-6)
        np.testing.assert_allclose(metrics["learning_rate"], 1e-3, rtol=1e-6)
        assert adaptation.current(values, learner).learning_rate == learner.extra["learning_rate"]
    learner, metrics, _ = followed(config, 1e-4, learner)
    np.testing.assert_allclose(learner.extra["learning_rate"], 1e-3 / 1.5**2, rtol=1e-6)


def test_the_kl_is_the_exact_one_of_the_policy_that_acted_from_the_one_it_has_become():
    *_, metrics, _ = followed(PPOConfig(schedule="kl_adaptive"), 1.0)
    new = np.exp([0.3, 0.0, -0.2]) / np.exp([0.3, 0.0, -0.2]).sum()
    np.testing.assert_allclose(metrics["kl"], np.mean(np.log((1 / 3) / new)), rtol=1e-5)


def test_the_rate_of_a_minibatch_is_moved_by_its_kl_before_the_step_on_it():
    optimizer = adaptation.rate_by_minibatch(optax.sgd, jnp.float32(1e-3), jnp.float32(0.01))
    state, gradient = optimizer.init(jnp.zeros(1)), jnp.ones(1)
    for kl, rate in ((0.0, 1e-3), (1e-3, 1.5e-3), (0.01, 1.5e-3), (0.1, 1e-3)):
        change, state = optimizer.update(gradient, state, kl=jnp.float32(kl))
        np.testing.assert_allclose((-change[0], state[1]), rate, rtol=1e-6)


def test_what_an_update_has_moved_itself_is_kept_and_nothing_else_measured():
    values = traced_hyperparameters(PPOConfig(schedule="kl_adaptive"))
    learner = Learner((), (), {"learning_rate": jnp.float32(3e-3)})
    setup = Setup(PPOConfig(schedule="kl_adaptive"), None, None)
    assert adaptation.follow_kl(setup, values, learner, None, moved=("learning_rate",)) == (learner, {})


def test_nothing_is_measured_where_nothing_follows_the_kl():
    learner, metrics, _ = followed(PPOConfig(), 1.0)
    assert learner.extra == {} and metrics == {}


@pytest.mark.parametrize("kind", [A2CConfig, OffPolicyConfig, ReinforceConfig])
def test_whatever_has_a_desired_kl_keeps_its_rate_and_reports_it(kind):
    result = jax.eval_shape(make_train(kind(**TINY)), jax.random.key(0))
    assert list(result.state.learner.extra) == ["learning_rate"]
    assert {"kl", "learning_rate"} <= set(result.metrics)


def test_both_the_rate_and_the_penalty_may_follow_the_kl():
    config = PPOConfig(**TINY, num_minibatches=2, objective="kl_adaptive")
    result = jax.eval_shape(make_train(config), jax.random.key(0))
    assert set(result.state.learner.extra) == {"learning_rate", "kl_coef"}
    assert {"kl", "kl_coef", "learning_rate"} <= set(result.metrics)
