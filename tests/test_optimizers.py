"""The optimizers take the step their formula says, and the schedules fall where they say."""

import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import A2CConfig, PPOConfig
from purejaxrl_gae.optimizers import annealed, make_optimizer, say_schedule

CONFIG = PPOConfig(total_timesteps=4 * 128, num_envs=4, num_steps=32, learning_rate=1e-3)


@pytest.mark.parametrize("adam_eps", [1e-8, 1e-5, 1.0])
def test_adams_first_step_is_the_gradient_over_its_size_and_epsilon(adam_eps):
    gradient = jnp.array([3e-6, -0.2])
    optimizer = make_optimizer(jnp.float32(0.1), jnp.array(jnp.inf), jnp.float32(adam_eps))
    changes, _ = optimizer.update(gradient, optimizer.init(gradient))
    np.testing.assert_allclose(changes, -0.1 * gradient / (np.abs(gradient) + adam_eps), rtol=1e-5)


def test_an_annealed_value_falls_to_zero_and_never_below():
    progress = jnp.array([0, 1, 3, 4, 5, 196]) / 4.0
    values = annealed(jnp.float32(1e-3), progress)
    np.testing.assert_allclose(values, [1e-3, 7.5e-4, 2.5e-4, 0.0, 0.0, 0.0], rtol=1e-6)


def test_a_schedule_says_where_it_goes_on_and_where_it_ends():
    assert say_schedule(CONFIG, 1) == "learning_rate from 0.00075 to 0 at step 512, the end that total_timesteps sets"
    both = PPOConfig(total_timesteps=512, num_envs=4, num_steps=32, clip_coef=0.2, learning_rate=1e-3, anneal_clip=True)
    assert "learning_rate from 0.0005 and clip_coef from 0.1 to 0 at step 512" in say_schedule(both, 2)


def test_no_schedule_is_said_where_nothing_falls_or_nothing_is_left():
    assert say_schedule(A2CConfig(anneal_lr=False), 1) == ""
    assert say_schedule(CONFIG, 4) == ""
