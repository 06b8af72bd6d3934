"""Networks that are handed in: flax modules, pairs of functions, our own; and what is refused before compiling."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from purejaxrl_gae import A2CConfig, PPOConfig, TRPOConfig, UserError, kernels, make_train, networks, trpo
from purejaxrl_gae.environments import make_environment
from purejaxrl_gae.program import training

SMALL = dict(num_envs=4, num_steps=16, hidden_sizes=(8,), total_timesteps=128)
PPO = PPOConfig(env="CartPole-v1", num_minibatches=4, update_epochs=2, **SMALL)
OBSERVATIONS = jnp.linspace(-1.0, 1.0, 24).reshape(2, 3, 4)  # [T, N, 4]


class Policy(nn.Module):
    outputs: int = 2
    normalised: bool = False
    gaussian: bool = False

    @nn.compact
    def __call__(self, observations):
        x = nn.BatchNorm(use_running_average=False)(observations) if self.normalised else observations
        x = nn.Dense(self.outputs)(nn.silu(nn.Dense(8)(x)))
        if self.gaussian:
            return kernels.DiagonalGaussian(x, self.param("log_std", nn.initializers.zeros, (self.outputs,)))
        return kernels.Categorical(x)


class Value(nn.Module):
    @nn.compact
    def __call__(self, observations):
        return nn.Dense(1)(observations)


class NNXPolicy(nnx.Module):
    def __init__(self, rngs, normalised=False):
        self.dense = nnx.Linear(4, 2, rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs) if normalised else None

    def __call__(self, observations):
        return kernels.Categorical(self.dense(observations))


def both(observations):
    return kernels.Categorical(observations[:, :2]), observations.sum(axis=-1)


NO_PARAMS = (lambda key, observations: {"unused": jnp.zeros(1)}, lambda params, observations: both(observations))
LINEAR = (lambda key, observations: jnp.ones(4), lambda params, observations: observations @ params)


def linen_pair():
    return networks.separate(Policy(), Value())


def nnx_pair():
    return networks.separate(lambda rngs: NNXPolicy(rngs), lambda rngs: nnx.Linear(4, 1, rngs=rngs))


def pair_of_functions():
    return networks.separate(Policy(), LINEAR)


def joint():
    return networks.joint(NO_PARAMS)


def built_in(observations, actions, config):
    """The package's own network, by the door for everybody's."""
    return networks.separate_layers(observations, actions, config)


def made(config):
    return networks.make_network(config, make_environment(config.env))


@pytest.mark.parametrize("factory", [linen_pair, nnx_pair, pair_of_functions, joint])
def test_whatever_is_handed_in_acts_on_any_number_of_leading_axes(factory):
    network = made(dataclasses.replace(PPO, network=factory))
    params = network.init(jax.random.key(0))
    distribution, values = network.policy(params, OBSERVATIONS), network.value(params, OBSERVATIONS)
    assert distribution.logits.shape == (2, 3, 2) and values.shape == (2, 3)
    one = network.policy(params, OBSERVATIONS[1, 2])
    np.testing.assert_allclose(one.logits, distribution.logits[1, 2], rtol=1e-6)
    assert network.value(params, OBSERVATIONS[1, 2]).shape == ()
    assert network.has_own_value_params is (factory is not joint)


def test_an_object_is_as_good_as_its_factory():
    network = linen_pair()
    assert made(dataclasses.replace(PPO, network=network)).modules is network.modules


def test_what_is_the_same_in_every_state_gets_the_batch_axes():
    config = PPOConfig(env="Pendulum-v1", network=lambda actions: networks.separate(Policy(1, gaussian=True), Value()))
    network = made(config)
    params = network.init(jax.random.key(0))
    assert params["policy"]["log_std"].shape == (1,)
    distribution = network.policy(params, OBSERVATIONS[..., :3])
    assert distribution.mean.shape == distribution.log_std.shape == (2, 3, 1)


def test_our_own_network_by_the_door_for_everybodys_gives_the_same_bits():
    handed_in = [PPO, dataclasses.replace(PPO, network=f"{__name__}:built_in")]
    results = [jax.jit(make_train(each))(jax.random.key(0)) for each in handed_in]
    jax.tree.map(np.testing.assert_array_equal, *(result.state.learner.params for result in results))


def test_a_module_of_ones_own_trains():
    result = jax.jit(make_train(dataclasses.replace(PPO, network=nnx_pair)))(jax.random.key(0))
    start = made(dataclasses.replace(PPO, network=nnx_pair)).init(jax.random.key(0))
    assert np.all(np.isfinite(result.metrics["value_loss"])) and int(result.state.counters.skipped_updates) == 0
    assert jax.tree.structure(result.state.learner.params) == jax.tree.structure(start)


def test_trpo_refuses_a_joint_network_in_one_line():
    with pytest.raises(UserError, match=r"^network is test_networks:joint; TRPO needs separate networks"):
        trpo.make_algorithm(TRPOConfig(env="CartPole-v1", **SMALL, batch_size=0, network=joint))


class ForgetsTheKey(kernels.Categorical):
    def sample(self):
        return self.mode()


class DrawsForOneStep(kernels.Categorical):
    def noise(self, key, leading=()):
        return super().noise(key)


class HasAnEntropyOfEachAction(kernels.Categorical):
    def entropy(self):
        return -jax.nn.softmax(self.logits) * jax.nn.log_softmax(self.logits)


class HasNoFisherMatrix(kernels.Categorical):
    def fisher_product(self, tangent):
        return tangent.logits


class ActsInLogits(kernels.Categorical):
    def mode(self):
        return self.logits


def acting_by(distribution, dtype=jnp.float32):
    weights = jnp.zeros((4, 2), dtype)
    return networks.separate(
        (lambda key, x: weights, lambda weights, x: distribution(x.astype(dtype) @ weights)), LINEAR
    )


class Halved:
    """Has every method of a network and does not say whether its value function shares parameters."""

    def init(self, key):
        return {}

    policy = value = prediction = init


REFUSED = {
    "values_of_16_bits": (
        lambda: networks.separate(Policy(), (LINEAR[0], lambda params, x: (x @ params).astype(jnp.bfloat16))),
        "has values of type bfloat16; it must be float32, whatever it computes in",
    ),
    "parameters_of_16_bits": (
        lambda: acting_by(kernels.Categorical, jnp.bfloat16),
        "has a parameter of type bfloat16; it must be float32",
    ),
    "a_counter_as_parameter": (
        lambda: networks.separate(Policy(), (lambda key, x: 0, lambda count, x: x[:, 0])),
        "has a parameter of type int32; it must be float32",
    ),
    "probabilities_of_16_bits": (
        lambda: acting_by(lambda logits: kernels.Categorical(logits.astype(jnp.bfloat16))),
        "has a log_prob of type bfloat16; it must be float32",
    ),
    "a_sample_without_a_key": (lambda: acting_by(ForgetsTheKey), "policy's sample raised TypeError"),
    "noise_of_one_step": (lambda: acting_by(DrawsForOneStep), "noise.* must be three times noise"),
    "an_entropy_of_each_action": (
        lambda: acting_by(HasAnEntropyOfEachAction),
        r"policy's entropy of 2 states is float32\[2, 2\]; it must be 2 real numbers",
    ),
    "no_fisher_matrix": (lambda: acting_by(HasNoFisherMatrix), "fisher_product must have the form of the distribution"),
    "a_mode_that_is_no_action": (lambda: acting_by(ActsInLogits), r"policy's mode gives actions \[2\] of type float32"),
    "no_such_name": ("seperate", "network is 'seperate'; it must be one of .*did you mean 'separate'"),
    "no_function": (f"{__name__}:SMALL", "network is 'test_networks:SMALL', a dict; it must be a function"),
    "no_such_argument": (lambda images: images, "which asks for 'images'; it may name observations, actions, config"),
    "a_factory_that_raises": (lambda actions: 1 / 0, "which raised ZeroDivisionError: division by zero"),
    "no_network": (lambda: 3, "which made a int without 'init'; it must return networks.separate"),
    "half_a_network": (Halved, "which made a Halved without 'has_own_value_params'; it must return"),
    "no_module": (lambda: networks.separate(3, Value()), r"network has a int; it must be a flax module, or a pair"),
    "an_nnx_object": (lambda: networks.joint(NNXPolicy(nnx.Rngs(0))), "hand in a function of rngs that makes it"),
    "too_many_logits": (lambda: networks.separate(Policy(3), Value()), "has 3 logits; the environment has 2 actions"),
    "real_actions": (lambda: networks.separate(Policy(gaussian=True), Value()), r"gives actions \[2\] of type float32"),
    "no_distribution": (lambda: networks.separate(Value(), Value()), "without 'noise'; it must return a distribution"),
    "two_values": (
        lambda: networks.separate(Policy(), nn.Dense(2)),
        r"values of 2 observations are float32\[2, 2\]; they",
    ),
    "whole_values": (
        lambda: networks.separate(Policy(), (LINEAR[0], lambda params, x: jnp.ones(x.shape[0], int))),
        r"are int32\[2\]; they must be 2 real numbers",
    ),
    "another_shape": (
        lambda: networks.separate(Policy(), (LINEAR[0], lambda p, x: x @ p[:2])),
        "which raised TypeError",
    ),
    "batch_norm": (lambda: networks.separate(Policy(normalised=True), Value()), "whose state 'batch_stats' changes"),
    "batch_norm_of_nnx": (
        lambda: networks.separate(lambda rngs: NNXPolicy(rngs, normalised=True), Value()),
        "whose state 'norm' changes from call to call",
    ),
}


@pytest.mark.parametrize("network, message", REFUSED.values(), ids=REFUSED)
def test_what_breaks_the_contract_is_refused_in_one_line(network, message):
    with pytest.raises(UserError, match=message) as refused:
        made(dataclasses.replace(PPO, network=network))
    assert "\n" not in str(refused.value) and str(refused.value).startswith("network ")


def test_action_values_are_for_networks_that_have_them():
    config = A2CConfig(env="CartPole-v1", network=linen_pair, critic_form="action_value", **SMALL)
    with pytest.raises(UserError, match="which has no action values; use separate or shared"):
        training.prepare(config, action_values=True)


def test_discrete_actions_for_a_box_are_refused():
    with pytest.raises(UserError, match="the environment has 1 real ones"):
        made(PPOConfig(env="Pendulum-v1", network=linen_pair))
