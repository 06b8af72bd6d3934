"""Programs as a GPU or TPU would get them, read before any compiler: no branches, and float32 where it matters."""

import re

import jax
import jax.numpy as jnp
import pytest

from purejaxrl_gae import A2CConfig, OffPolicyConfig, PPOConfig, ReinforceConfig, TRPOConfig
from purejaxrl_gae.kernels import Categorical, make_fisher_vector_product
from purejaxrl_gae.parallel.platform import branch, traced_for
from purejaxrl_gae.program import algorithms, training

SMALL = dict(env="CartPole-v1", num_envs=4, num_steps=8, hidden_sizes=(8,))
STOPPING = dict(num_minibatches=2, update_epochs=2, target_kl=0.01)


def lowered(config, platform):
    """One guarded update, lowered for a platform."""
    algorithm = algorithms.make_algorithm(config)
    with traced_for(platform):

        def once(key):
            state = training.init_state(algorithm, key, algorithm.hyperparameters)
            return training.advance(algorithm, algorithm.hyperparameters, state, jnp.int32(1))

        traced = jax.jit(once).trace(jax.eval_shape(jax.random.key, 0))
        return traced.lower(lowering_platforms=(platform,)).as_text()


def branches(text):
    return len(re.findall(r"stablehlo\.(?:case|if)\b", text))


def precisions(text):
    """The precision of every matrix product: its first factor's."""
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    found = [re.search(r"precision = \[(\w+)", line) for line in products]
    return [match[1] if match else "DEFAULT" for match in found]


@pytest.mark.parametrize(
    "kind, more",
    [
        (PPOConfig, STOPPING),
        (TRPOConfig, dict(batch_size=16)),
        (A2CConfig, {}),
        (ReinforceConfig, {}),
        (OffPolicyConfig, {}),
    ],
)
def test_an_accelerators_program_has_no_branch(kind, more):
    text = lowered(kind(**SMALL, **more), "cuda")
    assert branches(text) == 0
    assert "callback" not in text


def test_a_cpus_program_has_its_branches_and_selects_nothing_it_need_not_compute():
    assert branches(lowered(PPOConfig(**SMALL, **STOPPING), "cpu")) >= 4  # reset, final value, stop by KL, undo


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_a_branch_gives_the_same_on_every_platform(platform):
    with traced_for(platform):
        chosen = jax.jit(lambda flag, x: branch(flag, lambda x: {"y": x + 1}, lambda x: {"y": x * 2}, x))
        assert chosen(True, 3.0)["y"] == 4.0 and chosen(False, 3.0)["y"] == 6.0


def test_curvature_is_in_float32_whatever_precision_is_the_default():
    def policy(params, observations):
        return Categorical(jnp.tanh(observations @ params["hidden"]) @ params["out"])

    def product(params, vector):
        return make_fisher_vector_product(policy, params, jnp.ones((5, 3)), damping=0.1)(vector)

    params = {"hidden": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}
    with jax.default_matmul_precision("bfloat16"):
        found = precisions(jax.jit(product).lower(params, params).as_text())
    assert len(found) >= 6 and set(found) == {"HIGHEST"}


@pytest.mark.parametrize("network", ["separate", "shared"])
def test_what_ratios_are_made_of_is_in_float32_and_values_are_as_the_config_says(network):
    for precision, values in (("default", "DEFAULT"), ("tensorfloat32", "HIGH"), ("float32", "HIGHEST")):
        config = PPOConfig(**SMALL, network=network, matmul_precision=precision, num_minibatches=1)
        network_of = training.prepare(config).network
        params = jax.eval_shape(network_of.init, jax.eval_shape(jax.random.key, 0))
        observations = jax.ShapeDtypeStruct((6, 4), jnp.float32)

        def log_prob(params, observations, network_of=network_of):
            return network_of.policy(params, observations).log_prob(jnp.zeros(6, jnp.int32)).sum()

        ratios = jax.jit(jax.grad(log_prob)).lower(params, observations).as_text()
        assert set(precisions(ratios)) == {"HIGHEST"}
        assert values in precisions(lowered(config, "cuda")), precision
