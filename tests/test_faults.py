"""The table of the documents' faults: it is that of its records, and every row is a config that trains."""

import json
from dataclasses import replace

import jax.numpy as jnp
import pytest

from benchmarks import fault_parts, faults, time_limits
from purejaxrl_gae import kernels


def test_the_page_has_the_table_of_the_records():
    assert faults.table(json.loads(faults.RESULTS.read_text())) in faults.PAGE.read_text()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.what)
def test_every_fault_is_a_change_of_a_valid_config(fault):
    wrong = replace(fault.right, **fault.fields)
    assert wrong != fault.right
    wrong.validate()


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
