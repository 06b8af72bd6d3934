"""The optimizers take the step their formula says."""

import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.optimizers import make_optimizer


@pytest.mark.parametrize("adam_eps", [1e-8, 1e-5, 1.0])
def test_adams_first_step_is_the_gradient_over_its_size_and_epsilon(adam_eps):
    gradient = jnp.array([3e-6, -0.2])
    optimizer = make_optimizer(jnp.float32(0.1), jnp.array(jnp.inf), jnp.float32(adam_eps))
    changes, _ = optimizer.update(gradient, optimizer.init(gradient))
    np.testing.assert_allclose(changes, -0.1 * gradient / (np.abs(gradient) + adam_eps), rtol=1e-5)
