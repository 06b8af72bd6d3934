"""TRPO learns, never leaves its trust region, and keeps apart what must not touch."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from purejaxrl_gae import TRPOConfig, make_train, trpo
from purejaxrl_gae.environments import probes
from purejaxrl_gae.program import policy_step, training
from purejaxrl_gae.settings.errors import UserError
from tests.rollouts import first_rollout

SMALL = TRPOConfig(
    env="Pendulum-v1", total_timesteps=2048, num_envs=4, num_steps=128, hidden_sizes=(8, 8), n_critic_updates=2
)
PROBE = dict(
    num_envs=16, num_steps=16, hidden_sizes=(16, 16), gamma=0.9, batch_size=64, normalize_rewards=False,
    total_timesteps=256 * 60, learning_rate=1e-2,
)  # fmt: skip


def train_probe(probe, **changes):
    algorithm = trpo.make_algorithm(TRPOConfig(env=probe, **{**PROBE, **changes}))
    result = jax.jit(training.make_train_program(algorithm))(jax.random.key(0))
    return algorithm.setup.network, result.state.learner.params, result


def test_probes_of_values_are_learned():
    network, params, _ = train_probe(probes.discount())
    np.testing.assert_allclose(network.value(params, jnp.array([[0.0], [1.0]])), [0.9, 1.0], atol=0.1)


@pytest.mark.parametrize("changes", [{}, {"advantage": "monte_carlo"}, {"constraint": "penalty", "kl_coef": 0.3,
                                     "policy_learning_rate": 1e-2}, {"critic": "trust_region"}], ids=str)  # fmt: skip
def test_the_probe_of_everything_is_learned(changes):
    network, params, result = train_probe(probes.both(), **changes)
    assert np.all(network.policy(params, jnp.array([[1.0], [-1.0]])).log_prob(jnp.array([1, 0])) > np.log(0.85))
    assert int(result.state.counters.skipped_updates) == 0


def test_the_probe_of_everything_is_learned_with_real_actions():
    network, params, _ = train_probe(probes.both(continuous=True), total_timesteps=256 * 100)
    np.testing.assert_allclose(network.policy(params, jnp.array([[1.0], [-1.0]])).mode(), [[0.5], [-0.5]], atol=0.2)


def test_a_trust_region_critic_finds_the_values_too():
    network, params, result = train_probe(probes.observation(), critic="trust_region", value_trust_region=0.1)
    np.testing.assert_allclose(network.value(params, jnp.array([[1.0], [-1.0]])), [1.0, -1.0], atol=0.15)
    assert np.all(np.asarray(result.metrics["value_distance"]) <= 0.1)


@pytest.fixture(scope="module")
def metrics():
    result = jax.jit(make_train(dataclasses.replace(SMALL, total_timesteps=512 * 20)))(jax.random.key(0))
    return {name: np.asarray(values) for name, values in result.metrics.items()}


def test_every_update_stays_within_the_target(metrics):
    assert np.all(metrics["kl"] <= 0.01)
    accepted = metrics["line_search_failed"] == 0.0
    assert accepted.mean() > 0.8
    assert np.all(metrics["actual_improvement"][accepted] > 0.0)
    np.testing.assert_allclose(
        metrics["improvement_ratio"][accepted],
        (metrics["actual_improvement"] / metrics["expected_improvement"])[accepted],
        rtol=1e-4,
    )


def test_an_annealed_region_shrinks_to_nothing_over_the_run():
    annealed = dataclasses.replace(SMALL, total_timesteps=512 * 20, target_kl=0.02, anneal_kl=True)
    kl = np.asarray(jax.jit(make_train(annealed))(jax.random.key(0)).metrics["kl"])
    bound = 0.02 * (1.0 - np.arange(20) / 20)
    assert np.all(kl <= bound * (1.0 + 1e-5)) and np.median(kl / bound) > 0.5


def test_metrics_of_the_step_are_all_there_and_finite(metrics):
    for name in ("kl", "expected_improvement", "actual_improvement", "improvement_ratio", "step_fraction",
                 "cg_residual", "cg_iterations", "xhx", "line_search_failed"):  # fmt: skip
        assert np.all(np.isfinite(metrics[name])), name
    assert np.all(metrics["cg_residual"] < 1.0)
    assert np.all(metrics["xhx"] > 0.0)


@cache
def small(**static):
    """SMALL with other static fields: the algorithm, its first state and rollout, and its compiled update."""
    algorithm = trpo.make_algorithm(dataclasses.replace(SMALL, **static))
    return algorithm, *first_rollout(algorithm), jax.jit(partial(training.update, algorithm))


def one_update(program=None, **hyperparameters):
    algorithm, before, _, update = program or small()
    values = {name: jnp.float32(value) for name, value in hyperparameters.items()}
    after, metrics, _ = update(algorithm.hyperparameters.replace(**values), before)
    return before, after, metrics


def test_the_kl_is_from_the_old_policy_to_the_new():
    _, after, metrics = one_update(target_kl=0.5)
    algorithm, _, trajectory, _ = small()
    new = algorithm.setup.network.policy(after.learner.params, trajectory.observations)
    forward = float(jnp.mean(trajectory.distribution.kl_divergence(new)))
    backward = float(jnp.mean(new.kl_divergence(trajectory.distribution)))
    assert float(metrics["kl"]) == pytest.approx(forward, rel=1e-3)
    assert abs(forward - backward) > 0.02 * forward, "the two directions can be told apart here"


def test_a_search_that_finds_nothing_leaves_the_policys_bits_and_is_counted():
    before, after, metrics = one_update(target_kl=1e-20)
    jax.tree.map(np.testing.assert_array_equal, after.learner.params["policy"], before.learner.params["policy"])
    assert float(metrics["line_search_failed"]) == 1.0
    values_before, values_after = before.learner.params["value"], after.learner.params["value"]
    changed = jax.tree.map(lambda a, b: bool(np.any(a != b)), values_after, values_before)
    assert any(jax.tree.leaves(changed)), "the value function is fitted all the same"


def test_advantages_use_the_values_from_before_their_refit():
    """However hard the value function is refitted, the policy's step is the same."""
    _, gentle, _ = one_update(learning_rate=1e-5)
    _, hard, _ = one_update(learning_rate=1e-1)
    jax.tree.map(np.testing.assert_array_equal, gentle.learner.params["policy"], hard.learner.params["policy"])


def test_a_shared_trunk_is_refused():
    with pytest.raises(UserError, match="network is shared; TRPO needs separate networks"):
        make_train(dataclasses.replace(SMALL, network="shared"))


def test_constant_advantages_take_no_step():
    config = dataclasses.replace(SMALL, env=probes.endless(), normalize_rewards=False, gamma=0.0)
    algorithm = trpo.make_algorithm(config)
    before, _ = first_rollout(algorithm)
    no_values = jax.tree.map(jnp.zeros_like, before.learner.params["value"])  # every advantage is the reward, 1
    before = before.replace(learner=before.learner.replace(params={**before.learner.params, "value": no_values}))
    after, metrics, _ = jax.jit(partial(training.update, algorithm))(algorithm.hyperparameters, before)
    jax.tree.map(np.testing.assert_array_equal, after.learner.params["policy"], before.learner.params["policy"])
    assert float(metrics["line_search_failed"]) == 1.0


def test_actions_are_stored_as_sampled():
    algorithm, before, trajectory, _ = small()
    policy = algorithm.setup.network.policy(before.learner.params, trajectory.observations)
    np.testing.assert_allclose(trajectory.log_probs, policy.log_prob(trajectory.actions), rtol=1e-4, atol=1e-5)
    _, _, wide, _ = small(log_std_init=3.0)
    assert np.abs(wide.actions).max() > 2.0, "actions beyond the bounds are kept for the ratio"


def test_the_fisher_matrix_may_be_taken_over_a_random_tenth(monkeypatch):
    sizes = []
    original = policy_step.make_policy_fisher_product

    def spy(network, params, observations, *, damping):
        sizes.append(observations.shape[0])
        return original(network, params, observations, damping=damping)

    monkeypatch.setattr(policy_step, "make_policy_fisher_product", spy)
    _, after, metrics = one_update(small(fisher_subsampling=10))
    assert set(sizes) == {51}  # of 512; the gradient and the search use them all
    assert float(metrics["kl"]) <= 0.01
    assert float(metrics["line_search_failed"]) == 0.0
    assert np.all(np.isfinite(ravel_pytree(after.learner.params)[0]))


def test_kept_faults_are_off_by_default_and_do_something():
    defaults = TRPOConfig()
    faults = ("compound_expectation", "standardize_returns", "drop_last_minibatch")
    assert not any(getattr(defaults, name) for name in faults)
    assert (defaults.advantage_ddof, defaults.acceptance_ratio) == (0, 0.0)
    algorithm, _, trajectory, _ = small()
    estimate = partial(trpo.estimate_advantages, hyperparameters=algorithm.hyperparameters, experience=trajectory)
    monte_carlo = dataclasses.replace(SMALL, advantage="monte_carlo", norm_adv=False)
    _, plain = estimate(monte_carlo)
    advantages, standardized = estimate(dataclasses.replace(monte_carlo, standardize_returns=True))
    np.testing.assert_allclose(standardized.mean(), 0.0, atol=1e-4)
    np.testing.assert_allclose(np.std(standardized, ddof=1), 1.0, rtol=1e-3)
    np.testing.assert_allclose(advantages, standardized - trajectory.values, rtol=1e-4, atol=1e-5)
    assert not np.allclose(plain, standardized)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(batch_size=100), "batch_size is 100, which does not divide num_envs * num_steps = 4 * 128 = 512"),
        (dict(target_kl=0.0), "target_kl is 0.0; it must be greater than 0"),
        (dict(line_search_shrinking_factor=1.0), "line_search_shrinking_factor is 1.0"),
        (dict(advantage="mc"), "advantage is 'mc'; it must be one of 'gae', 'td_residual'"),
        (dict(cg_max_steps=0), "cg_max_steps is 0; it must be between 1 and"),
        (dict(fisher_subsampling=513), "fisher_subsampling is 513"),
    ],
)
def test_wrong_values_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError) as error:
        make_train(dataclasses.replace(SMALL, **changes))
    assert message in str(error.value)
