"""gymnax behind the contract: its own steps, the true final observation, and refusals in one line."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from purejaxrl_gae.environments import BoxActions, DiscreteActions, make_environment, probes
from purejaxrl_gae.settings.errors import UserError

NEEDS_FILES = ("MNISTBandit-bsuite",)  # loads a data set at construction
CLASSIC_AND_MINATAR = [
    env_id
    for env_id in gymnax.registered_envs
    if env_id.endswith("-MinAtar")
    or env_id.split("-")[0] in ("CartPole", "Pendulum", "Acrobot", "MountainCar", "MountainCarContinuous")
]


def random_actions(space, key, shape):
    if isinstance(space, DiscreteActions):
        return jax.random.randint(key, shape, 0, space.n)
    return jax.random.uniform(key, (*shape, *space.shape), minval=-1.0, maxval=1.0)


def played(environment, num_steps, num_envs=4, seed=0):
    """All Steps of a random policy, stacked over time, and the observations acted on."""

    @jax.jit
    def play(key):
        reset_key, action_key, step_key = jax.random.split(key, 3)
        states, observations = environment.reset(reset_key, num_envs)

        def one(carry, inputs):
            states, observations = carry
            actions, key = inputs
            step = environment.step(key, states, actions)
            return (step.states, step.observations), (observations, step._replace(states=None))

        actions = random_actions(environment.actions, action_key, (num_steps, num_envs))
        return jax.lax.scan(one, (states, observations), (actions, jax.random.split(step_key, num_steps)))[1]

    return jax.device_get(play(jax.random.key(seed)))


@pytest.mark.parametrize("env_id", CLASSIC_AND_MINATAR)
def test_every_classic_and_minatar_environment_steps_with_its_declared_shapes(env_id):
    environment = make_environment(env_id)
    observations, steps = played(environment, 60, num_envs=2)
    assert observations.shape == (60, 2, *environment.observation_shape)
    assert observations.dtype == steps.rewards.dtype == np.float32
    assert steps.terminated.dtype == steps.truncated.dtype == np.bool_
    assert np.all(np.isfinite(observations)) and np.all(np.isfinite(steps.rewards))
    assert environment.max_episode_steps == gymnax.make(env_id)[1].max_steps_in_episode


@pytest.mark.parametrize("env_id", [e for e in gymnax.registered_envs if e not in (*NEEDS_FILES, *CLASSIC_AND_MINATAR)])
def test_every_other_environment_is_taken_or_refused_in_one_line(env_id):
    try:
        environment = make_environment(env_id)
    except UserError as error:
        assert "\n" not in str(error)
        return
    jax.eval_shape(lambda key: environment.reset(key, 2), jax.random.key(0))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_steps_are_gymnaxs_own_up_to_and_including_the_end(env_id):
    environment = make_environment(env_id)
    env, params = gymnax.make(env_id)
    states, _ = environment.reset(jax.random.key(0), 3)
    own_step, their_step = jax.jit(environment.step), jax.jit(jax.vmap(env.step, (0, 0, 0, None)))
    ended = 0
    for t in range(230):
        actions = random_actions(environment.actions, jax.random.key(100 + t), (3,))
        theirs = their_step(jax.random.split(jax.random.key(t), 3), states, actions, params)
        ours = own_step(jax.random.key(t), states, actions)
        _, _, rewards, terminated, truncated, info = theirs
        np.testing.assert_allclose(ours.final_observations, info["final_observation"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.rewards, rewards, rtol=1e-6)
        np.testing.assert_array_equal(ours.terminated, terminated)
        np.testing.assert_array_equal(ours.truncated, truncated)
        over = np.asarray(terminated | truncated)
        np.testing.assert_allclose(
            np.asarray(ours.observations)[~over], np.asarray(ours.final_observations)[~over], rtol=1e-6
        )
        ended += over.sum()
        states = ours.states
    assert ended >= 3


def test_a_time_limit_truncates_shows_the_true_successor_and_starts_anew():
    environment = make_environment("Pendulum-v1")
    observations, steps = played(environment, 401)
    assert not steps.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated[:, 0]), [199, 399])
    at_limit, after = steps.final_observations[199], observations[200]
    assert np.all(np.abs(at_limit - after).max(-1) > 1e-3), "the observation acted on next is of a new episode"
    assert np.all(np.abs(after[:, 2]) <= 1.0), "which starts slowly, as gymnax's reset does"


def test_a_fall_terminates():
    _, steps = played(make_environment("CartPole-v1"), 60)
    assert steps.terminated.any()
    assert not steps.truncated.any()
    fallen = np.abs(steps.final_observations[steps.terminated])
    assert np.all((fallen[:, 0] > 2.4) | (fallen[:, 2] > 0.2094))


def test_new_episodes_differ_between_copies_and_times():
    observations, steps = played(make_environment("CartPole-v1"), 120, num_envs=8)
    starts = observations[1:][(steps.terminated | steps.truncated)[:-1]]
    assert len(np.unique(starts[:, 0])) == len(starts) > 8


def test_action_spaces_are_read():
    assert make_environment("CartPole-v1").actions == DiscreteActions(2)
    assert make_environment("Pendulum-v1").actions == BoxActions((1,), (-2.0,), (2.0,))
    assert make_environment("Reacher-misc").actions.size == 2


def test_scans_carry_states_with_x64_on():
    with jax.enable_x64(True):
        for env_id in ("CartPole-v1", "Breakout-MinAtar"):
            observations, _ = played(make_environment(env_id), 5)
            assert observations.dtype == np.float32


class Minimal:
    """An object with gymnax's methods and its own six-value step, which resets by itself."""

    observation = jnp.zeros(2)
    reward = jnp.float32(1.0)
    length = 3

    def reset(self, key, params=None):
        return jnp.zeros(2), jnp.int32(0)

    def step(self, key, state, action, params=None):
        truncated = state + 1 >= self.length
        final = self.observation + state + 1
        next_state = jnp.where(truncated, 0, state + 1)
        info = {"final_observation": final}
        return jnp.where(truncated, jnp.zeros(2), final), next_state, self.reward, jnp.array(False), truncated, info

    def observation_space(self, params=None):
        return spaces.Box(-1.0, 1.0, (2,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


def test_an_object_with_its_own_step_is_taken():
    environment = make_environment(Minimal())
    assert (environment.name, environment.max_episode_steps) == ("Minimal", None)
    observations, steps = played(environment, 6, num_envs=2)
    assert steps.truncated[:, 0].tolist() == [False, False, True, False, False, True]
    assert steps.final_observations[:, 0, 0].tolist() == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    assert observations[:, 0, 0].tolist() == [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]


class WholeBox(Minimal):
    def action_space(self, params=None):
        return spaces.Box(0, 3, (), dtype=jnp.int32)

    def step(self, key, state, action, params=None):
        observation, state, _, *rest = super().step(key, state, action)
        return observation, state, jnp.asarray(action, jnp.int32), *rest


def test_real_actions_are_rounded_to_a_box_of_whole_numbers():
    environment = make_environment(WholeBox())
    states, _ = environment.reset(jax.random.key(0), 2)
    assert environment.step(jax.random.key(1), states, jnp.array([0.6, 2.4])).rewards.tolist() == [1.0, 2.0]


class FiveValues(Minimal):
    def step(self, key, state, action, params=None):
        return jnp.zeros(2), state, jnp.float32(0.0), jnp.array(False), {}


class NoFinalObservation(Minimal):
    def step(self, *arguments):
        *rest, _ = super().step(*arguments)
        return *rest, {}


class WrongObservation(Minimal):
    def reset(self, key, params=None):
        return jnp.zeros(3), jnp.int32(0)


class WrongReward(Minimal):
    reward = jnp.ones(2)


class DictObservations(Minimal):
    def observation_space(self, params=None):
        return spaces.Dict({"a": spaces.Discrete(2)})


class TupleActions(Minimal):
    def action_space(self, params=None):
        return spaces.Tuple([spaces.Discrete(2), "text"])


class WantsTwoActions(Minimal):
    def step(self, key, state, action, params=None):
        return super().step(key, state, action.reshape(2)[0], params)


class CrossedBounds(Minimal):
    def action_space(self, params=None):
        return spaces.Box(np.array([-1.0, 1.0]), np.array([1.0, -1.0]), (2,))


class NoBound(Minimal):
    def action_space(self, params=None):
        return spaces.Box(-1.0, float("nan"), (1,))


class SixFromStepEnv(type(gymnax.make("CartPole-v1")[0])):
    def step_env(self, key, state, action, params):
        observation, state, reward, terminated, info = super().step_env(key, state, action, params)
        return observation, state, reward, terminated, jnp.array(False), info


@pytest.mark.parametrize(
    "env, message",
    [
        (CrossedBounds(), "action_space has bounds 1.0 to -1.0 in component 1; low must not be above high"),
        (NoBound(), "action_space has bounds -1.0 to nan in component 0"),
        (SixFromStepEnv(), "returns 6 values; gymnax 1.0's five are needed: (observation, state, reward, terminated"),
        (FiveValues(), "step of FiveValues returns 5 values; gymnax 1.0's six are needed"),
        (NoFinalObservation(), "info of NoFinalObservation has no 'final_observation'"),
        (
            WrongObservation(),
            "observation from reset of WrongObservation has shape (3,); its observation_space says (2,)",
        ),
        (WrongReward(), "reward of WrongReward has shape (2,); it must be a scalar"),
        (DictObservations(), "observation from reset of DictObservations is not of the form that its"),
        (TupleActions(), "action_space of TupleActions is str, which is not supported"),
        (WantsTwoActions(), "step of WantsTwoActions does not accept an action of shape ()"),
        (object(), "env is object, which has no method 'reset'"),
        ("Cartpole-v1", "env is 'Cartpole-v1', which gymnax does not know; did you mean 'CartPole-v1'?"),
    ],
)
def test_a_wrong_environment_is_refused_in_one_line_that_names_the_field(env, message):
    with pytest.raises(UserError) as error:
        make_environment(env)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_parameters_can_be_given():
    env, params = gymnax.make("CartPole-v1")
    environment = make_environment((env, params.replace(max_steps_in_episode=7)))
    assert environment.max_episode_steps == 7
    assert make_environment(environment) is environment


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("name", probes.PROBES)
def test_probes_pay_and_end_as_they_say(name, continuous):
    environment = make_environment(probes.PROBES[name](continuous=continuous))
    observations, steps = played(environment, 16)
    length = {"discount": 2, "endless": 8}.get(name, 1)
    ends = steps.truncated if name == "endless" else steps.terminated
    np.testing.assert_array_equal(ends[:, 0], np.arange(1, 17) % length == 0)
    if name == "observation":
        np.testing.assert_array_equal(steps.rewards, observations[..., 0])
    if name == "discount":
        np.testing.assert_array_equal(steps.rewards[:, 0], np.arange(16) % 2)
    if name in ("constant", "endless"):
        np.testing.assert_array_equal(steps.rewards, 1.0)


@pytest.mark.parametrize("name, sign, right", [("action", 1.0, 1), ("both", 1.0, 1), ("both", -1.0, 0)])
def test_probes_reward_the_right_action(name, sign, right):
    probe = probes.PROBES[name]()
    state = probes.ProbeState(sign=jnp.float32(sign), time=jnp.int32(0))
    rewards = [float(probe.step_env(jax.random.key(0), state, jnp.int32(a), probe.default_params)[2]) for a in (0, 1)]
    assert rewards[right] == 1.0
    assert rewards[1 - right] == -1.0


def test_parameters_of_vmapped_agents_are_each_agents_own():
    env, params = gymnax.make("CartPole-v1")

    def observed(length):
        environment = make_environment((env, params.replace(length=length)))
        states, _ = environment.reset(jax.random.key(0), 2)
        one = lambda states, key: environment.step(key, states, jnp.ones(2, jnp.int32))[:2]  # noqa: E731
        return jax.lax.scan(one, states, jax.random.split(jax.random.key(1), 30))[1]

    lengths = jnp.array([0.25, 0.5, 1.0])
    together = jax.jit(jax.vmap(observed))(lengths)
    np.testing.assert_allclose(together[1], jax.jit(observed)(0.5), rtol=1e-5, atol=1e-6)
    assert not np.allclose(together[0], together[1]) and not np.allclose(together[2], together[1])


def test_a_traced_parameter_that_decides_a_bound_is_refused():
    env, params = gymnax.make("Pendulum-v1")
    with pytest.raises(UserError, match="traced parameter that decides its time limit or the bounds of its spaces"):
        jax.vmap(lambda torque: make_environment((env, params.replace(max_torque=torque))).reset(jax.random.key(0), 1))(
            jnp.array([1.0, 2.0])
        )
