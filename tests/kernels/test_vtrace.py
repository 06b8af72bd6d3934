"""V-trace against its definition written out, and against GAE where both policies are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purejaxrl_gae import kernels


def random_case(seed, num_steps=6, batch_shape=(3,)):
    rng = np.random.default_rng(seed)
    shape = (num_steps, *batch_shape)
    rewards, values, next_values, log_ratios = rng.normal(size=(4, *shape))
    terminated, truncated = rng.random((2, *shape)) < 0.2
    return rewards, values, next_values, log_ratios, terminated, truncated


def oracle(rewards, values, next_values, log_ratios, terminated, truncated, gamma, gae_lambda, rho_clip, c_clip):
    """v_s = V(s_s) + sum_t gamma^(t-s) (prod_{i<t} lambda c_i) rho_t delta_t: the paper's eq. 1, term by term."""
    ratios = np.exp(log_ratios)
    rho, c = np.minimum(rho_clip, ratios), np.minimum(c_clip, ratios)
    targets, advantages = values.copy(), np.zeros_like(values)
    num_steps = len(rewards)
    for index in np.ndindex(rewards.shape[1:]):
        for start in reversed(range(num_steps)):
            weight = 1.0
            for t in range(start, num_steps):
                at = (t, *index)
                beyond = 0.0 if terminated[at] else next_values[at]
                targets[(start, *index)] += weight * rho[at] * (rewards[at] + gamma * beyond - values[at])
                weight *= gamma * gae_lambda * c[at]
                if terminated[at] or truncated[at]:
                    break
            at, after = (start, *index), (start + 1, *index)
            ends = start == num_steps - 1 or terminated[at] or truncated[at]
            later = 0.0 if ends else gae_lambda * (targets[after] - values[after])
            beyond = 0.0 if terminated[at] else next_values[at]
            advantages[at] = rewards[at] + gamma * (beyond + later) - values[at]
    return targets, advantages, rho


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    gamma=st.sampled_from([0.0, 0.9, 1.0]),
    gae_lambda=st.sampled_from([0.0, 0.7, 1.0]),
    rho_clip=st.sampled_from([0.5, 1.0, np.inf]),
    c_clip=st.sampled_from([0.5, 1.0, np.inf]),
)
def test_random_cases_agree_with_the_sum(seed, gamma, gae_lambda, rho_clip, c_clip):
    case = random_case(seed)
    constants = dict(gamma=gamma, gae_lambda=gae_lambda, rho_clip=rho_clip, c_clip=c_clip)
    with jax.enable_x64(True):
        result = kernels.vtrace(*map(jnp.asarray, case), **constants)
    for ours, theirs in zip(result, oracle(*case, **constants), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.6, 1.0])
def test_on_the_same_policy_it_is_gae(gae_lambda):
    rewards, values, next_values, _, terminated, truncated = map(jnp.asarray, random_case(1))
    ends = (terminated, truncated)
    result = kernels.vtrace(
        rewards, values, next_values, jnp.zeros_like(rewards), *ends, gamma=0.9, gae_lambda=gae_lambda
    )
    advantages, targets = kernels.gae(rewards, values, next_values, *ends, gamma=0.9, gae_lambda=gae_lambda)
    np.testing.assert_allclose(result.advantages, advantages, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result.targets, targets, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(result.ratios, 1.0)


def test_unclipped_targets_are_unbiased_for_the_other_policys_value():
    """One step, two actions paying 0 and 1: E_mu[v] = V_pi without clipping, something between with it."""
    mu, pi = np.array([0.8, 0.2]), np.array([0.3, 0.7])
    log_ratios, rewards = jnp.log(pi / mu)[None], jnp.array([[0.0, 1.0]])
    nothing, zero = jnp.ones((1, 2), bool), jnp.zeros((1, 2))

    def expected(clip):
        result = kernels.vtrace(
            rewards, zero, zero, log_ratios, nothing, ~nothing, gamma=0.9, rho_clip=clip, c_clip=clip
        )
        return float(mu @ np.asarray(result.targets[0]))

    assert expected(jnp.inf) == pytest.approx(0.7, rel=1e-5)
    assert 0.2 <= expected(1.0) < 0.7


def test_values_beyond_a_terminal_state_may_be_anything():
    case = list(map(jnp.asarray, random_case(3)))
    terminated = case[4].at[2].set(True)
    clean = kernels.vtrace(*case[:4], terminated, case[5], gamma=0.9)
    poisoned = kernels.vtrace(
        case[0], case[1], jnp.where(terminated, jnp.nan, case[2]), case[3], terminated, case[5], gamma=0.9
    )
    jax.tree.map(np.testing.assert_array_equal, poisoned, clean)


def test_a_trailing_axis_is_refused():
    case = list(map(jnp.asarray, random_case(0)))
    with pytest.raises(AssertionError):
        kernels.vtrace(*case[:3], case[3][..., None], *case[4:], gamma=0.9)


def test_effective_sample_size():
    assert kernels.effective_sample_size(jnp.full((4, 5), 300.0)) == pytest.approx(1.0)
    one_of_ten = jnp.full(10, -1e9).at[3].set(0.0)
    assert kernels.effective_sample_size(one_of_ten) == pytest.approx(0.1)
    weights = np.array([1.0, 2.0, 3.0])
    assert kernels.effective_sample_size(jnp.log(weights)) == pytest.approx(36.0 / (3 * 14.0), rel=1e-6)
