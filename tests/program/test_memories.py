"""Networks with memory: what is remembered, forgotten and learned through, against loops over single steps."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import kernels
from purejaxrl_gae.environments import DiscreteActions, Environment, Step
from purejaxrl_gae.ppo import PPOConfig
from purejaxrl_gae.program import (
    actor_critic,
    algorithms,
    cells,
    estimators,
    memories,
    minibatches,
    policy_curvature,
    training,
)
from purejaxrl_gae.program.side_by_side import policy_and_value
from purejaxrl_gae.program.types import Sequence
from purejaxrl_gae.settings.errors import UserError
from purejaxrl_gae.trpo import TRPOConfig

LIMITS = jnp.array([4, 6, 9, 30])  # of the four copies' episodes; the rollouts are of 7 steps
CELLS = ["gru", "lstm", "lru"]


def counting():
    """Shows how many steps an episode has taken; it is cut at each copy's limit, or ended by 1 in every fifth step."""

    def observed(steps):
        return (0.3 * steps)[:, None].astype(jnp.float32)

    def reset(key, num_envs):
        return jnp.zeros(num_envs, jnp.int32), observed(jnp.zeros(num_envs))

    def step(key, states, actions):
        final = states + 1
        truncated = final >= LIMITS
        terminated = (actions == 1) & (final % 5 == 0) & ~truncated
        after = jnp.where(truncated | terminated, 0, final)
        return Step(after, observed(after), jnp.ones(4), terminated, truncated, observed(final))

    return Environment("counting", (1,), DiscreteActions(2), None, reset, step)


class Summing:
    """A user's own network: it remembers the sum of what it has seen of an episode."""

    action_bounds, has_own_value_params, has_action_values = "clip", False, False

    def init(self, key):
        return {"weights": 0.1 * jax.random.normal(key, (1, 3))}

    def initial_memory(self, n):
        return jnp.zeros((n, 1))

    def sums(self, inputs):
        return kernels.recur(jnp.add, inputs.observations, inputs.starts, inputs.memory)

    def remember(self, params, inputs):
        return self.sums(inputs)[1]

    def policy(self, params, inputs):
        return kernels.Categorical((self.sums(inputs)[0] @ params["weights"])[..., :2])

    def value(self, params, inputs):
        return (self.sums(inputs)[0] @ params["weights"])[..., 2]

    def prediction(self, params, inputs, actions):
        return self.value(params, inputs)


class WeaklyTyped(Summing):
    def initial_memory(self, n):
        return jnp.full((n, 1), 0.0)

    def remember(self, params, inputs):
        return jnp.where(True, 1.0, jnp.full((inputs.starts.shape[1], 1), 2.0))


class Forgetful(Summing):
    def remember(self, params, inputs):
        return jnp.zeros(3)


@functools.cache
def collected(memory):
    """Two rollouts, by parameters far from their flat start: `(network, params, experiences)`; "shared" is a GRU."""
    shared = memory == "shared"
    config = PPOConfig(env=counting(), num_envs=4, num_steps=7, num_minibatches=2, memory_size=5, hidden_sizes=(6,))
    config = dataclasses.replace(config, memory="gru", network="shared") if shared else config
    config = dataclasses.replace(config, memory=memory) if memory in CELLS else config
    config = dataclasses.replace(config, normalize_observations=False, normalize_rewards=False)
    if memory == "own":
        config = dataclasses.replace(config, network=Summing())
    algorithm = algorithms.make_algorithm(config)
    state = training.init_state(algorithm, jax.random.key(0), algorithm.hyperparameters)
    params = jax.tree.map(
        lambda leaf: leaf + 0.5 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), state.learner.params
    )
    state = state.replace(learner=state.learner.replace(params=params))
    collect, experiences = jax.jit(lambda state: training.collect(algorithm, algorithm.hyperparameters, state)), []
    for _ in range(2):
        state, experience, _, _ = collect(state)
        experiences.append(experience)
    return algorithm.setup.network, params, experiences


@pytest.mark.parametrize("memory", [*CELLS, "shared", "own"])
def test_ratios_are_one_in_every_minibatch_before_the_first_step(memory):
    network, params, experiences = collected(memory)
    ends = jnp.stack([experience.terminated | experience.truncated for experience in experiences])
    assert ends[0].any() and ends[1].any() and any(experience.terminated.any() for experience in experiences)
    log_prob = jax.jit(lambda inputs, actions: network.policy(params, inputs).log_prob(actions))
    for experience in experiences:
        samples = (experience.inputs, experience.actions, experience.log_probs)
        rows, unpack = minibatches.pack(minibatches.flatten_time(samples))
        for chosen in ([2, 0], [1, 3]):
            inputs, actions, log_probs = unpack(rows[jnp.array(chosen)])
            assert actions.shape == (7, 2)
            np.testing.assert_allclose(jnp.exp(log_prob(inputs, actions) - log_probs), 1.0, atol=3e-7)


def by_single_steps(network, params, experiences):
    """V of every step and of its true successor, each computed from the memory of one step before."""
    value = jax.jit(functools.partial(memories.value, network, params))
    remember = jax.jit(lambda inputs: network.remember(params, inputs))
    observations = np.concatenate([experience.observations for experience in experiences])
    ends = [np.concatenate([getattr(each, name) for each in experiences]) for name in ("terminated", "truncated")]
    values, next_values, fresh = [], [], memories.initial_memory(network, 4)
    memory, shown_last = fresh, experiences[-1].last_observations
    for t, shown in enumerate(observations):
        values.append(value(shown, memory))
        memory = remember(memories.one_step(shown, memory, jnp.zeros(4, bool)))
        following = observations[t + 1] if t + 1 < len(observations) else shown_last
        final = np.where(ends[1][t][:, None], 0.3 * np.asarray(LIMITS)[:, None], following).astype(np.float32)
        next_values.append(value(final, memory))
        memory = memories.renewed(network, memory, ends[0][t] | ends[1][t])
    return np.stack(values), np.stack(next_values)


@pytest.mark.parametrize("memory", [*CELLS, "shared", "own"])
def test_values_are_those_of_the_memory_before_and_behind_time_limits_of_that_before_the_reset(memory):
    network, params, experiences = collected(memory)
    values, next_values = by_single_steps(network, params, experiences)
    names = ("values", "next_values", "terminated", "truncated")
    found = {name: np.concatenate([getattr(each, name) for each in experiences]) for name in names}
    lasting = ~found["terminated"]
    assert (found["truncated"] & lasting).sum() >= 3
    np.testing.assert_allclose(found["values"], values, atol=2e-6)
    np.testing.assert_allclose(found["next_values"][lasting], next_values[lasting], atol=2e-6)


def test_a_rollout_begins_with_the_memory_that_the_last_one_left():
    network, params, (first, second) = collected("gru")
    ended = first.terminated[-1] | first.truncated[-1]
    left = memories.renewed(network, network.remember(params, first.inputs), ended)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), second.memory, left)
    assert not second.starts[0].any() and not any(leaf.any() for leaf in jax.tree.leaves(first.memory))
    np.testing.assert_array_equal(first.starts[1:], (first.terminated | first.truncated)[:-1])


def test_values_estimated_anew_by_the_same_parameters_are_the_same():
    network, params, (_, experience) = collected("gru")
    again = estimators.revalued(network, params, experience)
    np.testing.assert_allclose(again.values, experience.values, atol=1e-6)
    np.testing.assert_allclose(again.next_values, experience.next_values, atol=1e-6)


@pytest.mark.parametrize("memory", ["gru", "shared"])
def test_policy_and_value_at_once_are_the_two(memory):
    network, params, (_, experience) = collected(memory)

    def both(params):
        return policy_and_value(network, params, experience.inputs)

    def apart(params):
        return network.policy(params, experience.inputs), network.value(params, experience.inputs)

    jax.tree.map(np.testing.assert_array_equal, *(jax.jit(each)(params) for each in (both, apart)))
    loops = [str(jax.make_jaxpr(each)(params)).count("scan[") for each in (both, apart)]
    assert loops == ([1, 2] if memory == "shared" else [2, 2])


def test_layers_see_the_steps_of_trajectories_as_one_batch():
    steps, seen = jax.random.normal(jax.random.key(0), (3, 4, 2)), []

    def layers(inputs):
        seen.append(inputs.shape)
        return {"sums": inputs.sum(-1), "twice": 2 * inputs}

    found = cells.of_steps(layers, steps)
    jax.tree.map(np.testing.assert_array_equal, found, layers(steps))
    assert seen == [(12, 2), (3, 4, 2)] and found["sums"].shape == (3, 4)


@pytest.mark.parametrize("memory", CELLS)
def test_parameters_and_memory_are_of_32_bits_with_x64_on(memory):
    config = PPOConfig(env="CartPole-v1", num_envs=2, num_steps=3, num_minibatches=1, memory=memory)
    with jax.enable_x64(True):
        trained = jax.eval_shape(algorithms.make_train(config), jax.random.key(0)).state
    leaves = jax.tree.leaves((trained.learner.params, trained.world.memory))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}


def test_a_memory_of_weak_type_is_taken_as_the_type_that_it_has():
    config = PPOConfig(env=counting(), num_envs=4, num_steps=7, num_minibatches=2, network=WeaklyTyped())
    algorithm = algorithms.make_algorithm(config)
    assert not jax.eval_shape(lambda: memories.initial_memory(algorithm.setup.network, 4)).weak_type
    state = training.init_state(algorithm, jax.random.key(0), algorithm.hyperparameters)
    again = jax.eval_shape(lambda state: training.update(algorithm, algorithm.hyperparameters, state)[0], state)
    assert str(jax.eval_shape(lambda: state.world.memory)) == str(again.world.memory)


def small_network(memory, shared=False):
    return actor_critic.make_actor_critic(
        (2,), DiscreteActions(3), shared=shared, hidden_sizes=(3,), activation="tanh", learn_std=True, log_std_init=0.0,
        memory=memory, memory_size=2,
    )  # fmt: skip


@pytest.mark.parametrize("memory", CELLS)
def test_the_fisher_product_goes_through_time(memory):
    network = small_network(memory)
    params = jax.tree.map(lambda leaf: leaf + 0.4, network.init(jax.random.key(0)))
    observations = jax.random.normal(jax.random.key(1), (5, 2, 2))
    starts = jnp.zeros((5, 2), bool).at[2, 0].set(True).at[4, 1].set(True)
    held = jax.tree.map(lambda leaf: leaf + 0.3, memories.initial_memory(network, 2))
    inputs = Sequence(observations, starts, held)
    flat, unravel = ravel_pytree(params["policy"])

    def logits(flat):
        return network.policy({**params, "policy": unravel(flat)}, inputs).logits.reshape(10, 3)

    def by_the_jacobian(vector):
        jacobian, probs = jax.jacobian(logits)(flat), jax.nn.softmax(logits(flat))
        of_outputs = jax.vmap(jnp.diag)(probs) - probs[:, :, None] * probs[:, None, :]
        return jnp.einsum("bip,bij,bjq,q->p", jacobian, of_outputs, jacobian, vector) / 10.0 + 0.1 * vector

    def by_the_product(vector):
        return policy_curvature.make_policy_fisher_product(network, params, inputs, damping=0.1)(vector)

    vector = jax.random.normal(jax.random.key(2), flat.shape)
    product, expected = jax.jit(lambda vector: (by_the_product(vector), by_the_jacobian(vector)))(vector)
    np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-5)


def test_samples_of_trajectories_are_whole_environments():
    inputs = Sequence(jnp.arange(24.0).reshape(3, 4, 2), jnp.eye(3, 4).astype(bool), {"h": jnp.arange(4.0)[:, None]})
    batch = (inputs, jnp.arange(12).reshape(3, 4))
    assert minibatches.flatten_time(batch) is not None and minibatches.steps_of_sample(batch) == 3
    rows, unpack = minibatches.pack(batch)
    assert rows.shape[0] == 4
    chosen = jnp.array([3, 1])
    for some in (unpack(rows[chosen]), minibatches.take(batch, chosen)):
        np.testing.assert_array_equal(some[0].observations, inputs.observations[:, chosen])
        np.testing.assert_array_equal(some[0].starts, inputs.starts[:, chosen])
        np.testing.assert_array_equal(some[0].memory["h"], inputs.memory["h"][chosen])
        np.testing.assert_array_equal(some[1], batch[1][:, chosen])


def test_a_gradient_in_chunks_of_environments_is_the_whole_one():
    network, params, (_, experience) = collected("gru")

    def loss(params, batch):
        values = network.value(params, batch[0])
        return jnp.mean(values * batch[1]), {"mean": jnp.mean(values)}

    batch = (experience.inputs, experience.rewards * jnp.arange(4.0))
    gradient = jax.jit(lambda size: minibatches.mean_gradient(loss, params, batch, size), static_argnums=0)
    whole, in_chunks = gradient(0), gradient(2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), whole, in_chunks)


SMALL = dict(env="CartPole-v1", memory="gru", memory_size=2, num_envs=4, num_steps=8)


@pytest.mark.parametrize(
    "config, message",
    [
        (PPOConfig(**SMALL, num_minibatches=2, network=Summing()), "memory is gru, but network is .*Summing"),
        (PPOConfig(env=counting(), network=Forgetful()), "Forgetful.*, which remembers .* as initial_memory"),
        (PPOConfig(**SMALL | {"memory_size": 0}, num_minibatches=2), "memory_size is 0"),
    ],
)
def test_memory_that_is_none_is_refused(config, message):
    with pytest.raises(UserError, match=message):
        algorithms.make_algorithm(config)


@pytest.mark.parametrize(
    "config, fitted",
    [
        (PPOConfig(env="CartPole-v1", memory="gru", memory_size=2), {"num_minibatches": 4}),  # defaults: 32 of 4
        (PPOConfig(**SMALL | {"num_envs": 6}, num_minibatches=4), {"num_minibatches": 3}),
        (PPOConfig(**SMALL, num_minibatches=2), {}),
        (TRPOConfig(**SMALL, batch_size=4), {"batch_size": 8}),
        (
            TRPOConfig(**SMALL | {"num_envs": 9}, batch_size=18, fisher_subsampling=10),
            {"batch_size": 24, "fisher_subsampling": 9},
        ),
        (TRPOConfig(**SMALL | {"memory": "none"}, batch_size=4), {}),
    ],
)
def test_minibatches_become_whole_trajectories_and_a_note_says_so(config, fitted):
    setup = algorithms.make_algorithm(config).setup
    assert setup.config == dataclasses.replace(config, **fitted)
    assert [note.split()[0] for note in setup.notes] == list(fitted)
    assert all(f" is {fitted[note.split()[0]]} in place of " in note for note in setup.notes)
