"""Copies in processes do what they do in this one; a copy or a process that fails is named."""

import os
import signal

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from purejaxrl_gae.environments import make_environment  # noqa: E402
from purejaxrl_gae.environments.host_environment import CopyFailure  # noqa: E402
from purejaxrl_gae.settings.errors import UserError  # noqa: E402


def opened(workers, env="gymnasium:Pendulum-v1", **options):
    return make_environment(env, max_episode_steps=4, env_workers=workers, **options).open(3, 5)


def test_trajectories_equal_serial_ones_and_failures_are_named():
    here, there = opened(0, sticky_actions=0.3), opened(2, sticky_actions=0.3)
    generator = np.random.default_rng(0)
    try:
        np.testing.assert_array_equal(there.reset(), here.reset())
        for _ in range(10):
            actions = generator.uniform(-2.0, 2.0, (3, 1)).astype(np.float32)
            for one, other in zip(here.step(actions), there.step(actions), strict=True):
                np.testing.assert_array_equal(other, one)
        mask = np.array([False, True, True])
        np.testing.assert_array_equal(there.reset_where(mask), here.reset_where(mask))
        np.testing.assert_array_equal(there.reset(9), here.reset(9))
        with pytest.raises(CopyFailure, match="Error") as failure:
            there.step(np.full((3, 1), "fast"))
        assert failure.value.copy == 0
        os.kill(there._copies._workers[1].pid, signal.SIGKILL)
        with pytest.raises(CopyFailure, match=r"^its worker process has ended with exit code -9$") as failure:
            there.step(actions)
        assert failure.value.copy == 1
    finally:
        here.close(), there.close()


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("CartPole-v1", "env_workers is 2, but CartPole-v1 is compiled; .* it must be 0"),
        ("gymnasium:ALE/Pong-v5", "env_workers is 2, but env is ALE/Pong-v5, which steps its copies by itself"),
    ],
)
def test_what_steps_itself_takes_no_workers(env, message):
    with pytest.raises(UserError, match=message):
        make_environment(env, env_workers=2)
