"""Schedules begin, end and lie in between where they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae import A2CConfig, PPOConfig
from purejaxrl_gae.program import schedules
from purejaxrl_gae.program.training import traced_hyperparameters
from purejaxrl_gae.settings.errors import UserError


@pytest.mark.parametrize(
    "name, at, factors",
    [
        ("linear", [0.0, 0.25, 1.0, 1.5], [1.0, 0.75, 0.0, 0.0]),
        ("constant", [0.0, 0.5, 1.0], [1.0, 1.0, 1.0]),
        ("kl_adaptive", [0.0, 0.5, 1.0], [1.0, 1.0, 1.0]),
        ("cosine", [0.0, 1 / 3, 0.5, 1.0, 1.5], [1.0, 0.75, 0.5, 0.0, 0.0]),
        ("warmup_cosine", [0.0, 0.05, 0.1, 0.55, 1.0, 1.5], [0.1, 0.55, 1.0, 0.5, 0.0, 0.0]),
    ],
)
def test_factors_at_known_points(name, at, factors):
    schedule = schedules.schedule_of(PPOConfig(schedule=name))
    np.testing.assert_allclose(schedule(jnp.array(at)), factors, atol=1e-6)


def test_auto_is_linear_where_the_rate_is_annealed_and_constant_elsewhere():
    assert schedules.schedule_of(PPOConfig(anneal_lr=True)) is schedules.linear
    assert schedules.schedule_of(PPOConfig(anneal_lr=False)) is schedules.constant
    assert schedules.schedule_of(PPOConfig(anneal_lr=True, schedule="constant")) is schedules.constant


def test_a_schedule_multiplies_the_learning_rate_and_nothing_else_and_gets_no_progress_beyond_1():
    config = A2CConfig(schedule=lambda progress: 1.0 + progress, learning_rate=0.5)
    before = traced_hyperparameters(config)
    after = jax.jit(lambda progress: schedules.scheduled(config, before, progress))(jnp.float32(7.0))
    assert after.learning_rate == 1.0
    assert after.replace(learning_rate=before.learning_rate) == before


def fails(progress):
    raise ValueError("no such thing")


@pytest.mark.parametrize(
    "schedule, message",
    [
        ("cosin", "schedule is 'cosin'; it must be one of 'auto', 'linear', 'constant', 'cosine', 'warmup_c"),
        (fails, "fails, which raised ValueError: no such thing"),
        (lambda progress: jnp.stack([progress, progress]), "returned float32[2]; it must return one real number"),
        (lambda progress: "half", "schedule is "),
        (0.5, "schedule is 0.5, a float; it must be a function"),
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_in_one_line_before_compiling(schedule, message):
    with pytest.raises(UserError) as error:
        schedules.check_schedule(PPOConfig(schedule=schedule))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("schedule", [lambda progress: 1, lambda progress: 0.5, lambda progress: progress * progress])
def test_any_real_number_is_a_factor(schedule):
    schedules.check_schedule(PPOConfig(schedule=schedule))
