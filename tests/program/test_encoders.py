"""Convolutions against flax's own, their observations, and algorithms that learn through them."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import A2CConfig, OffPolicyConfig, PPOConfig, ReinforceConfig, TRPOConfig
from purejaxrl_gae.environments import DiscreteActions
from purejaxrl_gae.parallel.platform import traced_for
from purejaxrl_gae.program import algorithms, training
from purejaxrl_gae.program.actor_critic import make_actor_critic
from purejaxrl_gae.program.encoders import convolve, make_convolutions
from purejaxrl_gae.program.policy_curvature import make_policy_fisher_product
from purejaxrl_gae.settings.errors import UserError

GRID = (10, 10, 4)


def make(encoder="minatar_cnn", observation_shape=GRID, **changes):
    options = dict(shared=False, hidden_sizes=(16,), activation="relu", learn_std=True, log_std_init=0.0)
    return make_actor_critic(observation_shape, DiscreteActions(3), **{**options, **changes}, encoder=encoder)


def kernels_of(params):
    paths, _ = jax.tree_util.tree_flatten_with_path(params)
    return {"/".join(key.key for key in path[:-1]): leaf for path, leaf in paths if path[-1].key == "kernel"}


class FlaxConvolutions(nn.Module):
    layers: tuple

    @nn.compact
    def __call__(self, images):
        for filters, size, stride in self.layers:
            images = nn.relu(nn.Conv(filters, (size, size), stride, padding="VALID")(images))
        return images.reshape(images.shape[0], -1)


@pytest.mark.parametrize(("encoder", "shape"), [("minatar_cnn", (10, 9, 4)), ("nature_cnn", (44, 37, 3))])
def test_convolutions_are_flax_convolutions(encoder, shape):
    module = make_convolutions(encoder, shape, "relu")
    reference = FlaxConvolutions(module.layers)
    images = jax.random.uniform(jax.random.key(0), (5, *shape)) / module.scale
    params = reference.init(jax.random.key(1), images)

    def both(function):
        return jax.value_and_grad(lambda params: jnp.sum(function(params) ** 2))(params)

    with jax.default_matmul_precision("highest"):
        ours, our_gradient = both(lambda params: module.apply(params, images.reshape(5, -1)))
        theirs, their_gradient = both(lambda params: reference.apply(params, images * module.scale))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for name, layer in their_gradient["params"].items():
        for part, gradient in layer.items():
            np.testing.assert_allclose(our_gradient["params"][name][part], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 64])
def test_one_product_or_one_for_each_place_is_the_same_convolution_and_slope(channels):
    images = jax.random.normal(jax.random.key(0), (3, 9, 10, channels))
    kernel = jax.random.normal(jax.random.key(1), (4, 4, channels, 8)) / math.sqrt(16 * channels)

    def value_and_slopes(platform):
        with traced_for(platform):
            return jax.jit(jax.value_and_grad(lambda *both: (convolve(*both, 2) ** 2).mean(), (0, 1)))(images, kernel)

    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), value_and_slopes("cpu"), value_and_slopes("cuda"))


def test_the_encoders_have_their_papers_layers():
    minatar = kernels_of(make().init(jax.random.key(0)))
    assert minatar["policy/mlp/convolutions/Conv_0"].shape == (3, 3, 4, 16)
    assert minatar["value/Dense_0"].shape == (8 * 8 * 16, 16)
    nature = kernels_of(make("nature_cnn", (84, 84, 4), shared=True).init(jax.random.key(0)))
    shapes = [nature[f"encoder/convolutions/Conv_{index}"].shape for index in range(3)]
    assert shapes == [(8, 8, 4, 32), (4, 4, 32, 64), (3, 3, 64, 64)]
    assert nature["encoder/Dense_0"].shape == (7 * 7 * 64, 16)
    assert nature["policy/mlp/Dense_0"].shape == (16, 3)  # linear heads
    assert len(nature) == 6


def test_stacks_of_frames_bytes_and_floats_are_the_same_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 4), np.uint8)
    last, first = make("nature_cnn", (40, 40, 4)), make("nature_cnn", (4, 40, 40))
    params = last.init(jax.random.key(0))
    expected = last.value(params, jnp.asarray(pixels))
    assert np.abs(expected).max() < 10.0  # scaled
    np.testing.assert_array_equal(expected, last.value(params, jnp.asarray(pixels, jnp.float32)))
    np.testing.assert_allclose(first.value(params, jnp.asarray(pixels.transpose(0, 3, 1, 2))), expected, rtol=1e-5)


def test_outputs_keep_any_batch_shape():
    network = make()
    params = network.init(jax.random.key(0))
    for batch in ((), (5,), (4, 5)):
        assert network.policy(params, jnp.zeros((*batch, *GRID))).logits.shape == (*batch, 3)
        assert network.value(params, jnp.zeros((*batch, *GRID))).shape == batch


@pytest.mark.parametrize("shared", [False, True])
def test_starts_are_orthogonal_or_uniform_over_all_inputs_of_a_window(shared):
    for name, kernel in kernels_of(make(shared=shared).init(jax.random.key(0))).items():
        matrix = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
        narrow = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
        gram = narrow.T @ narrow
        np.testing.assert_allclose(gram, gram[0, 0] * np.eye(len(gram)), atol=1e-4)
        if "Conv" in name:
            assert gram[0, 0] == pytest.approx(2.0, abs=1e-3)
    for kernel in kernels_of(make(shared=shared, initialization="uniform").init(jax.random.key(0))).values():
        bound = 1.0 / math.sqrt(math.prod(kernel.shape[:-1]))
        assert 0.7 * bound < np.abs(kernel).max() <= bound


@pytest.mark.parametrize(
    ("encoder", "shape", "message"),
    [
        ("minatar_cnn", (4,), r"minatar_cnn, which needs observations \[H, W, C\]; this environment's are \[4\]"),
        ("nature_cnn", (84, 84), r"nature_cnn, which needs observations \[H, W, C\] or \[C, H, W\]; .* \[84, 84\]"),
        ("minatar_cnn", (2, 10, 4), "at least 3 x 3; this environment's are 2 x 10"),
        ("nature_cnn", (35, 84, 4), "at least 36 x 36; this environment's are 35 x 84"),
        ("nature_cnn", (4, 84, 35), "at least 36 x 36; this environment's are 84 x 35"),
    ],
)
def test_observations_that_do_not_suit_are_refused(encoder, shape, message):
    with pytest.raises(UserError, match=message) as caught:
        make(encoder, shape)
    assert "\n" not in str(caught.value)
    if "at least" in message:  # and the smallest that suit are not
        smallest = tuple(max(size, 36) if size not in (4,) else size for size in shape)
        make(encoder, smallest)


def test_pixels_are_not_normalised_too():
    with pytest.raises(UserError, match="normalize_observations is true; with encoder = nature_cnn"):
        PPOConfig(encoder="nature_cnn", normalize_observations=True).validate()


def test_fisher_products_go_through_convolutions():
    """Against the gradient of the divergence's gradient along the vector, at the old policy."""
    network = make(hidden_sizes=(8,), activation="tanh")
    params = network.init(jax.random.key(0))
    observations = jax.random.bernoulli(jax.random.key(1), 0.3, (20, *GRID)).astype(jnp.float32)
    flat, unravel = ravel_pytree(params["policy"])
    vector = jax.random.normal(jax.random.key(2), flat.shape)
    old = network.policy(params, observations)

    def divergence(flat):
        new = network.policy({**params, "policy": unravel(flat)}, observations)
        return jnp.mean(old.kl_divergence(new))

    expected = jax.jvp(jax.grad(divergence), (flat,), (vector,))[1] + 0.1 * vector
    product = make_policy_fisher_product(network, params, observations, damping=0.1)(vector)
    np.testing.assert_allclose(product, expected, rtol=2e-3, atol=2e-4)
    assert float(vector @ product) > 0.1 * float(vector @ vector)


TINY = dict(env="Breakout-MinAtar", encoder="minatar_cnn", hidden_sizes=(8,), activation="relu", num_envs=2)


@pytest.mark.parametrize(
    "config",
    [
        PPOConfig(num_steps=8, num_minibatches=2, update_epochs=1, total_timesteps=32, network="shared", **TINY),
        PPOConfig(num_steps=8, num_minibatches=2, update_epochs=1, total_timesteps=32, **TINY),
        TRPOConfig(num_steps=8, batch_size=0, total_timesteps=32, **TINY),
        A2CConfig(num_steps=8, total_timesteps=32, network="shared", **TINY),
        ReinforceConfig(num_steps=8, total_timesteps=32, **TINY),
        OffPolicyConfig(num_steps=8, total_timesteps=32, **TINY),
    ],
    ids=lambda config: f"{config.algorithm}-{config.network}",
)
def test_every_algorithm_trains_convolutions_of_vmapped_seeds(config):
    algorithm = algorithms.make_algorithm(config)
    keys = jax.random.split(jax.random.key(0), 2)
    start, end = jax.jit(jax.vmap(lambda key: train_from(algorithm, key)))(keys)
    convolution = "encoder" if config.network == "shared" else "policy"
    for before, after in zip(jax.tree.leaves(start), jax.tree.leaves(end), strict=True):
        assert np.isfinite(after).all()
        assert not np.allclose(before[0], before[1]) or not before.any()  # seeds of their own
    before, after = (kernels_of(params[convolution]) for params in (start, end))
    (name,) = [name for name in before if "Conv_0" in name]
    assert np.abs(after[name] - before[name]).max(axis=(1, 2, 3, 4)).min() > 1e-6


def train_from(algorithm, key):
    """Parameters before and after two updates."""
    state = training.init_state(algorithm, key, algorithm.hyperparameters)
    return state.learner.params, training.advance(algorithm, algorithm.hyperparameters, state, 2)[0].learner.params


def test_an_unknown_encoder_is_refused_with_its_choices():
    with pytest.raises(UserError, match="encoder is 'cnn'; it must be one of 'mlp', 'minatar_cnn', 'nature_cnn'"):
        dataclasses.replace(PPOConfig(), encoder="cnn").validate()
