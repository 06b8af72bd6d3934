"""Epochs for an accelerator, whose advantages are normalised ahead, learn what they learn on a CPU."""

import jax
import numpy as np
import pytest

from purejaxrl_gae.parallel.platform import traced_for
from purejaxrl_gae.program import algorithms, training
from tests.configs import tiny_ppo


def learned(config, platform):
    """Parameters after one update, traced for a platform."""
    algorithm = algorithms.make_algorithm(config)
    with traced_for(platform):

        def once(key):
            state = training.init_state(algorithm, key, algorithm.hyperparameters)
            return training.update(algorithm, algorithm.hyperparameters, state)[:2]

        state, metrics = jax.jit(once)(jax.random.key(3))
    return state.learner.params, metrics


@pytest.mark.parametrize(
    "more",
    [
        {},
        dict(minibatch_sampling="trajectories"),
        dict(memory="gru"),
        dict(recompute_advantages=True, gradient_chunk=8),
    ],
)
def test_an_update_is_the_same_up_to_rounding_on_every_platform(more):
    expected, found = (learned(tiny_ppo(learning_rate=1e-3, **more), platform) for platform in ("cpu", "cuda"))
    jax.tree.map(lambda own, other: np.testing.assert_allclose(own, other, rtol=1e-3, atol=2e-5), found, expected)
    assert found[1]["approx_kl"] > 0
