"""EnvPool's copies are reset in the step that ends an episode, so that every transition is one that happened."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from purejaxrl_gae.environments import DiscreteActions, make_environment  # noqa: E402
from purejaxrl_gae.settings.errors import UserError  # noqa: E402


class Pool:
    """Counts steps to 3 and pays the action; like EnvPool it resets in the step behind an end, unpaid."""

    observation_space = gymnasium.spaces.Box(-1.0, 9.0, (1,))
    action_space = gymnasium.spaces.Discrete(4)
    spec = SimpleNamespace(config=SimpleNamespace(max_episode_steps=3))

    def __init__(self, num_envs, seed):
        self.steps, self.seed = np.zeros(num_envs, int), seed

    def shown(self, steps):
        return np.asarray(steps, np.float32)[:, None]

    def reset(self, chosen=slice(None)):
        self.steps[chosen] = 0
        return self.shown(self.steps[chosen]), {}

    def step(self, actions):
        over = self.steps >= 3
        self.steps = np.where(over, 0, self.steps + 1)
        return self.shown(self.steps), np.where(over, 0.0, actions), np.zeros(len(over), bool), self.steps == 3, {}

    def close(self):
        pass


@pytest.fixture
def envpool(monkeypatch):
    def make(env, env_type, num_envs, seed, **env_args):
        assert env_type == "gymnasium"
        if env_args.pop("max_episode_steps", 3) != 3 or env_args:
            raise TypeError("no such argument")
        return Pool(num_envs, seed)

    monkeypatch.setitem(sys.modules, "envpool", SimpleNamespace(make=make, list_all_envs=lambda: ["Counting-v1"]))


def test_no_step_is_a_reset(envpool):
    environment = make_environment("envpool:Counting-v1")
    assert (environment.actions, environment.max_episode_steps) == (DiscreteActions(4), 3)
    copies = environment.open(2, 0)
    np.testing.assert_array_equal(copies.reset(), [[0.0], [0.0]])
    copies.reset_where(np.array([False, True]))
    for shown in (1.0, 2.0, 0.0, 1.0, 2.0, 0.0):
        step = copies.step(np.array([1, 2]))
        np.testing.assert_array_equal(step.observations[:, 0], shown)
        np.testing.assert_array_equal(step.final_observations[:, 0], shown or 3.0)
        np.testing.assert_array_equal(step.rewards, [1.0, 2.0])
        assert np.all(step.truncated == (shown == 0.0)) and not step.terminated.any()
    copies.close()


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        ("envpool:Countin-v1", {}, "env is 'envpool:Countin-v1', which EnvPool does not know; .*Counting-v1"),
        ("envpool:Counting-v1", {"env_args": ("a=1",)}, r"cannot be made with env_args \{'a': 1\}: no such argument"),
        ("envpool:Counting-v1", {"action_repeat": 2}, "action_repeat is 2, which envpool:Counting-v1 does not take"),
        ("envpool:Counting-v1", {"env_workers": 2}, "env_workers is 2, which envpool:Counting-v1 does not take"),
    ],
)
def test_what_it_does_not_take_is_refused_in_one_line(envpool, env, options, message):
    with pytest.raises(UserError, match=message):
        make_environment(env, **options)


def test_without_envpool_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(UserError, match=r"which needs EnvPool: pip install 'purejaxrl-gae\[envpool\]'"):
        make_environment("envpool:Pong-v5")


def test_a_real_pool_shows_every_step():
    pytest.importorskip("envpool")
    copies = make_environment("envpool:CartPole-v1", max_episode_steps=6).open(3, 5)
    before = copies.reset()
    ends = 0
    for _ in range(30):
        step = copies.step(np.array([0, 1, 0]))
        moved = before[:, 0] + 0.02 * before[:, 1]  # Euler's step of the cart, by the velocity before
        np.testing.assert_allclose(step.final_observations[:, 0], moved, atol=1e-5)
        before, ends = step.observations, ends + int((step.terminated | step.truncated).sum())
    assert ends >= 9 and np.all(step.rewards == 1.0)
    np.testing.assert_array_equal(copies.reset(5), make_environment("envpool:CartPole-v1").open(3, 5).reset())


@pytest.mark.parametrize("game", ["Pong-v5", "Breakout-v5"])
def test_an_atari_stack_holds_the_frames_of_one_episode(game):
    pytest.importorskip("envpool")
    copies = make_environment(f"envpool:{game}", max_episode_steps=12).open(3, 5)
    generator, before, ends = np.random.default_rng(0), copies.reset(), 0
    assert before.shape == (3, 4, 84, 84) and before.dtype == np.uint8
    for _ in range(40):
        step = copies.step(generator.integers(0, 4, 3))
        np.testing.assert_array_equal(step.final_observations[:, :3], before[:, 1:])
        ended = step.terminated | step.truncated
        begun, going_on = step.observations[ended], step.observations[~ended]
        np.testing.assert_array_equal(going_on, step.final_observations[~ended])
        np.testing.assert_array_equal(begun, np.repeat(begun[:, :1], 4, axis=1))  # the first frame, four times
        before, ends = step.observations, ends + int(ended.sum())
    assert ends == 9
    copies.close()


def test_its_mujoco_steps_are_gymnasiums():
    pytest.importorskip("envpool")
    pytest.importorskip("mujoco")
    from benchmarks.envpool_agreement import compare

    for task in ("HalfCheetah-v5", "Hopper-v5"):
        found = compare(task, 60)
        assert found["steps"] > 300 and found["ends that differ"] == 0
        assert found["observation, median"] < 1e-12 and found["observation, largest"] < 1e-5
        assert found["reward, largest"] < 1e-6 and found["first observations"] < 0.15
    assert found["ends"] > 0, "of Hopper"
