"""Brax behind the contract: its own steps, the observation at the very end, time limits, refusals in one line."""

import warnings
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl_gae.environments import BoxActions, from_brax, make_environment
from purejaxrl_gae.environments.physics import mend_clip
from purejaxrl_gae.settings.errors import UserError

pytest.importorskip("brax")

NUM_ENVS, NUM_STEPS, LIMIT = 4, 60, 25
SPRING = ("backend=spring",)
QUICK = {"xla_backend_optimization_level": "0"}  # to compile


@pytest.fixture(scope="module")
def environment():
    return make_environment("brax:inverted_pendulum", env_args=SPRING, max_episode_steps=LIMIT)


@pytest.fixture(scope="module")
def own():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from brax import envs

        return envs.get_environment("inverted_pendulum", backend="spring")


@pytest.fixture(scope="module")
def played(environment):
    """Observations acted on, actions, states before each step, and Steps, over time; copy 0 stays up, untouched."""

    @partial(jax.jit, compiler_options=QUICK)
    def play(key):
        reset_key, action_key, step_key = jax.random.split(key, 3)
        states, observations = environment.reset(reset_key, NUM_ENVS)
        actions = jax.random.uniform(action_key, (NUM_STEPS, NUM_ENVS, 1), minval=-1.0, maxval=1.0)
        actions = jnp.where(actions >= 0.0, 1.0, -1.0).at[:, 2:].set(1.0).at[:, 0].set(0.0)

        def one(carry, inputs):
            states, observations = carry
            step = environment.step(inputs[1], states, inputs[0])
            return (step.states, step.observations), (observations, inputs[0], states, step)

        return jax.lax.scan(one, (states, observations), (actions, jax.random.split(step_key, NUM_STEPS)))[1]

    return jax.device_get(play(jax.random.key(0)))


def test_steps_are_braxs_own(own, played):
    _, actions, states, steps = played
    inner = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), states.inner)
    expected = jax.jit(jax.vmap(own.step), compiler_options=QUICK)(inner, actions.reshape(-1, 1))
    shape = (NUM_STEPS, NUM_ENVS)
    final = steps.final_observations.reshape(-1, 4)
    np.testing.assert_allclose(final, expected.obs, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(steps.rewards.reshape(-1), expected.reward)
    np.testing.assert_array_equal(steps.terminated, np.asarray(expected.done).reshape(shape) == 1.0)


def test_the_start_is_braxs_own_for_the_same_keys(environment, own, played):
    keys = jax.random.split(jax.random.split(jax.random.key(0), 3)[0], NUM_ENVS)
    expected = jax.jit(jax.vmap(own.reset), compiler_options=QUICK)(keys)
    np.testing.assert_allclose(played[0][0], expected.obs, rtol=1e-5, atol=1e-6)


def test_a_fall_terminates_and_shows_the_fallen_pole(played):
    observations, _, states, steps = played
    where = np.argwhere(steps.terminated)
    assert len(where) >= 3
    assert not np.any(steps.terminated & steps.truncated)
    for t, copy in where:
        assert abs(steps.final_observations[t, copy, 1]) > 0.2, "the successor is shown before the reset"
        assert np.all(np.abs(steps.observations[t, copy]) < 0.02), "the next episode starts upright"
        if t + 1 < NUM_STEPS:
            np.testing.assert_array_equal(observations[t + 1, copy], steps.observations[t, copy])
            assert states.steps[t + 1, copy] == 0


def test_a_time_limit_truncates_and_shows_the_true_successor(played):
    observations, _, _, steps = played
    assert not steps.terminated[:, 0].any(), "copy 0 was to stay up"
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated[:, 0]), [LIMIT - 1, 2 * LIMIT - 1])
    final, following = steps.final_observations[LIMIT - 1, 0], observations[LIMIT, 0]
    assert np.abs(final).max() > 0.02, "the pole has gathered speed meanwhile"
    assert np.all(np.abs(following) < 0.011)


def test_elsewhere_the_successor_is_what_is_acted_on_next(played):
    steps = played[3]
    going_on = ~(steps.terminated | steps.truncated)
    np.testing.assert_array_equal(steps.observations[going_on], steps.final_observations[going_on])


def test_episodes_start_differently(played):
    steps = played[3]
    starts = steps.observations[steps.terminated | steps.truncated]
    assert len(np.unique(starts, axis=0)) == len(starts) >= 5


def test_what_it_says_of_itself(environment):
    assert environment.name == "brax:inverted_pendulum"
    assert environment.observation_shape == (4,)
    assert environment.actions == BoxActions((1,), (-1.0,), (1.0,))
    assert environment.max_episode_steps == LIMIT


@pytest.mark.parametrize("backend", ["generalized", "positional"])
def test_the_back_end_and_the_usual_time_limit(backend):
    environment = make_environment("brax:inverted_pendulum", env_args=(f"backend={backend}",))
    assert environment.max_episode_steps == 1000
    states, _ = jax.eval_shape(lambda key: environment.reset(key, 2), jax.random.key(0))
    assert type(states.inner.pipeline_state).__module__ == f"brax.{backend}.base"


@pytest.mark.parametrize(
    "task", ["halfcheetah", "hopper", "walker2d", "reacher", "inverted_double_pendulum", "humanoid"]
)
def test_every_task_can_be_stepped_with_its_presets_back_end(task):
    environment = make_environment(f"brax:{task}", env_args=SPRING)
    assert stepped_shapes(environment).final_observations.shape == (2, *environment.observation_shape)


def test_the_swimmer_can_be_stepped_whatever_jax_calls_the_bounds_of_clip():
    assert stepped_shapes(make_environment("brax:swimmer")).rewards.shape == (2,)


def stepped_shapes(environment):
    def step(key):
        states, _ = environment.reset(key, 2)
        return environment.step(key, states, jnp.zeros((2, environment.actions.size)))

    return jax.eval_shape(step, jax.random.key(0))


def test_the_default_back_end_is_braxs_own():
    states, _ = jax.eval_shape(lambda key: make_environment("brax:reacher").reset(key, 2), jax.random.key(0))
    assert type(states.inner.pipeline_state).__module__ == "brax.generalized.base"


def test_an_object_of_brax_is_taken_and_a_wrapped_one_refused(own):
    from brax.envs.wrappers.training import AutoResetWrapper, VmapWrapper

    assert make_environment(own, max_episode_steps=7).max_episode_steps == 7
    with pytest.raises(UserError, match="wrapped in AutoResetWrapper"):
        from_brax(AutoResetWrapper(VmapWrapper(own)))


@pytest.mark.parametrize(
    "env, env_args, message",
    [
        ("brax:halfcheeta", (), "env is 'brax:halfcheeta', which Brax does not know; did you mean 'halfcheetah'?"),
        ("brax:hopper", ("backend=sprung",), "env_args has backend=sprung; it must be one of generalized, spring"),
        ("brax:hopper", ("helthy_reward=2",), "brax:hopper does not take; did you mean 'healthy_reward'?"),
        ("brax:swimmer", SPRING, "env is 'brax:swimmer backend=spring', which cannot be built: Unsupported backend"),
        ("brax:hopper", ("backend",), "env_args has 'backend'; it must be name=value"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(env, env_args, message):
    with pytest.raises(UserError) as error:
        make_environment(env, env_args=env_args)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_of_brax_reaches_the_screen(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_environment("brax:halfcheetah")
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir()), "MuJoCo wrote a log"


def test_frames_or_one_line(environment, played):
    states = [jax.tree.map(lambda leaf, t=t: leaf[t, 2], played[2]) for t in (0, 3)]
    try:
        frames = environment.render(states)
    except UserError as error:
        assert "cannot be rendered here" in str(error) and "\n" not in str(error)
        return
    assert [frame.shape for frame in frames] == [(240, 320, 3)] * 2
    assert frames[0].dtype == np.uint8
    assert np.any(frames[0] != frames[1])


def test_a_module_that_names_the_bounds_of_clip_as_before_is_mended_and_no_other():
    old, other = SimpleNamespace(jp=jnp), SimpleNamespace(jp=np)
    for module in (old, other):
        mend_clip(module)
    np.testing.assert_array_equal(old.jp.clip(jnp.array([-2.0, 2.0]), a_max=1.0), [-2.0, 1.0])
    np.testing.assert_array_equal(old.jp.clip(jnp.array([-2.0, 2.0]), -1.0, 1.0), [-1.0, 1.0])
    assert old.jp.float32 is jnp.float32 and other.jp is np
