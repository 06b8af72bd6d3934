"""A policy as JSON holds the same numbers."""

import dataclasses
import json

import numpy as np
import pytest

from purejaxrl_gae import UserError
from purejaxrl_gae.runs.numpy_policy import NumpyConvolutions
from purejaxrl_gae.runs.numpy_spaces import NumpyActions, NumpyOneHot
from purejaxrl_gae.runs.policy_json import policy_json
from tests.runs.json_policies import from_json, one_array, random_policy

POLICY = random_policy(np.random.default_rng(0))
LEAF = POLICY.observations.seen[0]


@pytest.mark.parametrize("policy", [POLICY, random_policy(np.random.default_rng(1), real_actions=True)])
def test_numbers_survive_to_the_last_bit(policy):
    again = from_json(json.loads(policy_json(policy)))
    observations = np.random.default_rng(2).normal(size=(20, 3))
    np.testing.assert_allclose(policy.outputs(observations), again.outputs(observations), rtol=1e-12)
    for (kernel, bias, _), (same_kernel, same_bias, _) in zip(policy.layers, again.layers, strict=True):
        np.testing.assert_array_equal(kernel, same_kernel)
        np.testing.assert_array_equal(bias, same_bias)
    rngs = [np.random.default_rng(3) for _ in range(2)]
    np.testing.assert_allclose(policy.act(observations, rngs[0]), again.act(observations, rngs[1]), rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"convolutions": NumpyConvolutions([], 1.0, False, (1, 1, 3))}, "convolutions"),
        (
            {"observations": one_array((3,), True, NumpyOneHot((), np.array([3]), np.array([0])))},
            "observations that are whole numbers",
        ),
        (
            {"observations": dataclasses.replace(POLICY.observations, seen=(LEAF, LEAF))},
            "observations of several arrays",
        ),
        ({"observations": dataclasses.replace(POLICY.observations, mask=LEAF)}, "masks of actions"),
        ({"actions": NumpyActions("binary", (2,))}, "binary actions"),
    ],
)
def test_what_a_page_could_not_act_from_is_refused(changes, part):
    with pytest.raises(UserError, match=f"^policy has {part}; as JSON it has dense layers alone"):
        policy_json(dataclasses.replace(POLICY, **changes))
