"""Training on environments that run on the host: the whole way from the command line, and against pure environments."""

import dataclasses
import json
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium import spaces  # noqa: E402

from purejaxrl_gae import A2CConfig, PPOConfig, TRPOConfig, UserError, cli, evaluate, make_train  # noqa: E402
from purejaxrl_gae.environments import BoxActions, Environment, Step, from_gymnasium  # noqa: E402
from purejaxrl_gae.environments.host_environment import CopyFailure  # noqa: E402
from purejaxrl_gae.program import algorithms, training  # noqa: E402
from purejaxrl_gae.runs import sweep_run, training_run  # noqa: E402
from purejaxrl_gae.runs.display import Display  # noqa: E402
from purejaxrl_gae.runs.folder import Folder  # noqa: E402
from purejaxrl_gae.runs.host_programs import HostAgent  # noqa: E402
from purejaxrl_gae.runs.programs import agent_of  # noqa: E402
from purejaxrl_gae.runs.run_options import RunOptions, SweepOptions  # noqa: E402
from purejaxrl_gae.settings.errors import Interrupted, RunError  # noqa: E402

SMALL = dict(total_timesteps=1000, num_envs=4, num_steps=32, hidden_sizes=(8, 8))
TINY = A2CConfig(env="gymnasium:CartPole-v1", **SMALL)  # compiles fastest


def options(path, **changes):
    defaults = dict(run_dir=path, progress=False, compilation_cache=False, updates_per_report=2, eval_episodes=5)
    return RunOptions(**{**defaults, **changes})


def rows(path):
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if "second" not in k} for line in lines]


class Ring(gymnasium.Env):
    """A point that an action moves along a line from where it always starts; ends beyond 1, or after 7 steps.

    The pure twin below computes the same.
    """

    observation_space = spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = np.float32(0.0), 0
        return self.observation(), {}

    def observation(self):
        return np.array([self.place, 0.1 * self.time], np.float32)

    def step(self, action):
        self.place, self.time = self.place + np.float32(0.5) * action[0], self.time + 1
        return self.observation(), 1.0 - abs(self.place - 0.5), bool(self.place > 1.0), self.time >= 7, {}


def pure_ring():
    def observe(place, time):
        return jnp.stack([place, 0.1 * time], axis=-1)

    def reset(key, num_envs):
        states = jnp.zeros(num_envs), jnp.zeros(num_envs, jnp.int32)
        return states, observe(*states)

    def step(key, states, actions):
        place, time = states[0] + 0.5 * actions[:, 0], states[1] + 1
        terminated, truncated = place > 1.0, time >= 7
        ended = terminated | truncated
        fresh = jnp.where(ended, 0.0, place), jnp.where(ended, 0, time)
        rewards = 1.0 - jnp.abs(place - 0.5)
        return Step(fresh, observe(*fresh), rewards, terminated, truncated, observe(place, time))

    return Environment("ring", (2,), BoxActions((1,), (-1.0,), (1.0,)), 7, reset, step)


def on_ring(algorithm, env, **changes):
    small = {**SMALL, "total_timesteps": 3 * 128, "seed": 3, **changes}
    small |= {"trpo": {"batch_size": 64}, "ppo": {"num_minibatches": 4, "update_epochs": 4}}.get(algorithm, {})
    return algorithms.config_class(algorithm)(env=env, **small)


@pytest.mark.parametrize(
    "algorithm, changes",
    [
        *((name, {}) for name in algorithms.CONFIG_CLASSES),
        ("ppo", {"time_limit": "terminal"}),
        ("ppo", {"memory": "lru", "memory_size": 4}),
        ("a2c", {"memory": "lstm", "memory_size": 4}),
    ],
)
def test_three_updates_are_those_of_the_same_environment_inside_the_program(algorithm, changes):
    changes = {"normalize_observations": True, **changes}
    pure = algorithms.make_algorithm(on_ring(algorithm, pure_ring(), **changes))
    on_host = algorithms.make_algorithm(on_ring(algorithm, from_gymnasium(Ring), **changes))
    expected = jax.jit(training.make_train_program(pure))(jax.random.key(3)).state
    programs = HostAgent(on_host)
    state, stretch = programs.advance(programs.init(), 3)
    assert stretch.updates == 3 and stretch.healthy.all() and int(expected.counters.episodes) > 40
    np.testing.assert_array_equal(jax.random.key_data(state.world.key), jax.random.key_data(expected.world.key))
    for name in ("episodes", "updates"):
        assert getattr(state.counters, name) == getattr(expected.counters, name)
    np.testing.assert_allclose(state.counters.recent_returns, expected.counters.recent_returns, rtol=1e-4, atol=1e-4)
    world, expected_world = state.world, expected.world
    for name in ("observations", "episode_returns", "episode_lengths", "discounted_returns"):
        np.testing.assert_allclose(getattr(world, name), getattr(expected_world, name), rtol=1e-3, atol=1e-4)
    same = jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), state.learner, expected.learner
    )
    assert jax.tree.structure(same) is not None


def test_advantages_behind_a_time_limit_are_those_of_the_pure_rollout():
    def transitions(env):
        algorithm = algorithms.make_algorithm(on_ring("ppo", env, normalize_observations=False))

        hyperparameters = algorithm.hyperparameters
        if isinstance(env, Environment):
            state = training.init_state(algorithm, jax.random.key(3), hyperparameters)
            return jax.jit(partial(training.collect, algorithm))(hyperparameters, state)[1].transitions
        agent = HostAgent(algorithm)
        state = agent.init()
        recording = agent._record(state)
        assert np.any(recording.final_values[recording.truncated] != 0.0)
        return jax.jit(partial(training.take_in, algorithm))(hyperparameters, state, recording)[1].transitions

    expected, found = transitions(pure_ring()), transitions(from_gymnasium(Ring))
    assert np.any(expected["truncated"]) and np.any(expected["terminated"])
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def typed(capsys, main, *arguments):
    """Runs a command as if it had been typed; what it showed."""
    main(list(map(str, arguments)))
    return capsys.readouterr().out


@pytest.mark.parametrize("algorithm, learn", [("ppo", ("--no-anneal-lr",)), ("trpo", ("--batch-size", 64))])
def test_the_command_line_trains_logs_saves_resumes_and_evaluates(algorithm, learn, tmp_path, capsys):
    path = tmp_path / "run"
    command = partial(typed, capsys, partial(cli.main, algorithm))
    sizes = ("--num-envs", 4, "--num-steps", 32, "--hidden-sizes", 8, "--eval-episodes", 6)
    where = ("--env", "gymnasium:CartPole-v1", "--total-timesteps", 512, "--run-dir", path)
    output = command(*where, *sizes, "--updates-per-report", 1, *learn)
    assert f"{algorithm} on gymnasium:CartPole-v1, seed 0" in output
    summary = json.loads((path / "summary.json").read_text())
    assert summary["env_steps"] == 512 and summary["eval_episodes"] == 6 and summary["episodes"] > 5
    assert [row["env_steps"] for row in rows(path)] == [128, 256, 384, 512]
    assert (path / "policy.npz").exists()

    output = command("--resume", path, "--total-timesteps", 768).replace("\n", " ")
    assert "resumed at step 512, with new episodes: gymnasium:CartPole-v1 runs on the host" in output
    assert [row["env_steps"] for row in rows(path)] == [128, 256, 384, 512, 640, 768]

    output = typed(capsys, evaluate.main, "--run-dir", path, "--episodes", 7)
    assert json.loads(output)["episodes"] == 7


def test_two_runs_agree_and_another_seed_does_not(tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        training_run.run(dataclasses.replace(TINY, seed=seed, stagger_episodes=True), options(tmp_path / name))
    assert rows(tmp_path / "one") == rows(tmp_path / "same")
    assert rows(tmp_path / "one") != rows(tmp_path / "other")
    one, same = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "same"))
    assert one["eval_return_mean"] == same["eval_return_mean"]
    assert one["eval_sampled_return_mean"] == same["eval_sampled_return_mean"] != one["eval_return_mean"]


def test_how_a_run_is_cut_into_reports_does_not_change_what_is_learned(tmp_path):
    for every in (1, 8):
        training_run.run(TINY, options(tmp_path / str(every), updates_per_report=every, eval_freq=256))
    one, other = (np.load(tmp_path / str(every) / "policy.npz") for every in (1, 8))
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_stopped_run_is_saved_and_goes_on_with_new_episodes(tmp_path, monkeypatch, capsys, signal_at_third_look):
    path = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        patched.setattr(training_run, "StopRequests", signal_at_third_look)
        with pytest.raises(Interrupted):
            training_run.run(TINY, options(path))
    assert "SIGTERM: saved at step 512" in capsys.readouterr().out
    resumed, resumed_options = cli.parse("a2c", ["--resume", str(path), "--no-progress"])
    summary = training_run.run(resumed, dataclasses.replace(resumed_options, compilation_cache=False))
    assert summary["env_steps"] == 1024 and [row["env_steps"] for row in rows(path)] == [256, 512, 768, 1024]


def test_loading_starts_new_episodes_and_keeps_everything_else():
    programs = HostAgent(algorithms.make_algorithm(TINY))
    state, _ = programs.advance(programs.init(), 1)
    stack = programs.save(state)
    saved, loaded = agent_of(stack), programs.load(stack)
    assert np.asarray(saved.world.episode_lengths).any() and not np.asarray(loaded.world.episode_lengths).any()
    assert not np.array_equal(saved.world.observations, loaded.world.observations)
    for one, other in zip(
        jax.tree.leaves((saved.learner, saved.counters)),
        jax.tree.leaves((loaded.learner, loaded.counters)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    again = programs.load(stack)
    np.testing.assert_array_equal(again.world.observations, loaded.world.observations)


def test_ppo_learns_cartpole(tmp_path):
    learning = PPOConfig(
        env="gymnasium:CartPole-v1",
        **dict(total_timesteps=32_768, num_envs=8, num_steps=64, learning_rate=1e-3, update_epochs=8),
        **dict(num_minibatches=4, normalize_observations=False),
    )
    summary = training_run.run(learning, options(tmp_path / "learning", eval_episodes=40))
    assert summary["eval_return_mean"] > 150.0


class Poisoned(Ring):
    def step(self, action):
        observation, reward, *rest = super().step(action)
        return observation, np.nan if self.time == 3 else reward, *rest


def test_numbers_that_are_not_finite_stop_the_run_or_are_left_out(tmp_path):
    poisoned = dataclasses.replace(TINY, env=from_gymnasium(Poisoned))
    with pytest.raises(RunError, match=r"update 1 \(step 128\) made .* NaN or infinite, as (reward|observation) of"):
        training_run.run(poisoned, options(tmp_path / "halted", updates_per_report=1))
    skipping = dataclasses.replace(poisoned, on_nonfinite="skip", total_timesteps=256)
    summary = training_run.run(skipping, options(tmp_path / "skipped"))
    assert summary["nonfinite_steps"] == summary["episodes"] > 10 and summary["skipped_updates"] == 0


class Failing(Ring):
    """Takes the given step, counted over all copies, as `broken` says."""

    steps, at, broken = 0, 10**9, None

    def step(self, action):
        Failing.steps += 1
        return super().step(action) if Failing.steps != Failing.at else Failing.broken(*super().step(action))


def raising(*outputs):
    raise ValueError("the simulator\nlost its mind")


@pytest.mark.parametrize(
    "broken, reason",
    [
        (raising, "ValueError: the simulator"),
        (lambda *outputs: sys.exit(0), "SystemExit: 0"),
        (lambda *outputs: outputs[:4], "step of Failing returns 4 values"),
        (lambda observation, reward, *rest: (observation, None, *rest), "reward of Failing is None; it must be a numb"),
        (lambda observation, *rest: (np.array(["a", "b"]), *rest), "ValueError: could not convert string to float"),
        (lambda observation, *rest: (observation[:1], *rest), r"has shape \(1,\); its observation_space says \(2,\)"),
    ],
)
def test_a_failing_environment_is_named_with_copy_and_step(broken, reason):
    copies = from_gymnasium(Failing).open(3, 0)
    copies.reset()
    Failing.steps, Failing.at, Failing.broken = 0, 5, staticmethod(broken)
    copies.step(np.zeros((3, 1), np.float32))
    with pytest.raises(CopyFailure, match=reason) as failure:
        copies.step(np.zeros((3, 1), np.float32))
    assert failure.value.copy == 1


def test_a_run_whose_environment_fails_is_saved_and_goes_on_from_there(tmp_path):
    path = tmp_path / "failing"
    failing = dataclasses.replace(TINY, env=from_gymnasium(Failing))
    Failing.steps, Failing.broken = 0, staticmethod(raising)
    Failing.at = 3 * 128 + 4 * 4 + 2  # 3 updates, 4 steps of 4 copies, 2 copies
    with pytest.raises(RunError) as error:
        training_run.run(failing, options(path))
    assert str(error.value) == (
        "env Failing, copy 1, failed in step 5 of update 4 (environment step 400): ValueError: the simulator; saved at "
        f"step 384; continue with: python -m purejaxrl_gae.a2c --resume {path}"
    )
    assert [row["env_steps"] for row in rows(path)] == [256, 384]
    summary = training_run.run(failing, dataclasses.replace(options(None), resume=path))
    assert summary["env_steps"] == 1024 and [row["env_steps"] for row in rows(path)] == [256, 384, 640, 896, 1024]


def test_what_needs_a_compiled_environment_is_refused_in_one_line(tmp_path, monkeypatch, signal_at_third_look):
    monkeypatch.setattr(training_run.devices, "claim", lambda *_: jax.devices())  # as where there are enough
    with pytest.raises(UserError, match=r"gymnasium:CartPole-v1, which runs on the host; make_train, .* command line"):
        make_train(TINY)
    for name in ("num_seeds", "devices"):
        with pytest.raises(UserError, match=f"which runs on the host; {name} = 2 needs a JAX environment"):
            training_run.run(TINY, options(tmp_path / name, **{name: 2}))
        assert not (tmp_path / name).exists()
    with pytest.raises(UserError, match="episodes = whole needs a JAX environment"):
        algorithms.make_algorithm(
            algorithms.config_class("reinforce")(env="gymnasium:CartPole-v1", episodes="whole", num_steps=500)
        )
    sweeping = SweepOptions(grid=("gamma=0.9,0.99",), progress=False, compilation_cache=False)
    sweep = sweep_run.Sweep(TINY, sweeping, Folder(tmp_path, print), Display(0, enabled=False), jax.devices()[:1])
    with pytest.raises(UserError, match="several agents in one program needs a JAX environment"):
        sweep.train([{"gamma": 0.9}, {"gamma": 0.99}], 0, signal_at_third_look())


def test_a_vector_env_object_trains(tmp_path):
    vector_env = gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="sync")
    summary = training_run.run(dataclasses.replace(TINY, env=vector_env), options(tmp_path / "objects"))
    assert summary["env"] == "SyncVectorEnv" and summary["eval_episodes"] == 5


def test_atari_runs_with_pixels_scores_unclipped(tmp_path):
    pytest.importorskip("ale_py")
    pong = TRPOConfig(
        env="gymnasium:ALE/Pong-v5",
        **dict(total_timesteps=32, num_envs=2, num_steps=8, batch_size=16, hidden_sizes=(4,)),
    )
    programs = HostAgent(algorithms.make_algorithm(pong))
    state = programs.init()
    recording = programs._record(state)
    assert recording.observations.dtype == np.uint8 and recording.observations.max() > 100
    state, stretch = programs.advance(state, 1)
    assert stretch.healthy.all() and state.world.observations.dtype == jnp.float32
    programs.close()
