"""A policy as JSON holds the same numbers."""

import json

import numpy as np
import pytest

from purejaxrl_gae import UserError
from purejaxrl_gae.runs.numpy_policy import NumpyConvolutions, NumpyOneHot
from purejaxrl_gae.runs.policy_json import policy_json
from tests.runs.json_policies import from_json, random_policy


@pytest.mark.parametrize("discrete", [True, False])
def test_numbers_survive_to_the_last_bit(discrete):
    policy = random_policy(np.random.default_rng(0), discrete=discrete)
    again = from_json(json.loads(policy_json(policy)))
    observations = np.random.default_rng(1).normal(size=(20, 3))
    np.testing.assert_array_equal(policy.outputs(observations), again.outputs(observations))
    np.testing.assert_array_equal(policy.act(observations), again.act(observations))
    np.testing.assert_array_equal(
        policy.act(observations, np.random.default_rng(2)), again.act(observations, np.random.default_rng(2))
    )


def test_what_a_page_could_not_act_from_is_refused():
    rng = np.random.default_rng(0)
    convolutions = NumpyConvolutions([], 1.0, False)
    with pytest.raises(UserError, match=r"^policy has convolutions; as JSON it must have dense layers"):
        policy_json(random_policy(rng, convolutions=convolutions))
    one_hot = NumpyOneHot((), np.array([3]), np.array([0]))
    with pytest.raises(UserError, match=r"^policy has observations that are whole numbers;"):
        policy_json(random_policy(rng, one_hot=one_hot))
