"""The cheaper Fisher-vector product is the general one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.environments import BoxActions, DiscreteActions
from purejaxrl_gae.program import policy_curvature
from purejaxrl_gae.program.actor_critic import make_actor_critic


@pytest.fixture(autouse=True)
def dense_products_for_several_outputs(monkeypatch):
    """The product is right for any number; by default it is used where it is faster."""
    monkeypatch.setattr(policy_curvature, "MOST_OUTPUTS", 5)


def network_of(actions, **changes):
    choices = dict(
        shared=False,
        hidden_sizes=(7, 5),
        activation="tanh",
        learn_std=True,
        log_std_init=-0.3,
        initialization="uniform",
    )
    return make_actor_critic((3,), actions, **{**choices, **changes})


def box(size):
    return BoxActions((size,), (-1.0,) * size, (1.0,) * size)


@pytest.mark.parametrize(
    ("hidden_sizes", "activation"), [((6,), "tanh"), ((7, 5), "relu"), ((4, 4, 4), "elu"), ((7, 5), "silu")]
)
@pytest.mark.parametrize(
    ("actions", "learn_std"), [(DiscreteActions(2), True), (DiscreteActions(5), True), (box(1), True), (box(3), False)]
)
def test_it_is_the_general_product(actions, learn_std, hidden_sizes, activation):
    network = network_of(actions, hidden_sizes=hidden_sizes, activation=activation, learn_std=learn_std)
    assert policy_curvature.uses_dense_product(network)
    params = network.init(jax.random.key(0))
    observations = jax.random.normal(jax.random.key(1), (40, 3))
    flat, unravel = ravel_pytree(params["policy"])
    vector = jax.random.normal(jax.random.key(2), flat.shape)
    cheap = policy_curvature.make_policy_fisher_product(network, params, observations, damping=0.1)(vector)

    def policy(flat, observations):
        return network.policy({**params, "policy": unravel(flat)}, observations)

    general = kernels.fisher_vector_product(policy, flat, observations, vector, damping=0.1)
    np.testing.assert_allclose(cheap, general, rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("squashed", [False, True])
def test_it_is_the_hessian_of_the_kl(squashed):
    network = network_of(box(2), squashed=squashed)
    params = network.init(jax.random.key(3))
    observations = jax.random.normal(jax.random.key(4), (20, 3))
    flat, unravel = ravel_pytree(params["policy"])
    old = network.policy(params, observations)

    def kl(flat):
        return jnp.mean(old.kl_divergence(network.policy({**params, "policy": unravel(flat)}, observations)))

    product = policy_curvature.make_policy_fisher_product(network, params, observations, damping=0.0)
    dense = jax.vmap(product)(jnp.eye(flat.size))
    np.testing.assert_allclose(dense, jax.hessian(kl)(flat), atol=2e-5)
    np.testing.assert_allclose(dense, dense.T, atol=1e-6)


def test_shared_networks_and_many_outputs_take_the_general_product():
    assert not policy_curvature.uses_dense_product(network_of(DiscreteActions(2), shared=True))
    many = network_of(DiscreteActions(policy_curvature.MOST_OUTPUTS + 1))
    assert not policy_curvature.uses_dense_product(many)
    params = many.init(jax.random.key(0))
    flat, _ = ravel_pytree(params["policy"])
    product = policy_curvature.make_policy_fisher_product(many, params, jnp.ones((4, 3)), damping=0.5)
    assert product(flat).shape == flat.shape
