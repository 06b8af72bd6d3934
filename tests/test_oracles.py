"""One batch, two answers: ours, and that of the documents' code or of another library; see oracles/README.md."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import PPOConfig, TRPOConfig, kernels, ppo, trpo
from purejaxrl_gae.environments import BoxActions, DiscreteActions, HostEnvironment
from purejaxrl_gae.program import training
from purejaxrl_gae.program.policy_curvature import make_policy_fisher_product
from purejaxrl_gae.program.types import Recording
from purejaxrl_gae.settings.config import with_values
from purejaxrl_gae.settings.config_files import configs_directory, read_yaml
from tests.oracles import inputs

load = cache(inputs.load)


def params_of(tree):
    """Holds layers under their oracle's names as our networks do."""
    params = {name: tree[name] for name in ("encoder", "value") if name in tree}
    layers = {name: layer for name, layer in tree["policy"].items() if name.startswith("Dense")}
    own = {name: value for name, value in tree["policy"].items() if name not in layers}
    return jax.tree.map(jnp.asarray, {**params, "policy": {**own, "mlp": layers}})


def flat_policy(tree):
    """The policy's part as the vector that our Fisher products take."""
    return ravel_pytree(params_of(tree)["policy"])[0]


def near(actual, expected, tolerance):
    """Largest difference of any element is within the tolerance, relative to the largest element."""
    actual, expected = ravel_pytree(actual)[0], ravel_pytree(jax.tree.map(jnp.asarray, expected))[0]
    assert actual.shape == expected.shape
    worst = jnp.max(jnp.abs(actual - expected)) / jnp.max(jnp.abs(expected))
    assert worst <= tolerance, float(worst)


def moved_as_far(actual, expected, start, tolerance):
    """The update differs from the expected one by at most that share of its length."""
    actual, expected, start = (ravel_pytree(jax.tree.map(jnp.asarray, tree))[0] for tree in (actual, expected, start))
    apart = jnp.linalg.norm(actual - expected) / jnp.linalg.norm(expected - start)
    assert apart <= tolerance, float(apart)


def stored_environment(observation_size, actions):
    return HostEnvironment("stored", (observation_size,), actions, None, open=None)


def learned(module, config, batch):
    """Makes our update on a stored batch: the algorithm, its parameters before, those after, and its metrics."""
    algorithm, before = module.make_algorithm(config), params_of(batch)
    batch = {name: jnp.asarray(value) for name, value in batch.items() if isinstance(value, np.ndarray)}
    shape = (config.num_steps, config.num_envs)
    flat_axes = batch["ended"].ndim

    def shaped(name):
        return batch[name].reshape(*shape, *batch[name].shape[flat_axes:])

    ended, none, last = shaped("ended"), jnp.zeros(shape, bool), shaped("observations")[-1]
    by_time_limit = config.time_limit == "terminal"
    recording = Recording(
        observations=shaped("observations"),
        actions=shaped("actions"),
        rewards=shaped("rewards"),
        terminated=none if by_time_limit else ended,
        truncated=ended if by_time_limit else none,
        final_values=jnp.zeros(shape),
        scores=shaped("rewards"),
        finished=ended,
        next_observations=batch.get("next_observations", last),  # of no meaning where every episode has ended
        nonfinite_steps=jnp.zeros((), jnp.int32),
    )

    @jax.jit
    def update(params, recording):
        state = training.init_state(algorithm, jax.random.key(0), algorithm.hyperparameters)
        state = state.replace(learner=state.learner.replace(params=params))
        state, _, keys = training.begin_update(algorithm, state)
        state, experience, _ = training.take_in(algorithm, algorithm.hyperparameters, state, recording)
        state, metrics = training.learn_from(algorithm, algorithm.hyperparameters, state, experience, keys)
        return state.learner.params, metrics

    return algorithm, before, *update(before, recording)


def seed_config(kind, name, **changes):
    config = with_values(
        kind(), {k: v for k, v in read_yaml(seed_path(name)).items() if k not in ("algorithm", "goal_score")}, name
    )
    return dataclasses.replace(config, **changes)


def seed_path(name):
    return configs_directory() / "seeds" / f"{name}.yaml"


# --- the documents


@pytest.fixture(scope="module")
def lecture():
    """The lecture's batch, and our update on it with its preset."""
    batch = load("document_003.npz")
    config = seed_config(PPOConfig, "ppo_cartpole_lecture", env=stored_environment(4, DiscreteActions(2)),
                         num_envs=16, num_minibatches=1, hidden_sizes=(32, 32))  # fmt: skip
    return batch, *learned(ppo, config, batch)


def test_the_lecture_presets_update_is_the_lectures(lecture):
    batch, _, before, after, metrics = lecture
    expected = batch["expected"]
    moved_as_far(after, params_of(expected["params"]), before, 1e-4)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0.0, atol=1e-6), after, params_of(expected["params"]))
    value_loss, policy_loss, entropy = expected["losses"].mean(axis=0)
    near(2.0 * metrics["value_loss"], value_loss, 1e-5)
    near(metrics["policy_loss"], policy_loss, 1e-5)
    near(metrics["entropy"], entropy, 1e-5)


def test_the_lecture_presets_loss_has_the_lectures_gradient(lecture):
    batch, algorithm, params, _, _ = lecture
    network, values = algorithm.setup.network, algorithm.hyperparameters
    ended = jnp.asarray(batch["ended"])

    @jax.jit
    def by_our_kernels(params, observations, next_observations, actions, rewards):
        old_log_probs = network.policy(params, observations).log_prob(actions)
        old_values = network.value(params, observations)
        following = jnp.concatenate([old_values[1:], network.value(params, next_observations)[None]])
        transitions = (rewards, old_values, following, ended)
        advantages, _ = kernels.gae(*transitions, jnp.zeros_like(ended), gamma=0.99, gae_lambda=0.95)
        targets = old_values + kernels.td_residuals(*transitions, gamma=0.99)

        def loss(params):
            policy = network.policy(params, observations)
            surrogate = kernels.ppo_clip_loss(policy.log_prob(actions), old_log_probs, advantages, clip_coef=100.0)
            value_loss = kernels.value_loss(network.value(params, observations), targets)
            entropy = jnp.mean(policy.entropy())
            return values.pg_coef * surrogate + values.vf_coef * value_loss - values.ent_coef * entropy

        return advantages, targets, *jax.value_and_grad(loss)(params)

    names = ("observations", "next_observations", "actions", "rewards")
    advantages, targets, total, gradient = by_our_kernels(params, *(jnp.asarray(batch[name]) for name in names))
    expected = batch["expected"]
    near(advantages, expected["advantages"], 1e-5)
    near(targets, expected["targets"], 1e-5)
    near(total, expected["loss"], 1e-5)
    near(gradient, params_of(expected["gradient"]), 1e-5)


DOCUMENTS = {
    "document_001.npz": ("trpo_pendulum", {}),
    "document_000.npz": ("trpo_gae_pendulum", {"batch_size": 0}),  # all at once, so that shuffling has no part
}


@pytest.fixture(scope="module", params=DOCUMENTS)
def slides(request):
    """A slide's batch, and our update on it with its preset."""
    batch = load(request.param)
    preset, changes = DOCUMENTS[request.param]
    changes = {**changes, "num_steps": 100, "hidden_sizes": (16, 16), "target_kl": float(batch["max_kl"])}
    environment = stored_environment(3, BoxActions((1,), (-2.0,), (2.0,)))
    return batch, *learned(trpo, seed_config(TRPOConfig, preset, env=environment, **changes), batch)


def test_the_slides_presets_update_is_the_slides(slides):
    batch, _, before, after, metrics = slides
    expected = batch["expected"]
    theirs = params_of(expected["params"])
    moved_as_far(after["policy"], theirs["policy"], before["policy"], 1e-4)
    moved_as_far(after["value"], theirs["value"], before["value"], 1e-4)
    assert metrics["step_fraction"] == 0.5 ** (int(expected["tries"]) - 1)
    np.testing.assert_allclose(-metrics["policy_loss"], expected["surrogate"], rtol=1e-4, atol=1e-6)
    near(metrics["xhx"], expected["curvature"], 1e-4)
    near(metrics["kl"], expected["kl"], 1e-4)
    near(metrics["actual_improvement"], expected["gain"], 1e-3)
    near(2.0 * metrics["value_loss"], expected["value_losses"].mean(), 1e-5)


def test_the_slides_step_is_theirs_in_every_part(slides):
    batch, algorithm, params, _, _ = slides
    network, expected = algorithm.setup.network, batch["expected"]

    @jax.jit
    def by_our_kernels(params, observations, actions, advantages, probe):
        old_log_probs = network.policy(params, observations).log_prob(actions)

        def surrogate(policy_params):
            policy = network.policy({**params, "policy": policy_params}, observations)
            return -kernels.unclipped_loss(policy.log_prob(actions), old_log_probs, advantages)

        gradient = ravel_pytree(jax.grad(surrogate)(params["policy"]))[0]
        product = make_policy_fisher_product(network, params, observations, damping=0.1)
        direction = kernels.conjugate_gradient(product, gradient, max_iters=10).x
        return network.value(params, observations), gradient, product(probe), direction

    values, gradient, product, direction = by_our_kernels(
        params,
        jnp.asarray(batch["observations"]),
        jnp.asarray(batch["actions"]),
        jnp.asarray(expected["advantages"]),
        flat_policy(expected["probe"]),
    )
    near(values, expected["values"], 1e-5)
    near(gradient, flat_policy(expected["gradient"]), 1e-5)
    near(product, flat_policy(expected["fisher_product"]), 1e-5)
    near(direction, flat_policy(expected["direction"]), 1e-4)


def test_the_slides_returns_and_advantages():
    ended = jnp.asarray(load("document_001.npz")["ended"])
    none, zeros = jnp.zeros_like(ended), jnp.zeros(ended.shape)
    for name, standardised in (("document_001.npz", True), ("document_000.npz", False)):
        batch = load(name)
        returns = kernels.discounted_returns(jnp.asarray(batch["rewards"]), zeros, ended, none, gamma=0.99)
        targets = kernels.normalize_advantages(returns, ddof=1) if standardised else returns
        near(targets, batch["expected"]["targets"], 1e-5)
    values = jnp.asarray(batch["expected"]["values"])
    following = jnp.append(values[1:], 0.0)
    advantages, _ = kernels.gae(
        jnp.asarray(batch["rewards"]), values, following, ended, none, gamma=0.99, gae_lambda=0.98
    )
    near(kernels.normalize_advantages(advantages, ddof=1), batch["expected"]["advantages"], 1e-5)


# --- other libraries

PEERS = dict(
    env=stored_environment(3, BoxActions((2,), (-10.0,) * 2, (10.0,) * 2)),
    num_envs=4,
    num_steps=16,
    hidden_sizes=(16, 16),
    normalize_observations=False,
    normalize_rewards=False,
)


def test_ppo_learns_what_stable_baselines3_does():
    batch = load("sb3_ppo.npz")
    expected = batch["expected"]
    config = PPOConfig(**PEERS, num_minibatches=1, update_epochs=3, learning_rate=1e-2, anneal_lr=False,
                       norm_adv=False, ent_coef=0.01, vf_coef=2 * 0.5)  # fmt: skip
    _, before, after, metrics = learned(ppo, config, batch)
    moved_as_far(after, params_of(expected["params"]), before, 1e-4)
    near(metrics["policy_loss"], expected["policy_gradient_loss"], 1e-4)
    near(2.0 * metrics["value_loss"], expected["value_loss"], 1e-4)
    near(-metrics["entropy"], expected["entropy_loss"], 1e-5)
    near(metrics["clip_fraction"], expected["clip_fraction"], 1e-5)


def test_trpo_learns_what_sb3_contrib_does():
    """Its KL is a mean over action dimensions, two here; ours is their sum, so delta and damping are doubled.

    Its value loss is twice ours, and with it Adam's gradient and epsilon.
    """
    batch = load("sb3_contrib_trpo.npz")
    expected = batch["expected"]
    config = TRPOConfig(**PEERS, target_kl=2 * 0.05, cg_damping=2 * 0.1, cg_max_steps=10, advantage_ddof=1,
                        n_critic_updates=3, batch_size=64, adam_eps=1e-5 / 2)  # fmt: skip
    algorithm, before, after, metrics = learned(trpo, config, batch)
    theirs = params_of(expected["params"])
    observations = jnp.asarray(batch["observations"]).reshape(-1, 3)
    product = make_policy_fisher_product(algorithm.setup.network, before, observations, damping=2 * 0.1)
    near(product(flat_policy(expected["probe"])), 2.0 * flat_policy(expected["fisher_product"]), 1e-5)
    moved_as_far(after["policy"], theirs["policy"], before["policy"], 2e-3)  # theirs starts from noise
    moved_as_far(after["value"], theirs["value"], before["value"], 1e-4)
    near(-metrics["policy_loss"] + metrics["actual_improvement"], expected["policy_objective"], 1e-3)
    near(2.0 * metrics["value_loss"], expected["value_loss"], 1e-4)


def test_rlaxs_estimators_are_ours():
    batch = {name: jnp.asarray(value) for name, value in load("rlax.npz").items() if name != "expected"}
    expected, none = load("rlax.npz")["expected"], jnp.zeros(24, bool)
    transitions = [batch[name] for name in ("rewards", "values", "next_values", "terminated")]
    advantages, targets = kernels.gae(*transitions, none, gamma=0.97, gae_lambda=0.9)
    near(advantages, expected["advantages"], 1e-5)
    near(targets, expected["lambda_returns"], 1e-5)
    returns = kernels.discounted_returns(transitions[0], *transitions[2:], none, gamma=0.97)
    near(returns, expected["returns"], 1e-5)
    new, old = kernels.Categorical(batch["logits"]), kernels.Categorical(batch["old_logits"])
    log_ratios = new.log_prob(batch["actions"]) - old.log_prob(batch["actions"])
    vtrace = kernels.vtrace(*transitions[:3], log_ratios, batch["terminated"], none, gamma=0.97, gae_lambda=0.9)
    near(vtrace.targets - batch["values"], expected["vtrace_errors"], 1e-5)


def test_rlaxs_losses_are_ours():
    batch = {name: jnp.asarray(value) for name, value in load("rlax.npz").items() if name != "expected"}
    expected, actions = load("rlax.npz")["expected"], batch["actions"]
    old, advantages = kernels.Categorical(batch["old_logits"]), jnp.asarray(expected["advantages"])

    def clipped(logits):
        log_probs = kernels.Categorical(logits).log_prob(actions)
        return kernels.ppo_clip_loss(log_probs, old.log_prob(actions), advantages, clip_coef=0.2)

    def policy_gradient(logits):
        return kernels.policy_gradient_loss(kernels.Categorical(logits).log_prob(actions), advantages)

    for loss, value, gradient in ((clipped, "clipped_loss", "clipped_gradient"),
                                  (policy_gradient, "policy_gradient_loss", "policy_gradient")):  # fmt: skip
        found = jax.value_and_grad(loss)(batch["logits"])
        near(found[0], expected[value], 1e-5)
        near(found[1], expected[gradient], 1e-5)
    new = kernels.Categorical(batch["logits"])
    near(jnp.mean(new.entropy()), expected["entropy"], 1e-5)
    near(jnp.mean(old.kl_divergence(new)), expected["kl"], 1e-5)
