"""Shapes, initial values, and what belongs to whom."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.environments import BoxActions, DiscreteActions
from purejaxrl_gae.kernels import Categorical, DiagonalGaussian
from purejaxrl_gae.program.actor_critic import make_actor_critic
from purejaxrl_gae.program.initialization import orthogonal
from purejaxrl_gae.settings.errors import UserError

TORQUES = BoxActions((2,), (-1.0, -1.0), (1.0, 1.0))


def make(actions=TORQUES, observation_shape=(3,), **changes):
    options = dict(shared=False, hidden_sizes=(64, 32), activation="tanh", learn_std=True, log_std_init=-0.5)
    return make_actor_critic(observation_shape, actions, **{**options, **changes})


def test_outputs_keep_any_batch_shape():
    network = make()
    params = network.init(jax.random.key(0))
    for batch in ((), (5,), (4, 5)):
        distribution = network.policy(params, jnp.zeros((*batch, 3)))
        assert isinstance(distribution, DiagonalGaussian)
        assert distribution.mean.shape == distribution.log_std.shape == (*batch, 2)
        assert network.value(params, jnp.zeros((*batch, 3))).shape == batch


def test_grids_and_single_numbers_are_flattened():
    grid = make(DiscreteActions(3), (10, 10, 4))
    distribution = grid.policy(grid.init(jax.random.key(0)), jnp.zeros((5, 10, 10, 4)))
    assert isinstance(distribution, Categorical)
    assert distribution.logits.shape == (5, 3)
    single = make(DiscreteActions(3), ())
    assert single.policy(single.init(jax.random.key(0)), jnp.zeros(5)).logits.shape == (5, 3)


@pytest.mark.parametrize("shared", [False, True])
def test_weights_start_orthogonal_with_their_gains(shared):
    params = make(shared=shared).init(jax.random.key(0))
    gains = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if path[-1].key == "bias":
            np.testing.assert_array_equal(leaf, 0.0)
        if path[-1].key == "kernel":
            narrow = leaf if leaf.shape[0] >= leaf.shape[1] else leaf.T
            gram = np.asarray(narrow.T @ narrow, np.float64)
            gains.append(np.sqrt(gram[0, 0]))
            np.testing.assert_allclose(gram, gram[0, 0] * np.eye(len(gram)), atol=1e-5)
    assert sorted(set(np.round(gains, 4))) == [0.01, 1.0, 1.4142]


def test_uniform_starts_fill_their_bounds_in_weights_and_biases():
    params = make(initialization="uniform", hidden_sizes=(256, 256)).init(jax.random.key(0))
    for network, inputs in (("policy", 3), ("value", 3)):
        layers = params[network].get("mlp", params[network])
        for layer, size in (("Dense_0", inputs), ("Dense_1", 256), ("Dense_2", 256)):
            for name in ("kernel", "bias"):
                assert np.abs(layers[layer][name]).max() <= 1.0 / np.sqrt(size)
        kernel = np.asarray(layers["Dense_1"]["kernel"]) * 16.0
        assert abs(kernel.mean()) < 0.02 and abs(kernel.std() - 1.0 / np.sqrt(3.0)) < 0.02
        assert np.asarray(layers["Dense_1"]["bias"]).std() > 0.0
    np.testing.assert_array_equal(params["policy"]["log_std_offset"], 0.0)


@pytest.mark.parametrize("shared", [False, True])
def test_action_values_are_one_for_each_action_and_average_to_the_value(shared):
    network = make(DiscreteActions(3), action_values=True, shared=shared)
    params = network.init(jax.random.key(0))
    observations = jax.random.normal(jax.random.key(1), (5, 4, 3))
    policy = network.policy(params, observations)
    total = jnp.zeros((5, 4))
    predictions = [network.prediction(params, observations, jnp.full((5, 4), action)) for action in range(3)]
    for action, q in enumerate(predictions):
        total += jnp.exp(policy.log_prob(jnp.full((5, 4), action))) * q
    np.testing.assert_allclose(network.value(params, observations), total, rtol=1e-4, atol=1e-5)
    assert not np.allclose(predictions[0], predictions[1])


def test_action_values_of_real_actions_are_refused():
    with pytest.raises(UserError, match="action values need discrete actions"):
        make(action_values=True)


def test_different_keys_and_layers_start_differently():
    network = make(hidden_sizes=(16, 16))
    first, second = (network.init(jax.random.key(seed)) for seed in (0, 1))
    kernel = first["policy"]["mlp"]["Dense_1"]["kernel"]
    assert not np.allclose(kernel, second["policy"]["mlp"]["Dense_1"]["kernel"])
    assert not np.allclose(kernel, first["value"]["Dense_1"]["kernel"])


def test_square_starts_are_uniform_over_orthogonal_matrices():
    """Entries of a uniform 16 x 16 orthogonal matrix: mean 0, variance 1/16, no sign fixed."""
    noise = jax.random.normal(jax.random.key(0), (2000, 16, 16))
    matrices = np.asarray(jax.vmap(lambda one: orthogonal(one, 1.0))(noise))
    np.testing.assert_allclose(matrices.mean(0), 0.0, atol=0.03)
    np.testing.assert_allclose(matrices.var(0), 1 / 16, rtol=0.2)
    gram = np.einsum("bij,bik->bjk", matrices, matrices)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(16), gram.shape), atol=2e-5)


def test_starts_need_no_lapack_call():
    """Batched LAPACK calls can block each other for ever; see `initialization.orthogonal`."""
    init = jax.jit(jax.vmap(make().init))
    assert "lapack" not in init.lower(jax.random.split(jax.random.key(0), 2)).as_text().lower()


def test_the_deviation_is_learned_or_fixed():
    observations = jnp.ones((1, 3))
    learned = make(learn_std=True)
    params = learned.init(jax.random.key(0))
    np.testing.assert_allclose(learned.policy(params, observations).log_std, -0.5)
    gradient = jax.grad(lambda p: learned.policy(p, observations).log_std.sum())(params)
    np.testing.assert_allclose(gradient["policy"]["log_std_offset"], 1.0)
    fixed = make(learn_std=False)
    params = fixed.init(jax.random.key(0))
    assert "log_std_offset" not in params["policy"]
    np.testing.assert_allclose(fixed.policy(params, observations).log_std, -0.5)


@pytest.mark.parametrize("shared", [False, True])
def test_only_a_shared_encoder_couples_policy_and_value(shared):
    network = make(shared=shared)
    params = network.init(jax.random.key(0))
    assert ("encoder" in params) == shared
    gradient = jax.grad(lambda p: network.value(p, jnp.ones((4, 3))).sum())(params)
    assert all(np.all(leaf == 0.0) for leaf in jax.tree.leaves(gradient["policy"]))
    if shared:
        assert any(np.any(leaf != 0.0) for leaf in jax.tree.leaves(gradient["encoder"]))
