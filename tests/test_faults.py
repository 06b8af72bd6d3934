"""The table of the documents' faults: it is that of its records, and every row is a config that trains."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import fault_parts, faults, slide_trpo, time_limits
from purejaxrl_gae import kernels, make_agent


def test_the_page_has_the_table_of_the_records():
    assert faults.table(json.loads(faults.RESULTS.read_text())) in faults.PAGE.read_text()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.what)
def test_every_fault_is_a_change_of_a_valid_config(fault):
    assert fault.wrong != fault.right
    fault.wrong.validate()


def test_the_difference_is_of_the_same_seeds():
    assert faults.cells_of({"right": [100.0, 0.0], "wrong": [90.0, -10.0]}) == ["50", "40", "-10 [-10, -10]"]


def test_the_drawn_treatments_are_those_of_the_truth_table():
    advantages = time_limits.treatments()
    assert advantages["truncated: right"].round(4).tolist() == pytest.approx([0.3973, 0.465, -0.0294, -0.01], abs=1e-4)
    assert advantages["taken for an end"].tolist() == pytest.approx([-2.8615, -3.0, -0.0294, -0.01], abs=1e-3)


def test_parts_with_a_fault_differ_from_right_ones_as_they_say():
    rewards, values = jnp.ones((3, 1)), jnp.array([[3.0], [2.0], [1.0]])
    next_values, never = jnp.array([[2.0], [1.0], [5.0]]), jnp.zeros((3, 1), bool)
    known = (rewards, values, next_values, never, never)
    own, _ = fault_parts.own_value_behind_the_last_step(*known, gamma=0.5, gae_lambda=0.0)
    assert own.ravel().tolist() == [-1.0, -0.5, 0.5]  # the last one: 1 + 0.5 * 1 - 1 for 1 + 0.5 * 5 - 1
    whole, targets = fault_parts.values_not_discounted(*known, gamma=0.5, gae_lambda=0.0)
    assert whole.ravel().tolist() == [0.0, 0.0, 5.0] and targets.ravel().tolist() == [2.0, 1.5, 3.5]


def test_ratios_with_a_fault_are_right_in_one_dimension_and_not_in_two():
    old = kernels.DiagonalGaussian(jnp.zeros((2, 2)), jnp.zeros(2))
    new = kernels.DiagonalGaussian(jnp.array([[0.3, -0.2], [0.1, 0.0]]), jnp.zeros(2))
    actions, advantages = jnp.array([[0.5, -1.0], [0.2, 0.4]]), jnp.array([1.0, -2.0])
    for dims, agree in ((1, True), (2, False)):
        both = [kernels.DiagonalGaussian(each.mean[:, :dims], each.log_std[:dims]) for each in (new, old)]
        log_probs = [each.log_prob(actions[:, :dims]) for each in both]
        right = kernels.ppo_clip_loss(*log_probs, advantages, clip_coef=0.2)
        wrong = fault_parts.ratios_of_dimensions(*both, actions[:, :dims], advantages, clip_coef=0.2)
        assert jnp.allclose(right, wrong) == agree
        assert jnp.allclose(fault_parts.ratios_of_probabilities(*log_probs, advantages, clip_coef=0.2), right)


def test_gae_by_a_matrix_is_gae():
    rng = np.random.default_rng(0)
    rewards, values, next_values = jnp.asarray(rng.normal(size=(3, 7, 4)), jnp.float32)
    terminated, truncated = jnp.asarray(rng.random((2, 7, 4)) < 0.2)
    known = (rewards, values, next_values, terminated, truncated)
    expected, _ = kernels.gae(*known, gamma=0.9, gae_lambda=0.8)
    np.testing.assert_allclose(fault_parts.gae_by_matrix(*known, gamma=0.9, gae_lambda=0.8), expected, atol=1e-5)


def test_a_fallen_pole_lies_there_until_its_trajectory_ends():
    env = fault_parts.PaddedCartPole()
    _, start = env.reset_env(jax.random.key(0), env.default_params)

    def step(state, _):
        seen, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, 1, env.default_params)
        return state, (seen, reward, terminated)

    _, (seen, rewards, terminated) = jax.lax.scan(step, start, length=fault_parts.PADDED_STEPS)
    fell = int(rewards.sum())
    assert 5 < fell < 16 and rewards.tolist() == [1.0] * fell + [0.0] * (16 - fell)
    assert terminated.tolist() == [False] * 15 + [True]
    assert jnp.all(seen[fell:] == seen[fell - 1])


def test_padding_has_no_advantage_and_is_what_ends_an_episode():
    rewards, values = jnp.array([[1.0], [1.0], [0.0], [0.0]]), jnp.full((4, 1), 3.0)
    ends, never = jnp.array([[False], [False], [False], [True]]), jnp.zeros((4, 1), bool)
    advantages, targets = fault_parts.padded_gae(rewards, values, values, ends, never, gamma=0.5, gae_lambda=0.0)
    assert advantages.ravel().tolist() == [-0.5, -2.0, 0.0, 0.0]
    assert targets.ravel().tolist() == [2.5, 1.0, 3.0, 3.0]
    advantages, _ = fault_parts.padded_gae(rewards[:2], values[:2], values[:2], ends[2:], never[:2], 0.5, 0.0)
    assert advantages.ravel().tolist() == [-0.5, -2.0]  # a pole that falls in the last step has no padding


@pytest.mark.parametrize("env, moves", [("Pendulum-v1", False), ("CartPole-v1", True)])
def test_the_slides_line_search_lets_steps_pass_where_returns_are_positive(env, moves):
    sizes = {"total_timesteps": 256, "num_envs": 8, "num_steps": 32, "batch_size": 64, "n_critic_updates": 1}
    config = slide_trpo.SlideConfig(env=env, hidden_sizes=(8,), **sizes)
    agent = make_agent(config)
    state = agent.init(jax.random.key(0))
    after, metrics = jax.jit(agent.update)(state)
    same = jax.tree.map(lambda old, new: bool(jnp.all(old == new)), state.learner.params, after.learner.params)
    assert all(jax.tree.leaves(same["policy"])) != moves and not all(jax.tree.leaves(same["value"]))
    assert metrics["line_search_failed"] == 1.0 - moves and (0.0 < metrics["kl"] <= 0.01) == moves
