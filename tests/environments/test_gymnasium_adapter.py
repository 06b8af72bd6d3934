"""Gymnasium's environments through the adapter, against Gymnasium's own steps with the same seeds and actions."""

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces  # noqa: E402
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv  # noqa: E402

from purejaxrl_gae import PPOConfig  # noqa: E402
from purejaxrl_gae.environments import (  # noqa: E402
    BoxActions,
    DiscreteActions,
    from_gymnasium,
    host_wrappers,
    make_environment,
)
from purejaxrl_gae.environments.host_environment import CopyFailure, copy_seeds  # noqa: E402
from purejaxrl_gae.environments.host_wrappers import end_nonfinite_episodes, require_allowed_actions  # noqa: E402
from purejaxrl_gae.program import training  # noqa: E402
from purejaxrl_gae.settings.errors import UserError  # noqa: E402


class Counting(gymnasium.Env):
    """Shows the step and the episode; terminated after 5 steps, truncated after 3 in every second episode."""

    observation_space = spaces.Box(-1.0, 100.0, (2,), np.float64)
    action_space = spaces.Box(-1.0, 2.0, (1, 2), np.float32)

    def __init__(self):
        self.episode, self.actions = -1, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time, self.episode = 0, self.episode + 1
        return self.observation(), {}

    def observation(self):
        return np.array([self.time, self.episode], np.float64)

    def step(self, action):
        self.time += 1
        self.actions.append(np.asarray(action))
        return self.observation(), 10.0 * self.time, self.time == 5, self.time == 3 and self.episode % 2 == 0, {}


class TwoActions(Counting):
    action_space = spaces.Discrete(2, start=3)


def random_actions(environment, num_envs, steps, seed=0):
    generator = np.random.default_rng(seed)
    if isinstance(environment.actions, DiscreteActions):
        return generator.integers(0, environment.actions.n, (steps, num_envs))
    return generator.uniform(-1.0, 1.0, (steps, num_envs, *environment.actions.shape)).astype(np.float32)


def assert_steps_like_gymnasium(env_id, *, steps, num_envs=3, **limit):
    environment = from_gymnasium(env_id, **limit)
    copies = environment.open(num_envs, 7)
    own = [gymnasium.make(env_id, **limit) for _ in range(num_envs)]
    expected = [env.reset(seed=seed)[0] for env, seed in zip(own, copy_seeds(7, num_envs), strict=True)]
    np.testing.assert_array_equal(copies.reset(), np.array(expected, np.float32))
    terminations = truncations = 0
    for actions in random_actions(environment, num_envs, steps):
        step = copies.step(actions)
        for index, env in enumerate(own):
            action = int(actions[index]) if actions.ndim == 1 else actions[index]
            observation, reward, terminated, truncated, _ = env.step(action)
            np.testing.assert_array_equal(step.final_observations[index], observation.astype(np.float32))
            assert step.rewards[index] == np.float32(reward)
            assert (step.terminated[index], step.truncated[index]) == (terminated, truncated)
            if terminated or truncated:
                observation = env.reset()[0]
            np.testing.assert_array_equal(step.observations[index], observation.astype(np.float32))
            terminations, truncations = terminations + terminated, truncations + truncated
    copies.close()
    return terminations, truncations


def test_cartpole_steps_like_gymnasiums_own_through_terminations_and_truncations():
    terminations, truncations = assert_steps_like_gymnasium("CartPole-v1", steps=150, max_episode_steps=20)
    assert terminations > 3 and truncations > 3


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Hopper-v5"])
def test_mujoco_steps_like_gymnasiums_own(env_id):
    pytest.importorskip("mujoco")
    terminations, truncations = assert_steps_like_gymnasium(env_id, steps=60, max_episode_steps=25)
    assert truncations > 0 and (terminations > 0) == (env_id == "Hopper-v5")


def test_spaces_and_limits_are_those_of_the_environment():
    cartpole = make_environment("gymnasium:CartPole-v1")
    assert (cartpole.name, cartpole.observation_shape, cartpole.actions) == (
        *("gymnasium:CartPole-v1", (4,)),
        DiscreteActions(2),
    )
    assert cartpole.max_episode_steps == 500
    counting = from_gymnasium(Counting, max_episode_steps=9, action_repeat=2)
    assert counting.actions == BoxActions((1, 2), (-1.0, -1.0), (2.0, 2.0))
    assert counting.max_episode_steps == 5  # decisions that hold 9 steps


def test_final_observations_are_those_before_the_reset():
    copies = from_gymnasium(Counting).open(2, 0)
    copies.reset()
    actions = np.zeros((2, 1, 2), np.float32)
    first = [copies.step(actions) for _ in range(3)][-1]
    assert first.truncated.all() and not first.terminated.any()
    assert first.final_observations.tolist() == [[3.0, 0.0]] * 2 and first.observations.tolist() == [[0.0, 1.0]] * 2
    second = [copies.step(actions) for _ in range(5)][-1]
    assert second.terminated.all() and not second.truncated.any()
    assert second.final_observations.tolist() == [[5.0, 1.0]] * 2 and second.observations.tolist() == [[0.0, 2.0]] * 2


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_vector_env_reports_no_step_from_one_episode_into_the_next(kind, mode):
    vector_env = kind([Counting, Counting], autoreset_mode=mode)
    environment = make_environment(vector_env)
    copies, one_by_one = environment.open(2, 5), from_gymnasium(Counting).open(2, 5)
    assert environment.num_envs == 2
    np.testing.assert_array_equal(copies.reset(), one_by_one.reset())
    for actions in random_actions(environment, 2, 20):
        step, expected = copies.step(actions), one_by_one.step(actions)
        for name in ("observations", "rewards", "terminated", "truncated", "final_observations"):
            np.testing.assert_array_equal(getattr(step, name), getattr(expected, name), err_msg=name)
    vector_env.close()


def test_a_vector_env_that_resets_in_a_step_of_its_own_is_refused():
    vector_env = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point")
    with pytest.raises(UserError, match=r"autoreset_mode NextStep; make it with autoreset_mode = AutoresetMode.SAME"):
        make_environment(vector_env)


def test_a_vector_env_has_the_copies_it_has():
    vector_env = SyncVectorEnv([Counting] * 2)
    with pytest.raises(UserError, match=r"num_envs is 3, but .* is a VectorEnv of 2 copies"):
        training.prepare(PPOConfig(env=vector_env, num_envs=3))


def test_an_evaluation_in_between_is_not_passed_over():
    environment = make_environment(SyncVectorEnv([Counting] * 2))
    first, second = environment.open(2, 0), environment.open(2, 1)
    second.reset()
    with pytest.raises(UserError, match="an evaluation has taken over"):
        first.step(np.zeros((2, 1, 2), np.float32))


def test_repeated_actions_add_rewards_up_and_stop_at_the_end():
    copies = from_gymnasium(Counting, action_repeat=2).open(1, 0)
    copies.reset()
    first, second = (copies.step(np.zeros((1, 1, 2), np.float32)) for _ in range(2))
    assert first.rewards.tolist() == [30.0] and first.final_observations.tolist() == [[2.0, 0.0]]
    assert second.rewards.tolist() == [30.0] and second.truncated.tolist() == [True]  # the third step alone
    assert second.final_observations.tolist() == [[3.0, 0.0]]


def test_actions_begin_where_the_space_begins():
    env = TwoActions()
    copies = from_gymnasium(lambda: env).open(1, 0)
    copies.reset()
    env.actions.clear()
    copies.step(np.array([1]))
    assert env.actions[0] == 4


def test_sticky_actions_repeat_as_often_as_asked_but_never_in_a_first_step():
    env = Counting()
    copies = from_gymnasium(lambda: env, sticky_actions=0.25).open(1, 0)
    copies.reset()
    env.actions.clear()
    wanted, is_first, first = np.arange(4000, dtype=np.float32), [], True
    for value in wanted:
        is_first.append(first)
        step = copies.step(np.full((1, 1, 2), value))
        first = bool(step.terminated[0] | step.truncated[0])
    taken = np.array([action[0, 0] for action in env.actions])
    repeated, is_first = taken != wanted, np.array(is_first)
    assert not repeated[is_first].any()
    np.testing.assert_array_equal(taken[1:][repeated[1:]], taken[:-1][repeated[1:]])
    assert abs(repeated[~is_first].mean() - 0.25) < 0.03


def test_the_same_seed_plays_the_same_and_a_neighbour_differs():
    def played(seed):
        environment = from_gymnasium("Pendulum-v1", sticky_actions=0.3)
        copies = host_wrappers.stagger_first_episodes(environment).open(2, seed)
        first = copies.reset()
        return np.concatenate([first, *(copies.step(a).observations for a in random_actions(environment, 2, 210))])

    np.testing.assert_array_equal(played(3), played(3))
    assert set(map(tuple, played(3)[:2])).isdisjoint(map(tuple, played(4)[:2]))


def test_staggered_first_episodes_are_cut_once_each_at_its_own_length():
    environment = host_wrappers.stagger_first_episodes(from_gymnasium("Pendulum-v1", max_episode_steps=20))
    copies = environment.open(50, 0)
    copies.reset()
    steps = [copies.step(np.zeros((50, 1), np.float32)) for _ in range(60)]
    truncated = np.array([step.truncated for step in steps])
    first = truncated.argmax(axis=0)
    assert len(set(first)) > 10 and first.max() < 20
    for index in range(50):
        assert np.flatnonzero(truncated[:, index]).tolist() == list(range(first[index], 60, 20))
    cut = steps[first.min()]
    index = int(cut.truncated.argmax())
    assert not np.array_equal(cut.observations[index], cut.final_observations[index])


def test_nonfinite_steps_end_their_episode_and_no_other():
    class Broken(Counting):
        def step(self, action):
            observation, *rest = super().step(action)
            return observation * (np.nan if float(np.sum(action)) > 1.0 else 1.0), *rest

    copies = from_gymnasium(Broken).open(2, 0)
    copies.reset()
    actions = np.zeros((2, 1, 2), np.float32)
    actions[1] = 1.0
    step, nonfinite = end_nonfinite_episodes(copies, copies.step(actions))
    assert nonfinite.tolist() == [False, True] == step.terminated.tolist()
    assert step.rewards.tolist() == [10.0, 0.0]
    assert step.final_observations.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert step.observations[0].tolist() == [1.0, 0.0] and step.observations[1, 0] == 0.0


def test_a_copy_whose_own_mask_allows_no_action_is_named_before_it_acts():
    own = spaces.Dict({"action_mask": spaces.MultiBinary(2), "speed": spaces.Box(-1.0, 1.0, (1,))})
    environment = from_gymnasium(type("Masked", (TwoActions,), {"observation_space": own, "observation": free}))
    masks = {"action_mask": np.array([[0, 1], [0, 0]], np.int8), "speed": np.zeros((2, 1), np.float32)}
    require_allowed_actions(environment, {name: leaf[:1] for name, leaf in masks.items()})
    with pytest.raises(CopyFailure, match=r"^ValueError: action_mask allows no action$") as failure:
        require_allowed_actions(environment, masks)
    assert failure.value.copy == 1


def free(self):
    return {"action_mask": np.ones(2, np.int8), "speed": np.zeros(1, np.float32)}


class Strict(Counting):
    """Refuses what its mask of three and two numbers forbids, from the first step on."""

    action_space = spaces.MultiDiscrete([3, 2], start=[1, 0])

    def observation(self):
        self.mask = np.array([0, self.time % 2, 1, 1, 0], np.int8)
        return np.array([self.time, self.episode], np.float64)

    def step(self, action):
        assert self.mask[action[0] - 1] and self.mask[3 + action[1]]
        return super().step(action)


class StrictInObservation(Strict):
    observation_space = spaces.Dict({"action_mask": spaces.MultiBinary(5), "seen": spaces.Box(-1.0, 100.0, (2,))})

    def observation(self):
        seen = super().observation()
        return {"action_mask": self.mask, "seen": seen.astype(np.float32)}


class StrictInInfo(Strict):
    def told(self):
        return {"action_mask": self.mask}

    def reset(self, **options):
        return super().reset(**options)[0], self.told()

    def step(self, action):
        return *super().step(action)[:4], self.told()


class StrictInTwo(StrictInInfo):
    def told(self):
        return {"action_mask": (self.mask[:3], self.mask[3:])}


@pytest.mark.parametrize("env", [StrictInObservation, StrictInInfo, StrictInTwo])
def test_masks_of_several_numbers_hold_from_the_first_step_on(env):
    copies = from_gymnasium(env).open(2, 0)
    shown = copies.reset()
    for _ in range(12):
        masks = shown.pop("action_mask")
        (numbers,) = shown.values()
        np.testing.assert_array_equal(masks, [[0, time % 2, 1, 1, 0] for time in numbers[:, 0]])
        shown = copies.step(np.array([[2, 0], [2, 0]])).observations
    with pytest.raises(CopyFailure, match="AssertionError"):
        copies.step(np.array([[0, 0], [2, 0]]))


def changed(**attributes):
    return type("Changed", (Counting,), attributes)


@pytest.mark.parametrize("vector", [False, True])
def test_real_actions_are_rounded_to_a_box_of_whole_numbers(vector):
    made = []

    def make():
        made.append(changed(action_space=spaces.Box(0, 3, (1,), np.int64))())
        return made[-1]

    environment = from_gymnasium(gymnasium.vector.SyncVectorEnv([make] * 2) if vector else make)
    copies = environment.open(2, 0)
    copies.reset()
    copies.step(np.array([[0.6], [2.4]], np.float32))
    assert [env.actions[-1].tolist() for env in made[-2:]] == [[1], [2]]
    assert made[-1].actions[-1].dtype == np.int64


NUMBERS = {  # (space, its observation at a time, as zeros and ones, at time 1)
    "Discrete": (spaces.Discrete(4, start=2), lambda self: 2 + self.time, [0, 1, 0, 0]),
    "MultiDiscrete": (
        spaces.MultiDiscrete([2, 3], start=[0, 5]),
        lambda self: np.array([self.time % 2, 5 + self.time]),
        [0, 1, 0, 1, 0],
    ),
    "of two axes": (
        spaces.MultiDiscrete([[2], [2]]),
        lambda self: np.array([[self.time % 2], [0]]),
        [0, 1, 1, 0],
    ),
    "MultiBinary": (spaces.MultiBinary(3), lambda self: np.array([1, self.time, 0], np.int8), [1, 1, 0]),
}


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("kind", NUMBERS)
def test_whole_numbers_are_seen_as_zeros_and_ones(kind, vector):
    space, observation, expected = NUMBERS[kind]
    make = changed(observation_space=space, observation=observation)
    env = gymnasium.vector.SyncVectorEnv([make] * 2) if vector else make
    environment = from_gymnasium(env)
    assert environment.observation_shape == (len(expected),)
    copies = environment.open(2, 0)
    first = copies.reset()
    step = copies.step(np.zeros((2, *environment.actions.shape), np.float32))
    np.testing.assert_array_equal(step.final_observations, [expected] * 2)
    np.testing.assert_array_equal(step.observations, [expected] * 2)
    np.testing.assert_array_equal(copies.reset_where(np.array([True, False])), [first[0], expected])
    assert first.dtype == step.observations.dtype == np.float32 or kind == "MultiBinary"


def four_values(self, action):
    return self.observation(), 0.0, False, {}


def raising(error):
    def call(self, *arguments, **options):
        raise error

    return call


WRONG = {
    "a first step that raises": (
        changed(step=raising(KeyError("motor\nbroke"))),
        "step of Changed raised KeyError: 'motor",
    ),
    "a first step that exits": (changed(step=raising(SystemExit(3))), "step of Changed raised SystemExit: 3"),
    "a first reset that raises": (
        changed(reset=raising(OSError(5, "io"))),
        "reset of Changed raised OSError: .Errno 5. io",
    ),
    "text in a Dict": (
        changed(observation_space=spaces.Dict(a=spaces.Box(0.0, 1.0), b=spaces.Text(3))),
        "observation_space of Changed has Text, which is not supported; it must be of Box, Discrete",
    ),
    "a Dict without a key": (
        changed(observation_space=spaces.Dict(a=spaces.Box(0.0, 1.0)), observation=lambda self: {"b": np.zeros(1)}),
        r"observation from reset of Changed is a dict; its observation_space says \{a: \[1\]\}",
    ),
    "too many numbers": (
        changed(observation_space=spaces.Discrete(10**6), observation=lambda self: 0),
        "observation_space of Changed has 1,000,000 discrete values; at most 65,536 are encoded",
    ),
    "text as an action": (changed(action_space=spaces.Tuple([spaces.Text(3)])), "action_space of Changed is Text"),
    "another shape": (
        changed(observation=lambda self: np.zeros(3)),
        r"observation from reset of Changed has shape \(3,\); its observation_space says \(2,\)",
    ),
    "another shape in step": (
        changed(step=lambda self, action: (np.zeros(1), 0.0, False, False, {})),
        r"observation from step of Changed has shape \(1,\)",
    ),
    "the old step": (changed(step=four_values), "step of Changed returns 4 values; Gymnasium's five are needed"),
    "the old reset": (changed(reset=lambda self, **_: np.zeros(2)), "reset of Changed must return .observation, info."),
    "vector rewards": (
        changed(step=lambda self, action: (self.observation(), np.zeros(2), False, False, {})),
        r"reward of Changed has shape \(2,\)",
    ),
    "no factory": (Counting(), "env is a Counting, one copy; give a function that makes one"),
    "makes something else": (lambda: 3, "env makes a int; it must make a gymnasium.Env"),
    "nothing": (3, "env is a int; it must be an id"),
    "an unknown id": ("HalfCheeta-v5", "Gymnasium does not know; did you mean 'HalfCheetah-v5'"),
    "an unknown version": ("CartPole-v7", "did you mean 'CartPole-v"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_breaks_the_interface_is_refused_in_one_line(case):
    env, message = WRONG[case]
    with pytest.raises(UserError, match=message) as error:
        from_gymnasium(env)
    assert "\n" not in str(error.value)


def test_the_old_step_is_refused_inside_gymnasiums_wrappers_too():
    with pytest.raises(UserError, match="returns 4 values"):
        from_gymnasium(changed(step=four_values), max_episode_steps=5)


def test_wrong_arguments_are_refused_in_one_line():
    with pytest.raises(UserError, match=r"cannot be made with env_args {'mass': 2}: .*mass"):
        from_gymnasium("CartPole-v1", env_args={"mass": 2})
    with pytest.raises(UserError, match=r"env_args is {'mass': 2}, but env is an object"):
        from_gymnasium(Counting, env_args={"mass": 2})


def test_arguments_reach_the_environment():
    copies = from_gymnasium("CartPole-v1", env_args={"sutton_barto_reward": True}).open(1, 0)
    copies.reset()
    assert copies.step(np.zeros(1)).rewards.tolist() == [0.0]


def test_an_observation_that_changes_its_shape_later_is_refused():
    class Shrinking(Counting):
        def observation(self):
            return super().observation()[: 2 if self.time < 2 else 1]

    copies = from_gymnasium(Shrinking).open(1, 0)
    copies.reset()
    copies.step(np.zeros((1, 1, 2), np.float32))
    with pytest.raises(CopyFailure, match=r"has shape \(1,\); its observation_space says \(2,\)") as failure:
        copies.step(np.zeros((1, 1, 2), np.float32))
    assert failure.value.copy == 0


def test_frames_are_pictures_of_copy_0():
    environment = from_gymnasium(changed(render=lambda self: np.full((4, 6, 3), self.time, np.uint8)))
    copies = environment.open(2, 0, render=True)
    copies.reset()
    copies.step(np.zeros((2, 1, 2), np.float32))
    assert copies.frame().tolist() == np.ones((4, 6, 3)).tolist()


def test_an_environment_that_shows_nothing_says_so():
    copies = from_gymnasium(changed(render=lambda self: None)).open(1, 0, render=True)
    copies.reset()
    with pytest.raises(UserError, match="Changed shows nothing; make it with render_mode='rgb_array'"):
        copies.frame()
