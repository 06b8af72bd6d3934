"""GAE and its relatives against explicit sums per episode, in float64."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purejaxrl_gae import kernels

METHODS = ["auto", "scan", "blocks", "associative"]


def random_case(seed, num_steps, batch_shape=()):
    rng = np.random.default_rng(seed)
    shape = (num_steps, *batch_shape)
    rewards, values, next_values = rng.normal(size=(3, *shape))
    terminated, truncated = rng.random((2, *shape)) < 0.25
    return rewards, values, next_values, terminated, truncated


def oracle_gae(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """eq. 16 written out: for every t, the discounted sum of residuals up to its episode's end."""
    num_steps = rewards.shape[0]
    advantages = np.zeros_like(rewards)
    for index in np.ndindex(rewards.shape[1:]):
        for t in range(num_steps):
            for later in range(t, num_steps):
                where = (later, *index)
                beyond = 0.0 if terminated[where] else next_values[where]
                delta = rewards[where] + gamma * beyond - values[where]
                advantages[(t, *index)] += (gamma * gae_lambda) ** (later - t) * delta
                if terminated[where] or truncated[where]:
                    break
    return advantages


def oracle_returns(rewards, next_values, terminated, truncated, gamma):
    returns = np.zeros_like(rewards)
    num_steps = rewards.shape[0]
    for index in np.ndindex(rewards.shape[1:]):
        for t in range(num_steps):
            for later in range(t, num_steps):
                where = (later, *index)
                returns[(t, *index)] += gamma ** (later - t) * rewards[where]
                if terminated[where]:
                    break
                if truncated[where] or later == num_steps - 1:
                    returns[(t, *index)] += gamma ** (later - t + 1) * next_values[where]
                    break
    return returns


CASE = dict(
    rewards=jnp.ones(4),
    values=jnp.array([5.0, 4.0, 3.0, 2.0]),
    next_values=jnp.array([4.0, 3.5, 2.0, 1.0]),
)
AT_ONE = jnp.array([False, True, False, False])
NEVER = jnp.zeros(4, bool)


@pytest.mark.parametrize("method", METHODS)
def test_a_time_limit_keeps_the_value_and_cuts_the_trace(method):
    advantages, targets = kernels.gae(
        **CASE, terminated=NEVER, truncated=AT_ONE, gamma=0.99, gae_lambda=0.95, method=method
    )
    np.testing.assert_allclose(advantages, [0.3973325, 0.465, -0.029405, -0.01], rtol=1e-5)
    np.testing.assert_allclose(targets, [5.3973325, 4.465, 2.970595, 1.99], rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("truncated", [NEVER, AT_ONE])
def test_a_termination_drops_the_value_and_wins_over_truncation(method, truncated):
    advantages, _ = kernels.gae(
        **CASE, terminated=AT_ONE, truncated=truncated, gamma=0.99, gae_lambda=0.95, method=method
    )
    np.testing.assert_allclose(advantages, [-2.8615, -3.0, -0.029405, -0.01], rtol=1e-4)


@pytest.mark.parametrize("method", ["scan", "blocks", "associative"])
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_every_combination_of_flags_agrees_with_the_oracle(method, num_steps):
    flags = np.array(list(itertools.product([0, 1, 2, 3], repeat=num_steps))).T  # [T, 4^T]: all at once as a batch
    terminated, truncated = (flags & 1).astype(bool), (flags & 2).astype(bool)
    rewards, values, next_values, *_ = random_case(num_steps, num_steps, flags.shape[1:])
    expected = oracle_gae(rewards, values, next_values, terminated, truncated, 0.9, 0.8)
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, (rewards, values, next_values, terminated, truncated))
        advantages, targets = kernels.gae(*arrays, gamma=0.9, gae_lambda=0.8, method=method)
        assert advantages.dtype == np.float64
    np.testing.assert_allclose(advantages, expected, atol=1e-12)
    np.testing.assert_allclose(targets, expected + values, atol=1e-12)


SHAPES = [(1, ()), (1, (1,)), (7, ()), (16, (3,)), (33, (2, 2)), (101, (1,))]


@settings(deadline=None, max_examples=40)
@given(
    shape=st.sampled_from(SHAPES),
    gamma=st.sampled_from([0.0, 0.9, 0.99, 1.0]),
    gae_lambda=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    method=st.sampled_from(["scan", "blocks", "associative"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_cases_agree_with_the_oracle(shape, gamma, gae_lambda, method, seed):
    case = random_case(seed, *shape)
    expected = oracle_gae(*case, gamma, gae_lambda)
    run = jax.jit(partial(kernels.gae, method=method))
    float32 = [array.astype(np.float32) if array.dtype == np.float64 else array for array in case]
    advantages, _ = run(*float32, gamma=gamma, gae_lambda=gae_lambda)
    np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(shape=st.sampled_from(SHAPES), gamma=st.sampled_from([0.0, 0.9, 1.0]), seed=st.integers(0, 2**32 - 1))
def test_returns_agree_with_the_oracle(shape, gamma, seed):
    rewards, _, next_values, terminated, truncated = random_case(seed, *shape)
    expected = oracle_returns(rewards, next_values, terminated, truncated, gamma)
    returns = kernels.discounted_returns(
        *(jnp.asarray(array) for array in (rewards, next_values, terminated, truncated)), gamma=gamma
    )
    np.testing.assert_allclose(returns, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["scan", "blocks", "associative"])
@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_what_lies_beyond_a_terminal_state_may_be_anything(method, garbage):
    rewards, values, next_values, *_ = random_case(0, 6)
    terminated = np.array([False, False, True, False, False, True])
    expected = oracle_gae(rewards, values, next_values, terminated, ~terminated & False, 0.9, 0.8)
    poisoned = np.where(terminated, garbage, next_values)
    advantages, _ = kernels.gae(
        *map(jnp.asarray, (rewards, values, poisoned, terminated, np.zeros(6, bool))),
        gamma=0.9,
        gae_lambda=0.8,
        method=method,
    )
    np.testing.assert_allclose(advantages, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["scan", "blocks", "associative"])
def test_a_poisoned_episode_does_not_reach_the_one_before(method):
    ended = jnp.array([False, True, False])
    advantages, _ = kernels.gae(
        jnp.array([1.0, 1.0, jnp.nan]), jnp.zeros(3), jnp.zeros(3), ended, ~ended & False,
        gamma=0.9, gae_lambda=0.8, method=method,
    )  # fmt: skip
    np.testing.assert_allclose(advantages[:2], [1.72, 1.0], rtol=1e-6)


@pytest.mark.parametrize("shape", [(3001,), (2048, 2)])
def test_long_columns_take_another_way_to_the_same_advantages(shape):
    case = [
        array.astype(np.float32) if array.dtype == np.float64 else array
        for array in random_case(2, *(shape[0], shape[1:]))
    ]
    automatic, _ = kernels.gae(*case, gamma=0.99, gae_lambda=0.95)
    in_blocks, _ = kernels.gae(*case, gamma=0.99, gae_lambda=0.95, method="blocks")
    scanned, _ = kernels.gae(*case, gamma=0.99, gae_lambda=0.95, method="scan")
    np.testing.assert_array_equal(automatic, in_blocks)
    np.testing.assert_allclose(automatic, scanned, rtol=1e-4, atol=1e-4)


def test_lambda_zero_is_the_residual_and_lambda_one_the_return():
    case = [jnp.asarray(array) for array in random_case(1, 20, (3,))]
    rewards, values, next_values, terminated, truncated = case
    residuals, _ = kernels.gae(*case, gamma=0.9, gae_lambda=0.0)
    np.testing.assert_allclose(
        residuals, kernels.td_residuals(rewards, values, next_values, terminated, gamma=0.9), rtol=1e-6
    )
    # eq. 18; within an episode the values of successors cancel only if next_values continues values
    continuing = jnp.where(
        terminated | truncated, next_values, jnp.roll(values, -1, axis=0).at[-1].set(next_values[-1])
    )
    _, targets = kernels.gae(rewards, values, continuing, terminated, truncated, gamma=0.9, gae_lambda=1.0)
    returns = kernels.discounted_returns(rewards, continuing, terminated, truncated, gamma=0.9)
    np.testing.assert_allclose(targets, returns, rtol=1e-4, atol=1e-5)


def test_constant_value_with_one_final_reward_has_its_closed_form():
    value, gamma, gae_lambda, num_steps = 2.0, 0.9, 0.8, 6
    rewards = jnp.zeros(num_steps).at[-1].set(3.0)
    constant, terminated = jnp.full(num_steps, value), jnp.zeros(num_steps, bool).at[-1].set(True)
    advantages, _ = kernels.gae(
        rewards, constant, constant, terminated, jnp.zeros(num_steps, bool), gamma=gamma, gae_lambda=gae_lambda
    )
    decay, left = gamma * gae_lambda, np.arange(num_steps)[::-1]
    before_the_end = (gamma - 1) * value * (1 - decay**left) / (1 - decay)
    np.testing.assert_allclose(advantages, before_the_end + decay**left * (3.0 - value), rtol=1e-5)


def test_an_endless_reward_at_its_true_value_leaves_no_advantage():
    value = jnp.full((8, 2), 50.0)
    truncated = jnp.zeros((8, 2), bool).at[3].set(True)
    advantages, _ = kernels.gae(
        jnp.ones((8, 2)), value, value, jnp.zeros((8, 2), bool), truncated, gamma=0.98, gae_lambda=0.95
    )
    np.testing.assert_allclose(advantages, 0.0, atol=1e-4)


def test_k_step_estimators_reach_from_the_residual_to_the_return():
    case = [jnp.asarray(array) for array in random_case(2, 9, (2,))]
    rewards, values, next_values, terminated, _ = case
    one = kernels.k_step_advantages(*case, k=1, gamma=0.9)
    np.testing.assert_allclose(one, kernels.td_residuals(rewards, values, next_values, terminated, gamma=0.9))
    for k in (9, 50):
        all_steps = kernels.k_step_advantages(*case, k=k, gamma=0.9)
        np.testing.assert_allclose(all_steps, kernels.gae(*case, gamma=0.9, gae_lambda=1.0)[0], rtol=1e-5, atol=1e-6)


def test_three_steps_are_eq_13_written_out():
    rewards, values = jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([5.0, 6.0, 7.0, 8.0])
    next_values, never = jnp.array([6.0, 7.0, 8.0, 9.0]), jnp.zeros(4, bool)
    advantages = kernels.k_step_advantages(rewards, values, next_values, never, never, k=3, gamma=0.5)
    np.testing.assert_allclose(advantages[0], -5.0 + 1.0 + 0.5 * 2.0 + 0.25 * 3.0 + 0.125 * 8.0)


def test_gae_is_the_exponential_mixture_of_k_step_estimators():
    num_steps, gamma, gae_lambda = 7, 0.9, 0.7
    rewards, values, next_values, *_ = (jnp.asarray(array) for array in random_case(3, num_steps))
    never = jnp.zeros(num_steps, bool)
    mixture = 0.0
    for k in range(1, num_steps + 1):
        weight = (1 - gae_lambda) * gae_lambda ** (k - 1) if k < num_steps else gae_lambda ** (k - 1)
        mixture += weight * kernels.k_step_advantages(rewards, values, next_values, never, never, k=k, gamma=gamma)
    expected, _ = kernels.gae(rewards, values, next_values, never, never, gamma=gamma, gae_lambda=gae_lambda)
    np.testing.assert_allclose(mixture, expected, rtol=1e-4, atol=1e-5)


def test_gae_is_the_steeper_discounted_sum_of_shaped_rewards():
    gamma, gae_lambda = 0.9, 0.7
    rewards, potential, next_potential, terminated, truncated = (jnp.asarray(a) for a in random_case(4, 12, (2,)))
    shaped = rewards + gamma * jnp.where(terminated, 0.0, next_potential) - potential  # eq. 20, Phi(terminal) = 0
    nothing = jnp.zeros_like(rewards)
    returns = kernels.discounted_returns(shaped, nothing, terminated, truncated, gamma=gamma * gae_lambda)
    advantages, _ = kernels.gae(
        rewards, potential, next_potential, terminated, truncated, gamma=gamma, gae_lambda=gae_lambda
    )
    np.testing.assert_allclose(returns, advantages, rtol=1e-4, atol=1e-5)  # eq. 25


def test_gamma_and_lambda_are_swept_by_vmap():
    case = [jnp.asarray(array) for array in random_case(5, 10, (2,))]
    gammas, lambdas = jnp.array([0.5, 0.9]), jnp.array([0.0, 1.0])
    swept, _ = jax.vmap(lambda gamma, gae_lambda: kernels.gae(*case, gamma=gamma, gae_lambda=gae_lambda))(
        gammas, lambdas
    )
    for index in range(2):
        alone, _ = kernels.gae(*case, gamma=gammas[index], gae_lambda=lambdas[index])
        np.testing.assert_allclose(swept[index], alone, rtol=1e-6)


def test_whole_number_rewards_are_taken():
    advantages, _ = kernels.gae(
        jnp.ones(3, jnp.int32), jnp.zeros(3), jnp.zeros(3), NEVER[:3], NEVER[:3], gamma=0.5, gae_lambda=1.0
    )
    np.testing.assert_allclose(advantages, [1.75, 1.5, 1.0])


@pytest.mark.parametrize("wrong", range(5))
def test_a_trailing_axis_is_refused_instead_of_broadcast(wrong):
    arrays = [jnp.zeros(4), jnp.zeros(4), jnp.zeros(4), NEVER, NEVER]
    arrays[wrong] = arrays[wrong][:, None]
    with pytest.raises(AssertionError):
        kernels.gae(*arrays, gamma=0.9, gae_lambda=0.9)


def test_wrong_choices_are_named():
    with pytest.raises(ValueError, match="method is 'fast'"):
        kernels.gae(**CASE, terminated=NEVER, truncated=NEVER, gamma=0.9, gae_lambda=0.9, method="fast")
    with pytest.raises(ValueError, match="k is 0"):
        kernels.k_step_advantages(**CASE, terminated=NEVER, truncated=NEVER, k=0, gamma=0.9)
