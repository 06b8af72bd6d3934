"""A policy file sees observations that are whole numbers as the networks did."""

import io

import jax
import numpy as np
import pytest

from purejaxrl_gae import A2CConfig, load_policy
from purejaxrl_gae.environments.contract import OneHot
from purejaxrl_gae.program import algorithms, memories
from purejaxrl_gae.program.rollout import normalize_observations
from purejaxrl_gae.program.types import Sequence
from purejaxrl_gae.runs.numpy_policy import NumpyOneHot
from purejaxrl_gae.runs.policy_file import make_policy_writer


@pytest.mark.parametrize(
    ("shape", "sizes", "starts"), [((), (5,), (2,)), ((2,), (3, 2), (0, -1)), ((2, 2), (1, 2, 3, 4), (0, 0, 1, 0))]
)
def test_numpy_and_the_networks_encode_alike(shape, sizes, starts):
    ours = OneHot(shape, sizes, starts)
    numbers = np.random.default_rng(0).integers(starts, np.add(starts, sizes), (7, 3, len(sizes))).reshape(7, 3, *shape)
    encoded = ours.encode(numbers)
    assert encoded.shape == (7, 3, sum(sizes)) and np.all(encoded.sum(-1) == len(sizes))
    np.testing.assert_array_equal(NumpyOneHot(shape, np.array(sizes), np.array(starts)).encode(numbers), encoded)
    np.testing.assert_array_equal(jax.jit(ours.encode)(numbers), encoded)
    assert ours.encode(encoded) is encoded


def test_a_policy_of_frozen_lake_acts_on_its_numbers():
    config = A2CConfig(env="FrozenLake-misc", hidden_sizes=(4,), num_envs=2, num_steps=2, normalize_observations=True)
    algorithm = algorithms.make_algorithm(config)
    setup = algorithm.setup
    states, observations = setup.environment.reset(jax.random.key(0), 3)
    np.testing.assert_array_equal(observations, np.eye(16)[[0, 0, 0]])
    step = setup.environment.step(jax.random.key(1), states, np.ones(3, np.int32))
    np.testing.assert_array_equal(step.final_observations, np.eye(16)[np.asarray(step.states.position)])

    learner = algorithm.init_learner(jax.random.key(2), algorithm.hyperparameters)
    name, contents = make_policy_writer(setup, learner)
    assert name == "policy.npz"
    policy = load_policy(io.BytesIO(contents(learner)))
    everywhere = np.arange(16)
    seen = normalize_observations(learner.normalizers, np.eye(16, dtype=np.float32))
    expected = setup.network.policy(learner.params, seen).logits
    probabilities = jax.nn.softmax(policy.outputs(everywhere))
    np.testing.assert_allclose(probabilities, jax.nn.softmax(expected), rtol=1e-4)
    np.testing.assert_array_equal(policy.act(np.eye(16)), policy.act(everywhere))
    assert policy.act(np.int64(3)) == policy.act(everywhere)[3]


@pytest.mark.parametrize("network", ["separate", "shared"])
@pytest.mark.parametrize("memory", ["gru", "lstm", "lru"])
def test_a_policy_with_memory_acts_and_remembers_in_numpy_as_the_networks_do(memory, network):
    config = A2CConfig(
        env="Pendulum-v1", hidden_sizes=(4, 3), num_envs=2, memory=memory, memory_size=5, network=network
    )
    algorithm = algorithms.make_algorithm(config)
    setup, learner = algorithm.setup, algorithm.init_learner(jax.random.key(0), algorithm.hyperparameters)
    learner = learner.replace(params=jax.tree.map(lambda leaf: leaf + 0.3, learner.params))
    policy = load_policy(io.BytesIO(make_policy_writer(setup, learner)[1](learner)))
    observations = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    starts = np.zeros((6, 2), bool)
    inputs = Sequence(observations, starts, memories.initial_memory(setup.network, 2))
    expected, remembered = setup.network.policy(learner.params, inputs).mean, policy.initial_memory(2)
    for observed, mean in zip(observations, np.asarray(expected), strict=True):
        means, _ = policy.outputs(observed, remembered)
        np.testing.assert_allclose(means, mean, rtol=1e-4, atol=1e-5)
        actions, remembered = policy.act(observed, remembered)
    one, _ = policy.act(observations[-1, 0], policy.initial_memory())
    assert actions.shape == (2, 1) and one.shape == (1,) and abs(one - actions[0]) > 1e-6


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "rnn"},
        {"layers_before_cell": 7},
        {"cell_bias": np.zeros(3)},
        {"cell_more": np.zeros(3)},
        {"cell_kernel_inputs": np.zeros(())},
    ],
)
def test_a_crafted_cell_is_refused(changes):
    config = A2CConfig(env="Pendulum-v1", hidden_sizes=(4,), memory="gru", memory_size=5)
    algorithm = algorithms.make_algorithm(config)
    learner = algorithm.init_learner(jax.random.key(0), algorithm.hyperparameters)
    written = make_policy_writer(algorithm.setup, learner)[1](learner)
    changed = io.BytesIO()
    np.savez(changed, **{**np.load(io.BytesIO(written)), **changes})
    with pytest.raises(ValueError, match=r"not a policy"):
        load_policy(io.BytesIO(changed.getvalue()))
