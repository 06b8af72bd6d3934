"""What belongs to a whole trajectory, against loops over episodes."""

import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import kernels


def random_ends(seed, num_steps=9, num_envs=4):
    rng = np.random.default_rng(seed)
    terminated, truncated = rng.random((2, num_steps, num_envs)) < 0.2
    return rng.normal(size=(num_steps, num_envs)), rng.normal(size=(num_steps, num_envs)), terminated, truncated


def trajectories(terminated, truncated):
    """`(env, start, stop, whether it ended)` of each."""
    num_steps, num_envs = terminated.shape
    for env in range(num_envs):
        start = 0
        for t in range(num_steps):
            ended = terminated[t, env] or truncated[t, env]
            if ended or t == num_steps - 1:
                yield env, start, t + 1, ended
                start = t + 1


@pytest.mark.parametrize("seed", range(5))
def test_total_rewards_are_those_of_each_trajectory(seed):
    rewards, next_values, terminated, truncated = random_ends(seed)
    totals = kernels.trajectory_returns(*map(jnp.asarray, (rewards, next_values, terminated, truncated)), gamma=0.9)
    for env, start, stop, _ in trajectories(terminated, truncated):
        length = stop - start
        total = np.sum(0.9 ** np.arange(length) * rewards[start:stop, env])
        if not terminated[stop - 1, env]:
            total += 0.9**length * next_values[stop - 1, env]
        np.testing.assert_allclose(totals[start:stop, env], total, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_log_ratios_are_summed_over_each_trajectory(seed):
    log_ratios, _, terminated, truncated = random_ends(seed)
    sums = kernels.trajectory_log_ratios(*map(jnp.asarray, (log_ratios, terminated, truncated)))
    for env, start, stop, _ in trajectories(terminated, truncated):
        np.testing.assert_allclose(sums[start:stop, env], log_ratios[start:stop, env].sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_episode_reaches_to_its_end_and_includes_it(seed):
    _, _, terminated, truncated = random_ends(seed)
    first = np.asarray(kernels.in_first_episode(jnp.asarray(terminated), jnp.asarray(truncated)))
    for env, start, stop, _ in trajectories(terminated, truncated):
        np.testing.assert_array_equal(first[start:stop, env], start == 0)
