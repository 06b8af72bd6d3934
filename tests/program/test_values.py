"""Values as users get them: in the environment's rewards, whatever they were learned from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import PPOConfig, kernels, make_value_function
from purejaxrl_gae.program import algorithms

CONFIG = PPOConfig(env="CartPole-v1", hidden_sizes=(8, 8), normalize_observations=True)


def learner_of(config, returns=None, observations=None):
    """One that has learned nothing, with these moments."""
    algorithm = algorithms.make_algorithm(config)
    learner = algorithm.init_learner(jax.random.key(0), algorithm.hyperparameters)
    moments = {"returns": returns, "observations": observations}
    seen = {name: each for name, each in moments.items() if each is not None}
    return learner.replace(normalizers=learner.normalizers.replace(**seen))


def test_values_times_the_deviation_of_the_return_are_in_rewards():
    returns = kernels.init_moments().replace(variance=jnp.float32(16.0))
    observations = kernels.init_moments((4,)).replace(mean=jnp.full(4, 0.5))
    raw = jnp.arange(12.0).reshape(3, 4)
    values = jax.jit(make_value_function(CONFIG))(learner_of(CONFIG, returns, observations), raw)
    np.testing.assert_allclose(values.in_rewards, 4.0 * values.as_learned, rtol=1e-6)
    setup = algorithms.make_algorithm(CONFIG).setup
    expected = setup.network.value(learner_of(CONFIG).params, jnp.clip(raw - 0.5, -10.0, 10.0))
    np.testing.assert_allclose(values.as_learned, expected, rtol=1e-5)


def test_values_learned_from_plain_rewards_are_in_rewards_already():
    plain = dataclasses.replace(CONFIG, normalize_rewards=False)
    values = make_value_function(plain)(learner_of(plain), jnp.ones((2, 4)))
    np.testing.assert_array_equal(values.in_rewards, values.as_learned)


@pytest.mark.parametrize("variance", [1e-6, 1.0, 1e6])
def test_unscaling_undoes_the_scaling_of_rewards(variance):
    moments = kernels.init_moments().replace(variance=jnp.float32(variance))
    rewards = jnp.sqrt(variance) * jnp.array([-9.0, 0.0, 2.5])
    np.testing.assert_allclose(
        kernels.unscale_values(kernels.scale_rewards(rewards, moments), moments), rewards, rtol=1e-5
    )
