"""What the GAE paper proves of its estimators, on a small MDP whose values are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import kernels

GAMMA = 0.9
NUM_STATES, NUM_ACTIONS, TERMINAL, HORIZON = 3, 2, 3, 30  # of an episode in 800 something is left then
EPISODES = 40_000


def small_mdp():
    """Transitions `[S, A, S + 1]`, rewards and policy `[S, A]`; every step ends the episode with probability 0.2."""
    rng = np.random.default_rng(0)
    moves = rng.dirichlet(np.ones(NUM_STATES), size=(NUM_STATES, NUM_ACTIONS))
    transitions = np.concatenate([0.8 * moves, np.full((NUM_STATES, NUM_ACTIONS, 1), 0.2)], axis=-1)
    logits = rng.normal(size=(NUM_STATES, NUM_ACTIONS))
    policy = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return transitions, rng.normal(size=(NUM_STATES, NUM_ACTIONS)), policy


def exact_values(transitions, rewards, policy):
    """V and Q of the policy, by solving Bellman's equation."""
    chain = np.einsum("sa,sat->st", policy, transitions[..., :NUM_STATES])
    values = np.linalg.solve(np.eye(NUM_STATES) - GAMMA * chain, np.sum(policy * rewards, axis=-1))
    return values, rewards + GAMMA * transitions[..., :NUM_STATES] @ values


def sample(transitions, rewards, policy):
    """States, actions, rewards, next states `[T, episodes]`, all episodes from state 0."""
    rng = np.random.default_rng(1)
    state = np.zeros(EPISODES, int)
    steps = []
    pick = lambda probabilities: (rng.random((EPISODES, 1)) > np.cumsum(probabilities, -1)[:, :-1]).sum(-1)  # noqa: E731
    extended = np.concatenate([transitions, np.eye(NUM_STATES + 1)[None, -1:].repeat(NUM_ACTIONS, 1)])
    padded_policy = np.concatenate([policy, policy[:1]])
    padded_rewards = np.concatenate([rewards, np.zeros((1, NUM_ACTIONS))])
    for _ in range(HORIZON):
        action = pick(padded_policy[state])
        successor = pick(extended[state, action])
        steps.append((state, action, padded_rewards[state, action], successor))
        state = successor
    return [np.stack(column) for column in zip(*steps, strict=True)]


@pytest.fixture(scope="module")
def world():
    transitions, rewards, policy = small_mdp()
    values, action_values = exact_values(transitions, rewards, policy)
    states, actions, sampled_rewards, successors = sample(transitions, rewards, policy)
    scores = np.eye(NUM_ACTIONS)[actions[0]] - policy[0]  # gradient of log pi(a_0|s_0) by the logits of state 0
    exact = np.sum(policy[0][:, None] * (action_values[0] - values[0])[:, None] * (np.eye(NUM_ACTIONS) - policy[0]), 0)
    return values, (states, sampled_rewards, successors), scores, exact


def gradient_estimate(world, table, estimator):
    """Mean and standard error of A_0 times the score of the first action."""
    _, (states, rewards, successors), scores, _ = world
    padded = np.append(table, 123.0)  # beyond the end the table may say anything
    flags = successors == TERMINAL
    advantages = estimator(
        *map(jnp.asarray, (rewards, padded[states], padded[successors], flags, np.zeros_like(flags)))
    )
    samples = np.asarray(advantages[0], np.float64)[:, None] * scores
    return samples.mean(0), samples.std(0) / np.sqrt(EPISODES)


def gae_with(gae_lambda):
    return lambda *trajectory: kernels.gae(*trajectory, gamma=GAMMA, gae_lambda=gae_lambda)[0]


def k_step(k):
    return lambda *trajectory: kernels.k_step_advantages(*trajectory, k=k, gamma=GAMMA)


def reward_to_go(rewards, _, next_values, terminated, truncated):
    return kernels.discounted_returns(rewards, next_values, terminated, truncated, gamma=GAMMA)


def total_reward(rewards, _, next_values, terminated, truncated):
    return kernels.trajectory_returns(rewards, next_values, terminated, truncated, gamma=GAMMA)


@pytest.mark.parametrize(
    "estimator", [gae_with(0.0), gae_with(0.5), gae_with(1.0), k_step(1), k_step(3), reward_to_go, total_reward]
)
def test_with_the_true_values_every_estimator_is_gamma_just(world, estimator):
    mean, error = gradient_estimate(world, world[0], estimator)
    assert np.all(np.abs(mean - world[3]) < 4.0 * error)


WRONG = np.array([-8.0, 0.0, 5.0])


@pytest.mark.parametrize("estimator", [gae_with(1.0), k_step(HORIZON), reward_to_go])
def test_with_wrong_values_only_whole_returns_stay_unbiased(world, estimator):
    mean, error = gradient_estimate(world, WRONG, estimator)
    assert np.all(np.abs(mean - world[3]) < 4.0 * error)


def test_with_wrong_values_gae_is_biased_and_less_so_the_larger_lambda(world):
    biases = []
    for gae_lambda in (0.0, 0.5, 0.9):
        mean, error = gradient_estimate(world, WRONG, gae_with(gae_lambda))
        biases.append(np.abs(mean - world[3]).max())
        if gae_lambda < 0.9:
            assert biases[-1] > 8.0 * error.max(), (gae_lambda, biases[-1] / error.max())
    assert biases[0] > biases[1] > biases[2]


def test_variance_grows_with_lambda(world):
    errors = [gradient_estimate(world, world[0], gae_with(gae_lambda))[1].max() for gae_lambda in (0.0, 0.5, 1.0)]
    assert errors[0] < errors[1] < errors[2]


def random_trajectory(seed, num_steps=12):
    rng = np.random.default_rng(seed)
    rewards, values, next_values = rng.normal(size=(3, num_steps))
    return rewards, values, next_values, rng.random(num_steps) < 0.15, rng.random(num_steps) < 0.15


@pytest.mark.parametrize("seed", range(5))
def test_gae_is_the_steeper_discounted_sum_of_rewards_shaped_by_the_values(seed):
    """eq. 25: discount gamma * lambda, Phi = V."""
    rewards, values, next_values, terminated, truncated = map(jnp.asarray, random_trajectory(seed))
    shaped = kernels.shaped_rewards(rewards, values, next_values, terminated, gamma=0.9)
    summed = kernels.discounted_returns(shaped, jnp.zeros_like(shaped), terminated, truncated, gamma=0.9 * 0.8)
    advantages, _ = kernels.gae(rewards, values, next_values, terminated, truncated, gamma=0.9, gae_lambda=0.8)
    np.testing.assert_allclose(summed, advantages, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_shaping_by_any_potential_shifts_returns_by_it_and_advantages_by_nothing(seed):
    """eq. 21-24: sums of shaped rewards are the old ones minus Phi(s); Q and V move alike."""
    rng = np.random.default_rng(seed)
    potentials = rng.normal(size=13) * 10.0
    potentials, next_potentials = potentials[:-1], potentials[1:]
    rewards = rng.normal(size=12)
    terminated = np.arange(12) == 11
    with jax.enable_x64(True):
        never, zero = jnp.zeros(12, bool), jnp.zeros(12)
        shaped = kernels.shaped_rewards(
            *map(jnp.asarray, (rewards, potentials, next_potentials, terminated)), gamma=0.9
        )
        plain, moved = (
            kernels.discounted_returns(jnp.asarray(r), zero, jnp.asarray(terminated), never, gamma=0.9)
            for r in (rewards, shaped)
        )
    np.testing.assert_allclose(moved, plain - potentials, rtol=1e-6, atol=1e-6)


def test_batch_major_arrays_give_the_same_advantages():
    rng = np.random.default_rng(0)
    rewards, values, done = rng.normal(size=(3, 5)), rng.normal(size=(3, 6)), rng.random((3, 5)) < 0.3
    ours = kernels.gae_batch_major(*map(jnp.asarray, (done, rewards, values)), gamma=0.99, gae_lambda=0.95)
    for worker in range(3):
        following = 0.0
        for t in reversed(range(5)):
            alive = 1.0 - done[worker, t]
            delta = rewards[worker, t] + 0.99 * alive * values[worker, t + 1] - values[worker, t]
            following = delta + 0.99 * 0.95 * alive * following
            assert ours[worker, t] == pytest.approx(following, rel=1e-4, abs=1e-5)


def test_batch_major_values_without_the_last_column_are_refused():
    with pytest.raises(ValueError, match=r"values is \[3, 5\].*must be \[3, 6\], one column behind the last step"):
        kernels.gae_batch_major(jnp.zeros((3, 5)), jnp.zeros((3, 5)), jnp.zeros((3, 5)), gamma=0.99, gae_lambda=0.95)
