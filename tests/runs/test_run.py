"""One run as a user sees it: the folder, the numbers in it, stopping, resuming, failing."""

import contextlib
import dataclasses
import json
import math
import shutil
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from tensorboardX.proto.event_pb2 import Event

from purejaxrl_gae import PPOConfig, cli, environments, load_policy
from purejaxrl_gae.kernels import normalization
from purejaxrl_gae.program.optimizers import say_schedule
from purejaxrl_gae.runs import training_run
from purejaxrl_gae.runs.checkpoints import Checkpoints
from purejaxrl_gae.runs.folder import Folder
from purejaxrl_gae.runs.run_folder import RunFolder
from purejaxrl_gae.runs.run_options import RunOptions
from purejaxrl_gae.settings import config
from purejaxrl_gae.settings.errors import Interrupted, RunError, UserError
from tests.configs import tiny_ppo

TINY = tiny_ppo(total_timesteps=1000)


def options(path, **changes):
    defaults = dict(run_dir=path, progress=False, compilation_cache=False, updates_per_report=2, eval_episodes=10)
    return RunOptions(**{**defaults, **changes})


def records(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def without_times(rows):
    return [{k: v for k, v in row.items() if k not in ("wall_seconds", "steps_per_second")} for row in rows]


def without_notes(errors):
    return [line for line in errors.splitlines() if not line.startswith("note: ")]


def event_steps(path):
    """Steps of the points in all files of events."""
    steps = []
    for file in path.glob("events.out.tfevents.*"):
        data = file.read_bytes()
        while data:
            end = 12 + int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12:end])
            steps += [event.step] if event.HasField("summary") else []
            data = data[end + 4 :]
    return sorted(steps)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "finished"
    summary = training_run.run(TINY, options(path, eval_freq=256))
    return path, summary


def test_the_folder_holds_what_it_should(finished):
    path, _ = finished
    names = {entry.name.split(".out.tfevents")[0] for entry in path.iterdir()}
    assert names == {"config.yaml", "metrics.jsonl", "events", "checkpoints", "policy.npz", "summary.json"}


def test_the_summary_counts_true_steps(finished):
    path, summary = finished
    assert summary == json.loads((path / "summary.json").read_text())
    assert summary["env_steps"] == 1024  # 1000 rounded up to whole updates of 128
    assert summary["eval_episodes"] == 10
    assert summary["compile_seconds"] > 0.0
    assert summary["device"].startswith("cpu") and summary["matmul_precision"] == "default"
    assert summary["solved"] is (summary["eval_return_mean"] >= 475.0)


def test_the_summary_says_where_the_run_came_from(finished):
    _, summary = finished
    assert summary["command"] and summary["date"] and summary["preset"] is None and summary["resumed"] == []
    assert {"git_commit", "git_dirty"} <= set(summary)
    assert {"python", "jax", "jaxlib", "flax", "optax", "gymnax", "numpy"} <= set(summary["versions"])


def test_reports_have_true_steps_and_null_for_no_episode(finished):
    rows = records(finished[0])
    assert [row["env_steps"] for row in rows] == [256, 512, 768, 1024]
    assert rows[0]["episodes"] > 0
    assert all(row["episodic_return"] is None or math.isfinite(row["episodic_return"]) for row in rows)
    for name in ("eval_return_mean", "eval_sampled_return_mean"):
        assert [(name in row) for row in rows] == [True, True, True, False]


@pytest.mark.parametrize("num_updates", [1, 20, 49, 50, 99, 146, 799, 800, 5_000, 1_000_000])
@pytest.mark.parametrize("steps_per_update", [128, 2_048, 65_536])
def test_a_curve_has_fifty_points_or_one_an_update_and_long_runs_report_seldom(steps_per_update, num_updates):
    every = RunOptions().report_every(steps_per_update, num_updates)
    assert -(-num_updates // every) >= min(50, num_updates)
    if num_updates * steps_per_update >= 50 * 16_384:
        assert every >= 16_384 // steps_per_update
    assert RunOptions(updates_per_report=7).report_every(steps_per_update, num_updates) == 7


def test_no_episode_ended_is_null(tmp_path):
    quiet = dataclasses.replace(TINY, env="Pendulum-v1", total_timesteps=256)
    training_run.run(quiet, options(tmp_path / "quiet"))
    (row,) = records(tmp_path / "quiet")
    assert (row["episodes"], row["episodic_return"], row["score_last100"]) == (0, None, None)


def test_tensorboard_events_carry_the_usual_tags(finished):
    (path,) = finished[0].glob("events*")
    contents = path.read_bytes()
    for tag in ("charts/episodic_return", "charts/SPS", "losses/policy_loss", "losses/approx_kl", "losses/clipfrac"):
        assert tag.encode() in contents


def test_the_config_file_starts_the_same_run_again(finished, tmp_path):
    path, _ = finished
    arguments = ["--config", str(path / "config.yaml"), "--run-dir", str(tmp_path / "again"), "--no-progress"]
    again, again_options = cli.parse("ppo", arguments)
    assert again == TINY
    assert again_options.eval_freq == 256
    training_run.run(again, dataclasses.replace(again_options, compilation_cache=False))
    assert without_times(records(tmp_path / "again")) == without_times(records(path))


def test_a_run_folder_is_not_overwritten(finished):
    with pytest.raises(UserError, match="holds a run already; continue it with --resume"):
        training_run.run(TINY, options(finished[0]))


class StopAfter:
    """Stands in for StopRequests: a signal that arrives once so many calls have been made."""

    def __init__(self, calls):
        self.calls = calls

    @property
    def signal(self):
        self.calls -= 1
        return signal.SIGTERM if self.calls < 0 else None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


def test_an_interrupted_run_resumes_to_the_same_bits(finished, tmp_path, monkeypatch, capsys):
    path = tmp_path / "stopped"
    stop = StopAfter(2)
    monkeypatch.setattr(training_run, "StopRequests", lambda: stop)
    monkeypatch.setattr(StopAfter, "signal", property(lambda self: self.next()), raising=False)

    def next_signal(self):
        self.calls -= 1
        return signal.SIGTERM if self.calls < 0 else None

    monkeypatch.setattr(StopAfter, "next", next_signal, raising=False)
    with pytest.raises(Interrupted) as interrupted:
        training_run.run(TINY, options(path, eval_freq=256))
    assert interrupted.value.exit_code == 128 + signal.SIGTERM
    assert f"--resume {path}" in capsys.readouterr().out.replace("\n", "")
    monkeypatch.undo()

    resumed, resumed_options = cli.parse("ppo", ["--resume", str(path), "--no-progress"])
    summary = training_run.run(resumed, dataclasses.replace(resumed_options, compilation_cache=False))
    shown = capsys.readouterr().out
    resumed_at = records(path)[1]["env_steps"] // TINY.steps_per_update
    assert say_schedule(TINY, resumed_at) in shown.replace("\n", " ")
    module = "python -m purejaxrl_gae"
    last_line = f"saved in {path}; next: {module}.evaluate --run-dir {path} && {module}.plot {path}"
    assert shown.splitlines()[-1] == last_line
    assert len(summary["resumed"]) == 1 and summary["resumed"][0]["date"] >= summary["date"]
    assert without_times(records(path)) == without_times(records(finished[0]))
    expected, actual = np.load(finished[0] / "policy.npz"), np.load(path / "policy.npz")
    for name in expected.files:
        np.testing.assert_array_equal(actual[name], expected[name])
    assert event_steps(path) == event_steps(finished[0]) == [256, 512, 768, 1024]


def test_resume_refuses_to_change_the_training(finished):
    with pytest.raises(UserError, match="--learning-rate cannot be combined with --resume"):
        cli.parse("ppo", ["--resume", str(finished[0]), "--learning-rate", "1e-3"])


def test_the_goal_score_ends_the_run_early(tmp_path, capsys):
    config_ = dataclasses.replace(TINY, total_timesteps=100_000)
    summary = training_run.run(config_, options(tmp_path / "goal", goal_score=15.0))
    assert summary["goal_reached"] is True
    assert summary["train_return_last100"] >= 15.0
    assert summary["env_steps"] < 100_000
    assert summary["episodes"] >= 100
    assert f"stopped at step {summary['env_steps']:,}: the last 100 episodes reached 15\n" in capsys.readouterr().out


def test_numbers_that_are_not_finite_stop_the_run_and_name_update_and_checkpoint(tmp_path):
    cartpole = environments.make_environment("CartPole-v1")

    def step(key, states, actions):
        result = cartpole.step(key, states, actions)
        broken = result.states.time.max() > 60
        return result._replace(rewards=jnp.where(broken, jnp.nan, result.rewards))

    poisoned = dataclasses.replace(cartpole, step=step)
    path = tmp_path / "poisoned"
    config_ = dataclasses.replace(TINY, env=poisoned, total_timesteps=10_000)
    with pytest.raises(RunError, match=r"update \d+ \(step [\d,]+\) made a loss or a parameter NaN") as error:
        training_run.run(config_, options(path, checkpoint_freq=128, updates_per_report=1))
    assert str(path / "checkpoints") in str(error.value)


def test_too_many_environments_are_refused_with_a_number_that_fits(tmp_path):
    huge = dataclasses.replace(TINY, num_envs=4_000_000, num_steps=64, num_minibatches=1, total_timesteps=1)
    with pytest.raises(
        UserError, match=r"num_envs is 4000000: .* GB and this machine has .*; about \d+ environments fit"
    ):
        training_run.run(huge, options(tmp_path / "huge"))
    assert not (tmp_path / "huge").exists()


def test_a_folder_that_cannot_be_written_costs_no_result(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "broken"
    for name in ("metrics.jsonl", "policy.npz", "checkpoints"):
        (path / name).mkdir(parents=True)  # folders where the files should be, and the reverse
    (path / "checkpoints").rmdir()
    (path / "checkpoints").write_text("")
    with pytest.raises(RunError, match=r"training ended well, but .*policy.npz.* could not be written to") as error:
        training_run.run(TINY, options(path, tensorboard=False))
    shown = capsys.readouterr()
    assert "saved in" not in shown.out  # nor a command that would find nothing there
    complaints = without_notes(shown.err)  # the others are left to the last line
    assert [line for line in complaints if not line.startswith("a checkpoint in")] == complaints[:1]
    assert complaints[0].startswith("metrics.jsonl in")
    assert all(name in str(error.value) for name in ("metrics.jsonl", "policy.npz", "a checkpoint"))
    refuge = Path(str(error.value).rpartition("; the policy is in ")[2])
    assert refuge.parent == tmp_path
    assert load_policy(refuge / "policy.npz").act(np.zeros(4)).shape == ()
    assert json.loads((path / "summary.json").read_text())["env_steps"] == 1024


def test_a_disk_that_is_full_for_a_while_costs_neither_checkpoints_nor_reports(
    tmp_path, capsys, monkeypatch, files_of_at_most, finished
):
    path = tmp_path / "stuttering"
    saves = []
    original = Checkpoints.save

    def save(self, *arguments):
        saves.append(arguments[0])
        with files_of_at_most(500) if len(saves) <= 2 else contextlib.nullcontext():
            if len(saves) <= 2:
                folders[0].report({"env_steps": 1, "filler": [0.0] * 200}, [0])
            original(self, *arguments)

    folders = []
    begin = RunFolder.make_for
    monkeypatch.setattr(RunFolder, "make_for", lambda self, values: folders.append(self) or begin(self, values))
    monkeypatch.setattr(Checkpoints, "save", save)
    training_run.run(TINY, options(path, checkpoint_freq=256, eval_freq=256, tensorboard=False))
    assert saves == [256, 512, 768, 1024]
    assert sorted(path.name for path in (path / "checkpoints").iterdir()) == ["1024", "768"]
    rows = [row for row in records(path) if "filler" not in row]
    assert without_times(rows) == without_times(records(finished[0])) and len(records(path)) == 6
    said = [line.replace(f" in {path}", "") for line in without_notes(capsys.readouterr().err)]
    fails, heals = " cannot be written (File too large); it is tried again later", " can be written again"
    of_metrics, of_checkpoints = f"metrics.jsonl{fails}", f"a checkpoint{fails}"
    assert said == [of_metrics, of_checkpoints, f"metrics.jsonl{heals}", of_metrics, f"metrics.jsonl{heals}", said[-1]]
    assert said[-1] == f"a checkpoint{heals}"


def test_a_run_that_stops_without_being_saved_says_so(tmp_path, monkeypatch, signal_at_third_look):
    path = tmp_path / "unsaved"
    path.mkdir()
    (path / "checkpoints").write_text("")
    monkeypatch.setattr(training_run, "StopRequests", signal_at_third_look)
    with pytest.raises(RunError, match=r"SIGTERM: stopped at step \d+, which could not be saved: .*checkpoint: none"):
        training_run.run(TINY, options(path, tensorboard=False))


def test_an_evaluation_that_fails_costs_no_policy(tmp_path, monkeypatch):
    def make_failing(setup, num_agents, episodes):
        def evaluate(*arguments):
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nand more")

        evaluate.compile_ahead = lambda learners: None
        return evaluate

    monkeypatch.setattr(training_run, "make_evaluator", make_failing)
    path = tmp_path / "unevaluated"
    with pytest.raises(
        RunError, match=r"saved in .*failed \(RuntimeError: RESOURCE_EXHAUSTED: Out of memory\)"
    ) as error:
        training_run.run(TINY, options(path))
    assert f"--resume {path} --eval-episodes" in str(error.value)
    assert load_policy(path / "policy.npz").act(np.zeros(4)).shape == ()
    monkeypatch.undo()
    config_, again = cli.parse("ppo", ["--resume", str(path), "--eval-episodes", "3", "--eval-freq", "0"])
    summary = training_run.run(config_, dataclasses.replace(again, progress=False, compilation_cache=False))
    assert (summary["eval_episodes"], summary["env_steps"]) == (3, 1024)


def test_what_a_config_says_anew_is_named_at_resume(finished, tmp_path, capsys):
    path = shutil.copytree(finished[0], tmp_path / "edited")
    values = {**yaml.safe_load((path / "config.yaml").read_text()), "learning_rate": 0.5}
    (path / "config.yaml").write_text(yaml.safe_dump(values))
    config_, again = cli.parse("ppo", ["--resume", str(path), "--no-progress"])
    training_run.run(config_, dataclasses.replace(again, compilation_cache=False))
    note = f"note: from the checkpoint on with learning_rate 0.5 ({TINY.learning_rate} until then)"
    assert note in capsys.readouterr().err.splitlines()


def test_a_run_that_another_process_writes_is_not_resumed(finished):
    writer = Folder(finished[0], print)
    writer.lock("resume")
    config_, again = cli.parse("ppo", ["--resume", str(finished[0])])
    with pytest.raises(UserError, match="which another process is writing"):
        training_run.run(config_, dataclasses.replace(again, compilation_cache=False))
    writer.close()


def test_paths_may_be_text(tmp_path):
    given = RunOptions(run_dir=str(tmp_path), resume="a", config="b")
    assert (given.run_dir, given.resume, given.config) == (tmp_path, Path("a"), Path("b"))
    given.validate()


def anything_learned(learner):
    """The learner with parameters and moments that are no longer those of the start."""
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * random.standard_normal(leaf.shape, np.float32), learner.params)
    moments = learner.normalizers.observations
    if moments is not None:
        seen = jnp.asarray(2.0 + 3.0 * random.standard_normal((50, *moments.mean.shape), np.float32))
        moments = normalization.update_moments(moments, seen)
    return learner.replace(params=params, normalizers=learner.normalizers.replace(observations=moments))


@pytest.mark.parametrize(
    "env, changes",
    [
        ("Pendulum-v1", {}),
        ("Pendulum-v1", dict(normalize_observations=True, learn_std=False, log_std_init=-0.5)),
        ("Pendulum-v1", dict(action_bounds="scale")),
        ("Pendulum-v1", dict(action_bounds="tanh")),
        ("CartPole-v1", dict(network="shared", activation="elu")),
        ("CartPole-v1", dict(activation="silu")),
        ("CartPole-v1", dict(activation="relu")),
    ],
)
def test_the_numpy_policy_equals_the_jax_policy(tmp_path, env, changes):
    from purejaxrl_gae.program import algorithms, rollout
    from purejaxrl_gae.runs.policy_file import make_policy_writer

    algorithm = algorithms.make_algorithm(dataclasses.replace(TINY, env=env, hidden_sizes=(64, 64), **changes))
    setup = algorithm.setup
    learner = anything_learned(jax.jit(algorithm.init_learner)(jax.random.key(0), algorithm.hyperparameters))
    (tmp_path / "policy.npz").write_bytes(make_policy_writer(setup, learner)[1](learner))
    policy = load_policy(tmp_path / "policy.npz")
    observations = np.asarray(jax.random.normal(jax.random.key(1), (256, *setup.environment.observation_shape)))
    seen = rollout.normalize_observations(learner.normalizers, observations)
    with jax.default_matmul_precision("highest"):
        distribution = setup.network.policy(learner.params, seen)
    expected = rollout.clip_to_bounds(setup.environment, distribution.mode(), setup.config.action_bounds)
    np.testing.assert_allclose(policy.act(observations), expected, atol=1e-6)
    np.testing.assert_allclose(policy.act(observations[0]), expected[0], atol=1e-6)
    sampled = policy.act(observations, np.random.default_rng(0))
    assert sampled.shape == policy.act(observations).shape


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    "encoder, shape", [("minatar_cnn", (10, 10, 4)), ("nature_cnn", (44, 40, 3)), ("nature_cnn", (4, 44, 40))]
)
def test_the_numpy_policy_equals_the_jax_policy_through_convolutions(tmp_path, encoder, shape, shared):

    from purejaxrl_gae import environments
    from purejaxrl_gae.program.actor_critic import make_actor_critic
    from purejaxrl_gae.program.types import Learner, Setup
    from purejaxrl_gae.runs.policy_file import make_policy_writer

    network = make_actor_critic(
        shape,
        environments.DiscreteActions(5),
        **dict(shared=shared, hidden_sizes=(32,), activation="elu", learn_std=True, log_std_init=0.0),
        **dict(initialization="uniform", encoder=encoder),
    )
    environment = environments.Environment("grids", shape, environments.DiscreteActions(5), None, None, None)
    learner = Learner(jax.jit(network.init)(jax.random.key(0)), None)
    (tmp_path / "policy.npz").write_bytes(make_policy_writer(Setup(TINY, environment, network), learner)[1](learner))
    policy = load_policy(tmp_path / "policy.npz")
    assert policy.environment["env"] == TINY.env
    observations = np.random.default_rng(0).integers(0, 256 if encoder == "nature_cnn" else 2, (30, *shape), np.uint8)
    with jax.default_matmul_precision("highest"):
        logits = jax.jit(network.policy)(learner.params, jax.numpy.asarray(observations)).logits
    assert np.std(logits, axis=0).min() > 1e-3  # they do depend on the observation
    np.testing.assert_allclose(policy.outputs(observations), logits, atol=1e-5)
    np.testing.assert_allclose(policy.outputs(observations[3]), logits[3], atol=1e-5)
    np.testing.assert_allclose(policy.outputs(observations.reshape(5, 6, *shape))[2, 1], logits[13], atol=1e-5)
    assert policy.act(observations).shape == (30,)


def test_a_wrong_observation_is_refused_by_the_numpy_policy(finished):
    policy = load_policy(finished[0] / "policy.npz")
    with pytest.raises(ValueError, match=r"must end in \(4,\)"):
        policy.act(np.zeros(3))


def test_saved_config_is_plain_yaml(finished):
    values = yaml.safe_load((finished[0] / "config.yaml").read_text())
    assert values["algorithm"] == "ppo"
    assert config.with_values(PPOConfig(), {k: v for k, v in values.items() if k in config.to_plain(TINY)}, "x") == TINY
