"""Two networks computed as one are the two networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.parallel.platform import traced_for
from purejaxrl_gae.program import training
from purejaxrl_gae.program.side_by_side import policy_and_value


def outputs(network, params, observations, platform):
    def of(params):
        with traced_for(platform):
            policy, values = policy_and_value(network, params, observations)
        return jnp.sum(policy.entropy() + policy.log_prob(policy.mode())) + jnp.sum(values**2), (policy, values)

    return jax.jit(jax.value_and_grad(of, has_aux=True))(params)


def products(network, params, observations, platform):
    def of(params):
        with traced_for(platform):
            return policy_and_value(network, params, observations)

    return str(jax.make_jaxpr(of)(params)).count("dot_general")


@pytest.mark.parametrize(
    "env, fields, shape, in_one",
    [
        ("CartPole-v1", {}, (5, 4), True),
        ("Pendulum-v1", dict(hidden_sizes=(8,)), (2, 3, 3), True),
        ("CartPole-v1", dict(network="shared"), (5, 4), False),
        ("CartPole-v1", dict(hidden_sizes=(257, 8)), (5, 4), False),
    ],
)
def test_outputs_and_gradients_are_those_of_each_alone(env, fields, shape, in_one):
    network = training.prepare(PPOConfig(env=env, **{"hidden_sizes": (8, 8), **fields})).network
    params = network.init(jax.random.key(0))
    observations = jax.random.normal(jax.random.key(1), shape)
    expected, found = (outputs(network, params, observations, platform) for platform in ("cpu", "cuda"))
    jax.tree.map(lambda own, other: np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6), found, expected)
    counts = [products(network, params, observations, platform) for platform in ("cpu", "cuda")]
    assert (counts[1] < counts[0]) == in_one
