"""What a rollout reports of what happened, against the environments stepped one by one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import PPOConfig, ppo
from purejaxrl_gae.environments import make_environment, probes
from purejaxrl_gae.parallel.platform import traced_for
from purejaxrl_gae.program import experience, rollout, training


def collected(env, *, num_envs, num_steps, rollouts=1, counters=None, **options):
    settings = {"num_minibatches": 1, "hidden_sizes": (8,)} | {
        "normalize_observations": False,
        "normalize_rewards": False,
        **options,
    }
    algorithm = ppo.make_algorithm(PPOConfig(env=env, num_envs=num_envs, num_steps=num_steps, **settings))
    hyperparameters = algorithm.hyperparameters
    state = training.init_state(algorithm, jax.random.key(0), hyperparameters)
    if counters is not None:
        state = state.replace(counters=counters)
    collect = jax.jit(partial(training.collect, algorithm))
    results = []
    for _ in range(rollouts):
        before = state
        state, experience, totals, _ = collect(hyperparameters, state)
        results.append((before, state, state.counters, experience, totals))
    return algorithm.setup.network, state.learner.params, results


def test_next_values_are_those_of_the_true_successor():
    network, params, [(_, after, _, trajectory, _)] = collected(probes.endless(time_limit=3), num_envs=2, num_steps=7)
    truncated = np.asarray(trajectory.truncated)
    assert truncated[:, 0].tolist() == [False, False, True, False, False, True, False]
    following = np.concatenate([trajectory.values[1:], network.value(params, after.world.observations)[None]])
    np.testing.assert_allclose(np.asarray(trajectory.next_values)[~truncated], following[~truncated], rtol=1e-5)
    # the endless probe shows a constant sign, so the true successor looks like the observation before the cut
    np.testing.assert_allclose(
        np.asarray(trajectory.next_values)[truncated], np.asarray(trajectory.values)[truncated], rtol=1e-5
    )


@pytest.fixture(scope="module")
def terminal_limits():
    """A rollout of four time limits taken for terminations, with all but two of the episodes that can be counted."""
    counters = experience.init_counters().replace(episodes=jnp.int32(2**31 - 3))
    *_, results = collected(
        probes.endless(time_limit=3), num_envs=2, num_steps=7, time_limit="terminal", counters=counters
    )
    return results[0]


def test_terminal_time_limits_are_terminations(terminal_limits):
    *_, trajectory, _ = terminal_limits
    assert not np.any(trajectory.truncated)
    assert np.asarray(trajectory.terminated)[:, 0].tolist() == [False, False, True, False, False, True, False]


def test_episodes_finished_do_not_turn_negative(terminal_limits):
    _, _, counters, _, totals = terminal_limits
    assert int(totals.episodes) == 4 and int(counters.episodes) == 2**31 - 1


def test_log_probs_are_those_of_the_policy_that_acted():
    network, params, [(*_, trajectory, _)] = collected("Pendulum-v1", num_envs=3, num_steps=5)
    expected = network.policy(params, trajectory.observations).log_prob(trajectory.actions)
    np.testing.assert_allclose(trajectory.log_probs, expected, rtol=1e-5, atol=1e-6)
    assert trajectory.actions.shape == (5, 3, 1)


def test_actions_are_stored_as_sampled_and_clipped_for_the_environment():
    environment = make_environment("Pendulum-v1")
    actions = jnp.array([[-5.0], [0.5], [7.0]])
    np.testing.assert_allclose(rollout.clip_to_bounds(environment, actions, "clip"), [[-2.0], [0.5], [2.0]])
    np.testing.assert_allclose(rollout.clip_to_bounds(environment, actions, "scale"), 2.0 * np.clip(actions, -1.0, 1.0))
    np.testing.assert_allclose(rollout.clip_to_bounds(environment, actions, "tanh"), 2.0 * np.tanh(actions), rtol=1e-6)


def test_episode_returns_and_counts_match_a_loop_over_rollouts():
    *_, results = collected("CartPole-v1", num_envs=3, num_steps=20, rollouts=4)
    running, finished = np.zeros(3), []
    for *_, counters, trajectory, totals in results:
        in_this_rollout = []
        for t in range(20):
            running += np.asarray(trajectory.rewards)[t]
            for n in range(3):
                if trajectory.terminated[t, n] or trajectory.truncated[t, n]:
                    in_this_rollout.append(running[n])
                    running[n] = 0.0
        finished += in_this_rollout
        assert int(totals.episodes) == len(in_this_rollout)
        np.testing.assert_allclose(totals.returns, sum(in_this_rollout))
        assert int(counters.episodes) == len(finished)
        recent = np.asarray(counters.recent_returns)
        assert not recent[len(finished) :].any()
        np.testing.assert_allclose(np.sort(recent[: len(finished)]), np.sort(finished[-100:]))


def test_moments_used_are_those_from_before_the_rollout():
    options = {"normalize_observations": True, "normalize_rewards": True}
    *_, [(_, state, _, trajectory, _)] = collected("Pendulum-v1", num_envs=4, num_steps=16, **options)
    after = state.learner.normalizers
    seen = np.asarray(trajectory.observations).reshape(-1, 3)  # by moments of nothing: as they are
    np.testing.assert_allclose(after.observations.mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after.observations.variance, seen.var(0), rtol=1e-4)
    assert float(after.observations.count) == 64.0
    assert float(after.returns.variance) != 1.0


def test_an_accelerator_computes_values_behind_time_limits_all_at_once_and_alike():
    env = probes.endless(time_limit=3)
    *_, [(*_, expected, _)] = collected(env, num_envs=2, num_steps=7)
    with traced_for("cuda"):
        *_, [(*_, found, _)] = collected(env, num_envs=2, num_steps=7)
    for name, own in found._asdict().items():
        close = lambda one, other, name=name: np.testing.assert_allclose(one, other, rtol=1e-5, err_msg=name)  # noqa: E731
        jax.tree.map(close, own, getattr(expected, name))
    assert np.any(found.truncated)
