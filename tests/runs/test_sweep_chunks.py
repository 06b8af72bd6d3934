"""What of a sweep shares a program, and what is trained at once."""

import jax
import pytest

from purejaxrl_gae import PPOConfig
from purejaxrl_gae.runs.run_options import SweepOptions
from purejaxrl_gae.runs.sweep_chunks import divide

BASE = PPOConfig(env="CartPole-v1", num_envs=4, num_steps=32, num_minibatches=4, hidden_sizes=(4,))


def chunks(*grid, num_seeds=2, max_agents=0):
    points = SweepOptions(grid=grid).grid_points(PPOConfig)
    return divide(BASE, points, 10, num_seeds, max_agents, jax.devices()[:1])


@pytest.mark.parametrize(
    "grid, programs",
    [
        (("learning_rate=1e-4,1e-3", "gamma=0.9,0.99"), 1),
        (("learning_rate=1e-4,1e-3", "num_steps=16,32"), 2),
        (("gamma=0.9,0.99", "target_kl=none,0.01,0.02"), 2),  # None switches a part of the algorithm off
        (("num_steps=16,32", "target_kl=none,0.01,0.02"), 4),
    ],
)
def test_traced_values_share_a_program_and_shapes_and_switches_have_one_each(grid, programs):
    found = chunks(*grid)
    assert len({chunk.group for chunk in found}) == len(found) == programs
    number = len(SweepOptions(grid=grid).grid_points(PPOConfig))
    assert sorted(index for chunk in found for index in chunk.indices) == list(range(10, 10 + number))


def test_chunks_hold_at_most_so_many_agents_and_are_equally_wide():
    found = chunks("learning_rate=1e-5,1e-4,1e-3,1e-2,1e-1", num_seeds=2, max_agents=4)
    assert len({chunk.group for chunk in found}) == 1 and {chunk.slots for chunk in found} == {2}
    assert [len(chunk.values) for chunk in found] == [2, 2, 1]
